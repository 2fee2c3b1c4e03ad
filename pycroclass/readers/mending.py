"""What files say of their channels and axes, where SciFiReaders drops or confuses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Final

from pycroclass.readers.channel import Channel
from pycroclass.spec import Axis, AxisKind

_UNIT: Final = re.compile(r"\s*\((.*?)\)")


def mend_grid(path: Path, channels: Sequence[Channel]) -> list[Channel]:
    """Channels of a ``.3ds`` grid: names from its header, y and x in metres along its frame (the reader counts pixels as nm)."""
    header = dict(re.findall(r'^(.*?)="?(.*?)"?\s*$', _text_before(path, ":HEADER_END:"), re.MULTILINE))
    titles = header["Channels"].split(";")
    width, height = (float(v) for v in header["Grid settings"].split(";")[2:4])
    named = [_named(channel, title) for channel, title in zip(channels, titles, strict=True)]
    return [_with_linear_sweep(_in_frame(channel, height, width)) for channel in named]


def mend_scan(path: Path, channels: Sequence[Channel]) -> list[Channel]:
    """Channels of an ``.sxm`` scan: name and direction, y and x in metres (the reader calls the rows x)."""
    mended = []
    for channel in channels:
        facts = channel.original_metadata
        width, height = facts["scan_range"]
        title = f"{facts['Name']} [{facts['Direction']}] ({facts['Unit']})"
        mended.append(_in_frame(_named(channel, title), float(height), float(width)))
    return mended


def mend_table(path: Path, channels: Sequence[Channel]) -> list[Channel]:
    """Channels of a ``.dat`` spectroscopy: names from its columns, the first of which is their axis."""
    lines = path.read_text().splitlines()
    axis, *titles = lines[lines.index("[DATA]") + 1].split("\t")
    return [_along(_named(channel, title), axis) for channel, title in zip(channels, titles, strict=True)]


def mend_asylum(path: Path, channels: Sequence[Channel]) -> list[Channel]:
    """Images of an Asylum ``.ibw``: their scan size is in metres (the reader gives the axes the units of the values)."""
    return [_in_metres(channel) if "ScanSize" in channel.original_metadata else channel for channel in channels]


MEND: Final[dict[str, Callable[[Path, Sequence[Channel]], list[Channel]]]] = {
    "IgorIBWReader": mend_asylum,
    "Nanonis3dsReader": mend_grid,
    "NanonisSXMReader": mend_scan,
    "NanonisDatReader": mend_table,
}
"""By the name of SciFiReaders' reader."""


def _text_before(path: Path, end: str) -> str:
    with path.open(encoding="latin-1") as file:
        return "".join(takewhile(lambda line: end not in line, file))


def _named(channel: Channel, title: str) -> Channel:
    return replace(channel, spec=replace(channel.spec, title=title, quantity=_UNIT.sub("", title)))


def _in_frame(channel: Channel, height: float, width: float) -> Channel:
    (n_y, n_x), rest = channel.spec.shape[:2], channel.spec.axes[2:]
    y = Axis("y", n_y, AxisKind.SPATIAL, "length", "m", step=height / n_y)
    x = Axis("x", n_x, AxisKind.SPATIAL, "length", "m", step=width / n_x)
    return replace(channel, spec=replace(channel.spec, axes=(y, x, *rest)))


def _in_metres(channel: Channel) -> Channel:
    axes = (replace(axis, units="m") if axis.kind is AxisKind.SPATIAL else axis for axis in channel.spec.axes)
    return replace(channel, spec=replace(channel.spec, axes=tuple(axes)))


def _with_linear_sweep(channel: Channel) -> Channel:
    """The sweep without the rounding of its positions to single precision."""
    *frame, sweep = channel.spec.axes
    first, last = (float(v) for v in sweep.values[[0, -1]])
    sweep = replace(sweep, offset=first, step=(last - first) / max(sweep.size - 1, 1), explicit=None)
    return replace(channel, spec=replace(channel.spec, axes=(*frame, sweep)))


def _along(channel: Channel, column: str) -> Channel:
    quantity = _UNIT.sub("", column).strip()
    (axis,) = channel.spec.axes
    return replace(channel, spec=replace(channel.spec, axes=(replace(axis, name=quantity, quantity=quantity),)))
