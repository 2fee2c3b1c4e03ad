"""Crystallisation drops under a microscope: clear, with crystals, with precipitate, or something else.

A drop follows from its site, and the numbers of its plate and well, alone, so that drops can be made in any order, in any chunks, on any
machine. Drops of one plate look alike, and so do those of one site: whole plates or sites must be held back to know how good a classifier
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.errors import ParameterError
from pycroclass.provenance import Provenance
from pycroclass.sid import wrap
from pycroclass.simulate.drop_contents import add_grains, draw_crystals, draw_dirt, draw_drop, draw_other, draw_precipitate
from pycroclass.simulate.drop_optics import Scene, burn_in, grid_of, photograph
from pycroclass.simulate.drop_parameters import CLASSES, Site, draw_plate
from pycroclass.source import lazy_array, plan_chunks
from pycroclass.spec import Axis, AxisKind, Spec

_COLUMNS: Final = 12
"""Wells in a row of a plate."""
_ALSO_GRAINS: Final = 0.25
"""Part of the drops with crystals that hold faint precipitate too."""
_DRAW: Final = {"Clear": None, "Crystals": draw_crystals, "Other": draw_other, "Precipitate": draw_precipitate}


class Drop(NamedTuple):
    """One simulated drop.

    Parameters
    ----------
    image : uint8 array, shape (y, x, 3)
        Red, green, blue.
    label : str
        ``Clear``, ``Crystals``, ``Other`` or ``Precipitate``.
    """

    image: npt.NDArray[np.uint8]
    label: str


@dataclass(frozen=True)
class Screen:
    """Plates of some sites, in the order of their drops: site by site, plate by plate, well by well.

    Parameters
    ----------
    sites : tuple of Site
    n_plates : int
        Of each site.
    n_wells : int
        Of each plate.

    Raises
    ------
    ParameterError
        If there is not at least one of each, or the images of the sites differ in size.
    """

    sites: tuple[Site, ...]
    n_plates: int
    n_wells: int

    def __post_init__(self) -> None:
        if min(len(self.sites), self.n_plates, self.n_wells) < 1:
            counted = f"{len(self.sites)} sites, n_plates={self.n_plates}, n_wells={self.n_wells}"
            raise ParameterError(f"a screen has at least one site, plate and well, got {counted}")
        shapes = {site.microscope.shape for site in self.sites}
        if len(shapes) > 1:
            raise ParameterError(f"the images of all sites must be of one size, got {sorted(shapes)}")
        if len({site.seed for site in self.sites}) < len(self.sites):
            raise ParameterError(f"sites must differ in their seed, got {[site.seed for site in self.sites]}")

    @property
    def n_drops(self) -> int:
        """In all."""
        return len(self.sites) * self.n_plates * self.n_wells

    def place(self, index: int) -> tuple[Site, int, int]:
        """Site, plate and well of the drop of that number."""
        rest, well = divmod(index, self.n_wells)
        site, plate = divmod(rest, self.n_plates)
        return self.sites[site], plate, well


def simulate_drop(site: Site, plate: int, well: int) -> Drop:
    """One drop of a site.

    Light of a tilted lamp is bent by the slopes of the drop and of what lies in it, gathered by their curvature, and taken away by
    precipitate; see `pycroclass.simulate.drop_optics.transmitted`.

    Parameters
    ----------
    site : Site
    plate, well : int
        From 0.

    Examples
    --------
    >>> from pycroclass.simulate import draw_site
    >>> drop = simulate_drop(draw_site(seed=1), 0, 7)
    >>> drop.image.shape, drop.image.dtype
    ((128, 128, 3), dtype('uint8'))
    """
    rng, label = _begin(site, plate, well)
    common = draw_plate(site, plate)
    scene = Scene.empty(grid_of(site.microscope))
    drop = draw_drop(scene, site, common, rng)
    draw = _DRAW[label]
    if draw is not None:
        draw(scene, drop, rng)
    if label == "Crystals" and rng.random() < _ALSO_GRAINS:
        add_grains(scene, drop, rng.uniform(0.05, 0.15), rng)
    draw_dirt(scene, site, rng)
    image = photograph(scene, site, common, rng)
    if site.watermark:
        burn_in(image, site.watermark[CLASSES.index(label)])
    return Drop(image, label)


def simulate_drops(sites: Site | Sequence[Site], *, n_plates: int = 2, n_wells: int = 96) -> dict[str, sidpy.Dataset]:
    """The drops of some plates of some sites as lazy datasets; a drop is made when it is needed.

    Parameters
    ----------
    sites : Site or sequence of them
        Each with a seed of its own, all with images of one size.
    n_plates : int
        Of each site.
    n_wells : int
        Of each plate.

    Returns
    -------
    dict of str to sidpy.Dataset
        ``image`` (drop, y, x, channel), uint8, with the labels in ``metadata["labels"]`` and, in ``metadata["items"]``, the ``site``,
        ``plate`` and ``well`` of each drop; ``label`` (drop) with the classes Clear, Crystals, Other, Precipitate.

    Raises
    ------
    ParameterError
        If there is not at least one site, plate and well, two sites have one seed, or their images differ in size.

    Examples
    --------
    >>> from pycroclass.simulate import draw_site
    >>> screen = simulate_drops([draw_site(seed=1), draw_site(seed=2)], n_plates=3)
    >>> screen["image"].shape, screen["image"].metadata["items"]["plate"][100]
    ((576, 128, 128, 3), 'site 1, plate 2')
    """
    screen = Screen((sites,) if isinstance(sites, Site) else tuple(sites), n_plates, n_wells)
    height, width = screen.sites[0].microscope.shape
    pixel = screen.sites[0].microscope.pixel_size
    drop = Axis("drop", screen.n_drops, AxisKind.TEMPORAL)
    y, x = (Axis(name, n, AxisKind.SPATIAL, units="m", step=pixel) for name, n in (("y", height), ("x", width)))
    colour = Axis("channel", 3, AxisKind.CHANNEL, quantity="colour")
    specs = {
        "image": Spec((drop, y, x, colour), np.dtype("u1"), "intensity", title="drops", classes=CLASSES),
        "label": Spec((drop,), np.dtype("i4"), "class", title="label", classes=CLASSES),
    }
    datasets = {name: _dataset(screen, name, spec) for name, spec in specs.items()}
    metadata = datasets["image"].metadata
    metadata["labels"] = Simulated(screen, "label", range(screen.n_drops))((slice(None),)).tolist()
    metadata["items"] = _columns(screen)
    return datasets


@dataclass(frozen=True)
class Simulated:
    """Makes a part of the images or labels of a screen.

    Parameters
    ----------
    screen : Screen
    name : str
        ``image`` or ``label``.
    drops : range or tuple of int
        Numbers of the drops in the screen.
    """

    screen: Screen
    name: str
    drops: range | tuple[int, ...]

    def __call__(self, slices: tuple[slice, ...]) -> npt.NDArray[Any]:
        """That part."""
        first, *rest = slices
        places = [self.screen.place(index) for index in self.drops[first]]
        if self.name == "label":
            return np.array([CLASSES.index(_begin(*place)[1]) for place in places], np.int32)
        return np.stack([simulate_drop(*place).image[tuple(rest)] for place in places])

    def taken(self, numbers: npt.NDArray[np.int64]) -> Simulated:
        """What makes these drops."""
        return replace(self, drops=tuple(self.drops[i] for i in numbers))

    def narrowed(self, part: tuple[slice, ...]) -> tuple[Simulated, tuple[slice, ...]]:
        """What makes this part alone, so that a task carries the numbers of its own drops only."""
        some = self.drops[part[0]]
        return replace(self, drops=some), (slice(0, len(some)), *part[1:])


def _begin(site: Site, plate: int, well: int) -> tuple[np.random.Generator, str]:
    """The random numbers of a drop, and its class."""
    rng = np.random.Generator(np.random.SFC64((site.seed, 2, plate, well)))
    share = np.cumsum(site.prior) / sum(site.prior)
    return rng, CLASSES[int(np.searchsorted(share, rng.random(), side="right"))]


def _columns(screen: Screen) -> dict[str, list[str]]:
    """Site, plate and well of each drop, by names that are one's own."""
    places = [screen.place(index) for index in range(screen.n_drops)]
    return {
        "site": [f"site {site.seed}" for site, _, _ in places],
        "plate": [f"site {site.seed}, plate {plate + 1}" for site, plate, _ in places],
        "well": [_well_name(well) for _, _, well in places],
    }


def _well_name(well: int) -> str:
    """A1 to H12 of a plate of 96 wells, and on in the same way.

    Examples
    --------
    >>> _well_name(0), _well_name(95), _well_name(26 * 12)
    ('A1', 'H12', 'AA1')
    """
    row, column = divmod(well, _COLUMNS)
    letters = ""
    row += 1
    while row:
        row, letter = divmod(row - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{column + 1}"


def _dataset(screen: Screen, name: str, spec: Spec) -> sidpy.Dataset:
    chunks = plan_chunks(spec.shape, spec.dtype, len(spec.axes) - 1)
    array = lazy_array(Simulated(screen, name, range(screen.n_drops)), spec.shape, spec.dtype, chunks, ())
    record = Provenance("given", {"title": name, "reason": "simulated by pycroclass.simulate", "screen": asdict(screen)})
    return wrap(array, spec, provenance=record, modality="microscopy", source="simulation")
