"""A geometry of CrystFEL as the text of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycroclass.crystfel.panel import BadRegion, CrystFELPanel
    from pycroclass.crystfel.quantity import Quantity
    from pycroclass.crystfel.value import CrystFELGeometry


def as_text(geometry: CrystFELGeometry) -> str:
    """What all panels share stands first, then each panel, bad regions and groups."""
    entries = {panel.name: dict(_panel(panel)) for panel in geometry.panels}
    first = next(iter(entries.values()))
    kept = {key for panel in geometry.panels for key, _ in panel.other}  # above the panels it might mean another thing
    shared = {key: text for key, text in first.items() if key not in kept and all(own.get(key) == text for own in entries.values())}
    quantities = (*((geometry.beam,) if geometry.beam else ()), *geometry.shift)
    blocks = [
        [f"{quantity.name} = {_quantity(quantity)}" for quantity in quantities],
        [f"{key} = {text}" for key, text in geometry.other],
        [f"{key} = {text}" for key, text in shared.items()],
        *([f"{name}/{key} = {text}" for key, text in own.items() if key not in shared or key == "min_fs"] for name, own in entries.items()),
        *(list(_region(region)) for region in geometry.bad_regions),
        [f"{name} = {','.join(members)}" for name, members in geometry.groups],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _panel(panel: CrystFELPanel) -> Iterator[tuple[str, str]]:
    if panel.clen is not None:
        yield "clen", _quantity(panel.clen)
    for key in ("res", "coffset", "adu_per_photon", "adu_per_eV", "max_adu", "data"):
        value = getattr(panel, key)
        if value is not None and (key, value) != ("coffset", 0.0):
            yield key, str(value)
    if panel.dims != ("ss", "fs"):
        yield from ((f"dim{i}", str(dim)) for i, dim in enumerate(panel.dims))
    for mask in panel.masks:
        for key, text in (("data", mask.data), ("file", mask.file), ("goodbits", hex(mask.good_bits)), ("badbits", hex(mask.bad_bits))):
            if text is not None:
                yield f"mask{mask.number}_{key}", text
    if panel.no_index:
        yield "no_index", "1"
    if panel.mask_edge_pixels:
        yield "mask_edge_pixels", str(panel.mask_edge_pixels)
    yield from panel.other
    yield from ((key, str(getattr(panel, key))) for key in ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y"))
    yield from (("fs", _vector(panel.fs)), ("ss", _vector(panel.ss)))


def _quantity(quantity: Quantity) -> str:
    return f"{quantity.value} {quantity.unit}".rstrip()


def _vector(vector: tuple[float, float, float]) -> str:
    x, y, z = vector
    return f"{x:+}x {y:+}y" + (f" {z:+}z" if z else "")


def _region(region: BadRegion) -> Iterator[str]:
    for axis in ("fs", "ss", "x", "y"):
        ends = getattr(region, axis)
        if ends is not None:
            yield from (f"{region.name}/{end}_{axis} = {value}" for end, value in zip(("min", "max"), ends, strict=True))
    if region.panel is not None:
        yield f"{region.name}/panel = {region.panel}"
