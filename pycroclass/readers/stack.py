"""Many files of one image each as one lazy stack, with a label for each where they lie in several folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import dask.array as da
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import ReadError
from pycroclass.geometry import Geometry
from pycroclass.provenance import FileStamp
from pycroclass.readers.building import lazy_dataset, reading
from pycroclass.readers.failure import failure
from pycroclass.readers.fitting import can_fit, fit_image, match_colours
from pycroclass.readers.labelled import common_folder, facts_of_folders, open_labelled
from pycroclass.readers.options import Fit, ReadOptions
from pycroclass.source import Source
from pycroclass.spec import Axis, AxisKind, Spec

_SHOWN: Final = 6
_REMEDY: Final = 'Padding only enlarges and cropping only reduces; fit="resize" does both.'


@dataclass(frozen=True)
class FrameHeader:
    """What a file says of its image before its pixels are read.

    Parameters
    ----------
    shape : tuple of int
        ``(y, x)``, or ``(y, x, channel)`` with 3 or 4 colours.
    dtype : numpy dtype
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def is_image(self) -> bool:
        """Whether this is one image, not several."""
        return 0 not in self.shape and (len(self.shape) == 2 or (len(self.shape) == 3 and self.shape[2] in (3, 4)))


@dataclass(frozen=True)
class FrameFormat:
    """How to read one image of one file: two functions at the top level of a module, so that they travel to workers.

    Parameters
    ----------
    header : callable
        From a path, without reading the pixels.
    load : callable
        From a path to the array that the header announced.
    """

    header: Callable[[Path], FrameHeader]
    load: Callable[[str], npt.NDArray[Any]]


@dataclass(frozen=True)
class StackedFiles:
    """Load images of some files, brought to one size and one number of colours.

    Parameters
    ----------
    paths : tuple of str
    format : FrameFormat
    shape : tuple of int
        Of each image in the stack.
    fit : "pad", "crop" or "resize", optional
        How an image of another size gets it.
    """

    paths: tuple[str, ...]
    format: FrameFormat
    shape: tuple[int, ...]
    fit: Fit | None

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part of the stack; each file is opened once."""
        paths = self.paths[part[0]]
        return stacked((self._frame(path)[part[1:]] for path in paths), len(paths))

    def narrowed(self, part: tuple[slice, ...]) -> tuple[StackedFiles, tuple[slice, ...]]:
        """What reads this part alone, so that a task carries its own paths and not those of the whole stack."""
        some = self.paths[part[0]]
        return replace(self, paths=some), (slice(0, len(some)), *part[1:])

    def taken(self, numbers: npt.NDArray[np.int64]) -> StackedFiles:
        """What reads these images alone."""
        return replace(self, paths=tuple(self.paths[i] for i in numbers))

    def _frame(self, path: str) -> npt.NDArray[Any]:
        with reading(path):
            return shaped(self.format.load(path), self.shape, self.fit, path)


@dataclass(frozen=True)
class OneImage:
    """Load parts of the image of a single file, the same way as in a stack."""

    stack: StackedFiles

    def __call__(self, part: tuple[slice, ...]) -> npt.NDArray[Any]:
        """The part of the image."""
        image: npt.NDArray[Any] = self.stack((slice(0, 1), *part))[0]
        return image


def open_image(path: Path, options: ReadOptions, frames: FrameFormat) -> sidpy.Dataset:
    """The image of one file, of the size that the options ask for."""
    header = _common_header([path], frames, options)
    load = OneImage(StackedFiles((str(path),), frames, header.shape, options.fit))
    return lazy_dataset("image", load, Spec(image_axes(header.shape), header.dtype, title=path.stem), path, options)


def open_stack(
    paths: Sequence[Path], options: ReadOptions, frames: FrameFormat, *, axis: str = "frame", geometry: Geometry | None = None
) -> dict[str, sidpy.Dataset]:
    """Files of one image each as the lazy stack ``image``, with ``label`` where they lie in folders of different names.

    Only headers are read. Grey images between coloured ones get their grey in every colour, and full opacity where others have an
    opacity; nothing is lost. What folders say is read by `pycroclass.readers.labelled.facts_of_folders`.

    Parameters
    ----------
    paths : sequence of Path
    options : ReadOptions
        ``size`` and ``fit``, where images of different sizes shall become one stack; ``classes``, where their names are known.
    frames : FrameFormat
    axis : str
        Name of the axis along the stack.
    geometry : Geometry, optional
        Of the detector.

    Returns
    -------
    dict
        ``image`` with axes ``(image, y, x)`` or ``(image, y, x, channel)``, its file names in ``metadata["files"]``; ``label``, int32,
        with the axis ``(image,)``. Both hold the names of the classes.

    Raises
    ------
    ReadError
        If the images differ in type, or in size without a ``fit`` that makes them equal; if a folder is none of the classes.
    """
    header = _common_header(paths, frames, options)
    facts = facts_of_folders(paths, options)
    along = Axis(axis, len(paths), kind=AxisKind.TEMPORAL, quantity=axis)
    spec = Spec((along, *image_axes(header.shape)), header.dtype, title=common_folder(paths).name, geometry=geometry)
    return open_labelled(_stacked(paths, frames, spec, options.fit), spec, facts, paths, options)


def stacked(images: Iterable[npt.NDArray[Any]], n_images: int) -> npt.NDArray[Any]:
    """As `numpy.stack`, without all images beside their stack in memory."""
    rest = iter(images)
    first = next(rest)
    stack = np.empty((n_images, *first.shape), first.dtype)
    stack[0] = first
    for place, image in enumerate(rest, 1):
        stack[place] = image
    return stack


def shaped(image: npt.NDArray[Any], shape: tuple[int, ...], fit: Fit | None, where: str) -> npt.NDArray[Any]:
    """An image with the size and the colours of its stack.

    Raises
    ------
    ReadError
        If it cannot have them.
    """
    image = match_colours(image, (*shape, 1)[2])
    if fit is not None:
        image = fit_image(image, (shape[0], shape[1]), fit)
    if image.shape != shape:
        raise ReadError(f"{where}: its image has shape {image.shape}, wanted {shape}. It was changed after it was opened.")
    return image


def image_axes(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Axes ``(y, x)`` or ``(y, x, channel)`` of an image without calibration."""
    y_x = [Axis(name, size, kind=AxisKind.SPATIAL, units="pixel") for name, size in zip("yx", shape)]
    return (*y_x, *(Axis("channel", size, kind=AxisKind.CHANNEL, quantity="colour") for size in shape[2:]))


def _common_header(paths: Sequence[Path], frames: FrameFormat, options: ReadOptions) -> FrameHeader:
    """Shape and type of every image in the stack; an error where they cannot be the same."""
    headers = []
    for path in paths:
        with reading(path):
            headers.append(frames.header(path))
        if not headers[-1].is_image:
            problem = f"holds an array of shape {headers[-1].shape}; images (y, x) or (y, x, 3 or 4 colours) make a stack"
            raise failure(path, problem, "Read this file by itself.")
    return common_header(str(paths[0]) if len(paths) == 1 else f"{len(paths)} images in {paths[0].parent}", headers, options)


def common_header(where: str, headers: Sequence[FrameHeader], options: ReadOptions) -> FrameHeader:
    """Shape and type of a stack of images that have these headers.

    Raises
    ------
    ReadError
        If they differ in type, or in size without a fit that makes them equal.
    """
    dtypes = Counter(str(header.dtype.newbyteorder("=")) for header in headers)
    if len(dtypes) > 1:
        raise ReadError(f"{where} differ in type: {_counted(dtypes)}. Read those of one type at a time.")
    colours = max((header.shape[2:] for header in headers), default=())
    return FrameHeader((*_common_size(where, Counter((h.shape[0], h.shape[1]) for h in headers), options), *colours), headers[0].dtype)


def _common_size(where: str, sizes: Counter[tuple[int, int]], options: ReadOptions) -> tuple[int, int]:
    found = _counted(Counter({f"{y} x {x}": n for (y, x), n in sizes.items()}))
    if options.fit is None or not isinstance(options.size, tuple):
        if len(sizes) > 1:
            raise ReadError(f'{where} differ in size (y x x): {found}. Give size=(y, x) and fit="pad", "crop" or "resize".')
        return next(iter(sizes))
    if not all(can_fit(size, options.size, options.fit) for size in sizes):
        wanted = f'{options.size[0]} x {options.size[1]} with fit="{options.fit}"'
        raise ReadError(f"{where} of size (y x x) {found} cannot be brought to {wanted}. {_REMEDY}")
    return options.size


def _counted(counts: Counter[str]) -> str:
    most = counts.most_common(_SHOWN)
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(f"{n} of {what}" for what, n in most) + more


def _stacked(paths: Sequence[Path], frames: FrameFormat, spec: Spec, fit: Fit | None) -> da.Array:
    load = StackedFiles(tuple(map(str, paths)), frames, spec.shape[1:], fit)
    return Source(load, spec.shape, spec.dtype.newbyteorder("="), [FileStamp.of(path) for path in paths]).in_blocks(len(spec.axes) - 1)
