"""The changes themselves: images ``(batch, channel, y, x)`` and spectra ``(batch, length)`` of float32, never modified in place."""

from __future__ import annotations

import math

import torch

from pycroclass.augmentation.chance import Chance
from pycroclass.augmentation.settings import Augmentation

Targets = list[tuple[torch.Tensor, float]]
"""Labels of items, each with its share."""


def augmented(items: torch.Tensor, settings: Augmentation, chance: Chance) -> torch.Tensor:
    """The items, each changed in its own way; mixing needs the labels and is `mixed`.

    Parameters
    ----------
    items : tensor, shape (batch, channel, y, x) or (batch, length)
    settings : Augmentation
    chance : Chance
        On the device of the items.

    Examples
    --------
    >>> images = torch.rand(5, 1, 20, 20)
    >>> augmented(images, Augmentation.of("drop"), Chance((0,), images.device)).shape
    torch.Size([5, 1, 20, 20])
    """
    is_image = items.ndim == 4
    if settings.flip or (settings.turn and is_image):
        items = _turned(items, settings, chance)
    if settings.shift_points:
        items = _moved(items, settings.shift_points, chance)
    if is_image and (settings.rotation or settings.shift or settings.scale):
        items = _warped(items, settings, chance)
    if is_image and settings.blur:
        items = _blurred(items, settings.blur, chance)
    items = _retouched(items, settings, chance)
    if is_image and settings.cutout:
        items = _cut(items, settings.cutout, chance)
    if is_image and settings.streaks:
        items = _streaked(items, settings.streaks, chance)
    if is_image and settings.hot_pixels:
        items = _with_hot_pixels(items, settings.hot_pixels, chance)
    return items


def mixed(items: torch.Tensor, labels: torch.Tensor, settings: Augmentation, chance: Chance) -> tuple[torch.Tensor, Targets]:
    """Pairs of items mixed, with the labels of both and their shares; without ``mixup`` the items as they are."""
    if not settings.mixup:
        return items, [(labels, 1.0)]
    share = chance.beta(settings.mixup)
    share = max(share, 1 - share)  # the same pairs come the other way round; so an item stays more itself than the other
    order = chance.order(len(items))
    return torch.lerp(items[order], items, share), [(labels, share), (labels[order], 1 - share)]


def _turned(items: torch.Tensor, settings: Augmentation, chance: Chance) -> torch.Tensor:
    """Mirrored and turned by multiples of 90 degrees: each of up to eight ways alike."""
    axes = range(-1, -3, -1) if items.ndim == 4 else (-1,)
    for axis in axes if settings.flip else ():
        items = torch.where(_each(chance.either(len(items)), items), items.flip(axis), items)
    if not settings.turn or items.ndim != 4:
        return items
    if not settings.flip:
        items = torch.where(_each(chance.either(len(items)), items), items.flip((-2, -1)), items)
    if items.shape[-1] != items.shape[-2]:
        return items
    across = items.transpose(-1, -2)
    return torch.where(_each(chance.either(len(items)), items), across if settings.flip else across.flip(-1), items)


def _moved(items: torch.Tensor, most: int, chance: Chance) -> torch.Tensor:
    """Moved by whole points along each axis; what comes in repeats the edge."""
    for axis in range(items.ndim - 2 if items.ndim == 4 else 1, items.ndim):
        size = items.shape[axis]
        place = torch.arange(size, device=items.device) - chance.whole(most, len(items))[:, None]
        shape = [len(items), *(1,) * (items.ndim - 1)]
        shape[axis] = size
        items = items.gather(axis, place.clamp(0, size - 1).view(shape).expand(items.shape))
    return items


def _warped(images: torch.Tensor, settings: Augmentation, chance: Chance) -> torch.Tensor:
    """Rotated, scaled and shifted in one bilinear step; what comes in mirrors the edge."""
    from kornia.geometry.transform import get_rotation_matrix2d, warp_affine  # takes a second to import

    n, (height, width) = len(images), images.shape[-2:]
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=images.device).expand(n, 2)
    angle = chance.between(-settings.rotation, settings.rotation, n)
    factor = chance.between(1 - settings.scale, 1 + settings.scale, n)
    matrix = get_rotation_matrix2d(centre, angle, factor[:, None].expand(n, 2))
    shift = torch.stack([chance.between(-settings.shift, settings.shift, n) * size for size in (width, height)], 1)
    matrix = torch.cat((matrix[..., :2], matrix[..., 2:] + shift[..., None]), -1)
    warped: torch.Tensor = warp_affine(images, matrix, (height, width), mode="bilinear", padding_mode="reflection")
    return warped


def _blurred(images: torch.Tensor, most: float, chance: Chance) -> torch.Tensor:
    from kornia.filters import gaussian_blur2d

    sigma = chance.between(0.02 * most, most, len(images))
    size = 2 * math.ceil(3 * most) + 1
    blurred: torch.Tensor = gaussian_blur2d(images, (size, size), sigma[:, None].expand(-1, 2), border_type="replicate")
    return blurred


def _retouched(items: torch.Tensor, settings: Augmentation, chance: Chance) -> torch.Tensor:
    """Changes of the values, relative to mean and spread of each item."""
    n = len(items)
    flat = items.flatten(1)
    mean, sd = (_each(statistic, items) for statistic in (flat.mean(1), flat.std(1, correction=0)))
    if settings.gamma:
        low, high = (_each(extreme, items) for extreme in (flat.amin(1), flat.amax(1)))
        range_ = (high - low).clamp_min(torch.finfo(items.dtype).tiny)
        power = chance.between(-settings.gamma, settings.gamma, n).exp()
        items = low + range_ * ((items - low) / range_).pow(_each(power, items))
    if settings.contrast:
        items = mean + (items - mean) * _each(chance.between(-settings.contrast, settings.contrast, n).exp(), items)
    if settings.brightness:
        items = items + sd * _each(chance.between(-settings.brightness, settings.brightness, n), items)
    if settings.tilt:
        slope = _each(chance.between(-settings.tilt, settings.tilt, n), items)
        items = items + sd * slope * torch.linspace(-0.5, 0.5, items.shape[-1], device=items.device)
    if settings.gain:
        items = items * _each(chance.between(-settings.gain, settings.gain, n).exp(), items)
    if settings.noise:
        items = items + sd * _each(chance.between(0, settings.noise, n), items) * chance.normal(items.shape)
    return items


def _cut(images: torch.Tensor, most: float, chance: Chance) -> torch.Tensor:
    """With a square somewhere in them that says nothing."""
    n = len(images)
    share = chance.between(0, most, n)
    inside = torch.ones((), dtype=torch.bool, device=images.device)
    for axis in (-2, -1):
        size = images.shape[axis]
        place = torch.arange(size, device=images.device).view((1, 1, -1, 1) if axis == -2 else (1, 1, 1, -1))
        away = (place + 0.5 - _each(chance.between(0, size, n), images)).abs()
        inside = inside & (away < _each(share, images) * size / 2)
    return torch.where(inside, images.mean((1, 2, 3), keepdim=True), images)


def _streaked(images: torch.Tensor, probability: float, chance: Chance) -> torch.Tensor:
    """Some of them with a straight streak, one to three pixels wide, that passes near the centre, as a jet or an edge throws it."""
    n, (height, width) = len(images), images.shape[-2:]
    y = torch.arange(height, device=images.device).view(1, 1, -1, 1) - (height - 1) / 2
    x = torch.arange(width, device=images.device).view(1, 1, 1, -1) - (width - 1) / 2
    angle = _each(chance.between(0, math.pi, n), images)
    offset = _each(chance.between(-0.1, 0.1, n), images) * min(height, width)
    half_width = _each(chance.between(0.5, 1.5, n), images)
    is_on = ((x * angle.cos() + y * angle.sin() - offset).abs() < half_width) & _each(chance.between(0, 1, n) < probability, images)
    brightest = images.amax((1, 2, 3), keepdim=True)
    return images + is_on * brightest.clamp_min(0) * _each(chance.between(0.05, 0.5, n), images)


def _with_hot_pixels(images: torch.Tensor, share: float, chance: Chance) -> torch.Tensor:
    is_hot = chance.uniform((len(images), 1, *images.shape[-2:])) < share
    brightness = images.amax((1, 2, 3), keepdim=True) * _each(chance.between(1, 3, len(images)), images)
    return torch.where(is_hot, brightness, images)


def _each(values: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """One value for each item, in a shape that broadcasts to the items."""
    return values.view(-1, *(1,) * (items.ndim - 1))
