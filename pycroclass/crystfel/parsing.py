"""From the text of a geometry file of CrystFEL to its value."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pycroclass.crystfel.panel import BadRegion, CrystFELPanel, PixelMask
from pycroclass.crystfel.quantity import BEAMS, UNITS, Quantity
from pycroclass.crystfel.value import CrystFELGeometry
from pycroclass.errors import ParameterError, ReadError
from pycroclass.readers.failure import failure

_LOG: Final = logging.getLogger(__name__)

_UNSIGNED: Final = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMPONENT: Final = re.compile(rf"([+-]?)({_UNSIGNED})?([xyz])")
_QUANTITY: Final = re.compile(rf"([+-]?{_UNSIGNED})\s*([A-Za-z]*)")
_MASK: Final = re.compile(r"mask([0-7])_(data|file|goodbits|badbits)")
_DIM: Final = re.compile(r"dim(\d+)")
_SYNONYMS: Final = {"mask": "mask0_data", "mask_file": "mask0_file", "mask_good": "mask0_goodbits", "mask_bad": "mask0_badbits"}
_KEPT: Final = (
    *("flag_lessthan", "flag_morethan", "flag_equal", "saturation_map", "saturation_map_file", "badrow_direction"),
    *("rail_x", "rail_y", "rail_z", "rail_direction", "clen_for_centering", "adu_bias"),
)
"""Keys of panels that are known and have no meaning here."""
_KEPT_ABOVE: Final = ("bandwidth", "photon_energy_bandwidth", "photon_energy_scale", "beam_bandwidth", "peak_list", "peak_list_type")
_MUST: Final = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "res")


def read_crystfel(path: str | os.PathLike[str]) -> CrystFELGeometry:
    """Read a geometry file of CrystFEL (``.geom``).

    Lines that are known are checked. Others of the form ``key = value`` are kept as they are, with a warning in the log.

    Parameters
    ----------
    path : path

    Returns
    -------
    CrystFELGeometry

    Raises
    ------
    ReadError
        If the file cannot be read, or a line not be understood; it names the line.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.geometry import Geometry, PanelGeometry
    >>> flat = Geometry((9.5, 9.5), pixel_size=(1e-4, 1e-4), distance=0.1, wavelength=1e-10)
    >>> geometry = CrystFELGeometry.of(PanelGeometry.of_flat(flat, (20, 20)), data="/entry_1/data_1/data")
    >>> path = geometry.write(Path(mkdtemp()) / "detector.geom")
    >>> read_crystfel(path) == geometry
    True
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise failure(file, f"cannot be read: {error.strerror}", "Check the path.") from error
    return parse(text, str(file))


def parse(text: str, name: str = "geometry") -> CrystFELGeometry:
    """The value of the text of a file; ``name`` is for errors, which are those of `read_crystfel`."""
    found = _Found(name)
    for number, line in enumerate(text.splitlines(), 1):
        statement = line.partition(";")[0].strip()
        if not statement:
            continue
        key, is_assignment, value = (part.strip() for part in statement.partition("="))
        if not is_assignment or not key or not value:
            raise found.error(number, f"{statement!r} is not of the form key = value", "A comment begins with ;")
        try:
            found.note(number, key, value)
        except ParameterError as error:
            raise found.error(number, f"{statement!r}: {error}", "Correct the line.") from error
    return found.value()


@dataclass
class _Found:
    """What was found so far; the one value here that changes."""

    name: str
    top: dict[str, Any] = field(default_factory=dict)
    panels: dict[str, dict[str, Any]] = field(default_factory=dict)
    regions: dict[str, dict[str, Any]] = field(default_factory=dict)
    quantities: dict[str, Quantity] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    other: list[tuple[str, str]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def error(self, line: int, problem: str, remedy: str) -> ReadError:
        return failure(self.name, f"line {line}: {problem}", remedy)

    def note(self, line: int, key: str, value: str) -> None:
        owner, is_owned, own_key = key.partition("/")
        if is_owned and owner.startswith("bad"):
            self.lines.setdefault(owner, line)
            self._note_region(owner, own_key, value)
        elif is_owned:
            self.lines.setdefault(owner, line)
            self._note_panel(self.panels.setdefault(owner, dict(self.top)), own_key, value, line)
        elif key.startswith(("rigid_group_", "group_")):
            self.groups[key] = tuple(member.strip() for member in value.split(","))
        elif key in UNITS and key != "clen":
            self._note_quantity(_quantity(key, value))
        elif _parser(key) is not None or key in _KEPT:
            self._note_panel(self.top, key, value, line)
        else:
            if key not in _KEPT_ABOVE:
                _LOG.warning("%s: line %d: %r is not known and has no effect", self.name, line, key)
            self.other.append((key, value))

    def _note_quantity(self, quantity: Quantity) -> None:
        given = [name for name in self.quantities if name in BEAMS]
        if quantity.name in BEAMS and given not in ([], [quantity.name]):
            raise ParameterError(f"the beam has a {given[0]} already; give one of {', '.join(BEAMS)}")
        self.quantities[quantity.name] = quantity

    def _note_panel(self, values: dict[str, Any], key: str, text: str, line: int) -> None:
        key = _SYNONYMS.get(key, key)
        if key == "pixel_pitch":
            pitch = _number(text)
            if pitch <= 0:
                raise ParameterError("pixel_pitch must be above zero, in metres")
            values["res"] = 1 / pitch
        elif (parser := _parser(key)) is not None:
            values[key] = parser(text)
        else:
            if key not in _KEPT:
                _LOG.warning("%s: line %d: %r is not known and has no effect", self.name, line, key)
            values["other"] = tuple(sorted({**dict(values.get("other", ())), key: text}.items()))

    def _note_region(self, name: str, key: str, text: str) -> None:
        values = self.regions.setdefault(name, {})
        if key == "panel":
            values[key] = text
        elif key in ("min_fs", "max_fs", "min_ss", "max_ss"):
            values[key] = _whole(text)
        elif key in ("min_x", "max_x", "min_y", "max_y"):
            values[key] = _number(text)
        else:
            raise ParameterError("a bad region has min and max of fs and ss, or of x and y, and a panel")

    def value(self) -> CrystFELGeometry:
        try:
            return CrystFELGeometry(
                tuple(self._panel(name, values) for name, values in self.panels.items()),
                beam=next((quantity for name, quantity in self.quantities.items() if name in BEAMS), None),
                bad_regions=tuple(self._region(name, values) for name, values in self.regions.items()),
                shift=tuple(quantity for name, quantity in self.quantities.items() if name not in BEAMS),
                groups=tuple(self.groups.items()),
                other=tuple(self.other),
            )
        except ParameterError as error:
            raise failure(self.name, str(error), "Is it a geometry file of CrystFEL?") from error

    def _panel(self, name: str, values: Mapping[str, Any]) -> CrystFELPanel:
        line = self.lines[name]
        if missing := [key for key in _MUST if key not in values]:
            raise self.error(
                line, f"panel {name!r} lacks {', '.join(missing)}", "What stands above the panels counts only for those below."
            )
        own = {key: value for key, value in values.items() if not _MASK.fullmatch(key) and not _DIM.fullmatch(key)}
        own.setdefault("clen", self.top.get("clen"))  # one for all panels, wherever it stands
        try:
            return CrystFELPanel(name, **own, dims=_dims(values), masks=_masks(values))
        except ParameterError as error:
            raise self.error(line, str(error), "Correct the lines of this panel.") from error

    def _region(self, name: str, values: Mapping[str, Any]) -> BadRegion:
        ends = {axis: (values.get(f"min_{axis}"), values.get(f"max_{axis}")) for axis in ("fs", "ss", "x", "y")}
        known: dict[str, Any] = {axis: pair for axis, pair in ends.items() if pair != (None, None)}
        try:
            if half := [axis for axis, pair in known.items() if None in pair]:
                raise ParameterError(f"bad region {name!r} lacks min or max of {', '.join(half)}")
            return BadRegion(name, **known, panel=values.get("panel"))
        except ParameterError as error:
            raise self.error(self.lines[name], str(error), "Complete it.") from error


def _parser(key: str) -> Callable[[str], Any] | None:
    """What understands the value of a key of a panel; ``None`` where the key is not known."""
    key = _SYNONYMS.get(key, key)
    if _DIM.fullmatch(key):
        return _dim
    if found := _MASK.fullmatch(key):
        return _bits if found[2].endswith("bits") else str
    return _PARSERS.get(key)


def _dims(values: Mapping[str, Any]) -> tuple[str | int, ...]:
    dims = {int(found[1]): value for key, value in values.items() if (found := _DIM.fullmatch(key))}
    if not dims:
        return ("ss", "fs")
    if missing := [f"dim{i}" for i in range(max(dims)) if i not in dims]:
        raise ParameterError(f"it has dim{max(dims)} but not {', '.join(missing)}")
    return tuple(dims[i] for i in sorted(dims))


def _masks(values: Mapping[str, Any]) -> tuple[PixelMask, ...]:
    names = {"data": "data", "file": "file", "goodbits": "good_bits", "badbits": "bad_bits"}
    found: dict[int, dict[str, Any]] = {}
    for key, value in values.items():
        if match := _MASK.fullmatch(key):
            found.setdefault(int(match[1]), {})[names[match[2]]] = value
    return tuple(PixelMask(number, **found[number]) for number in sorted(found))


def _number(text: str) -> float:
    if not re.fullmatch(rf"[+-]?{_UNSIGNED}", text):
        raise ParameterError(f"wanted a number, got {text!r}")
    return float(text)


def _whole(text: str) -> int:
    number = _number(text)
    if not number.is_integer():
        raise ParameterError(f"wanted a whole number, got {text!r}")
    return int(number)


def _bits(text: str) -> int:
    """As in C: ``0x`` is hexadecimal, a leading 0 octal."""
    try:
        return int(text, 8) if re.fullmatch(r"0\d+", text) else int(text, 0)
    except ValueError:
        raise ParameterError(f"wanted bits such as 0x01, got {text!r}") from None


def _flag(text: str) -> bool:
    return text.lower() == "true" or (text.lower() != "false" and _number(text) != 0)


def _dim(text: str) -> str | int:
    return text if text in ("%", "ss", "fs") else _whole(text)


def _vector(text: str) -> tuple[float, float, float]:
    """``+0.99x -0.01y``; what is not named is 0, a name without number 1."""
    compact, end, parts = "".join(text.split()), 0, {}
    for match in _COMPONENT.finditer(compact):
        sign, size, axis = match.groups()
        if match.start() != end or axis in parts or (end and not sign):
            break
        parts[axis] = float(f"{sign}{size or 1}")
        end = match.end()
    if not parts or end != len(compact):
        raise ParameterError(f"wanted a vector such as +0.99x -0.01y, got {text!r}")
    return parts.get("x", 0.0), parts.get("y", 0.0), parts.get("z", 0.0)


def _quantity(name: str, text: str) -> Quantity:
    if found := _QUANTITY.fullmatch(text):
        return Quantity(name, float(found[1]), found[2])
    path, _, unit = text.partition(" ")
    if not re.match(r"[/A-Za-z_]", path):
        raise ParameterError(f"wanted a number with its unit, or a path in a data file, got {text!r}")
    return Quantity(name, path, unit.strip())


_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("min_fs", "max_fs", "min_ss", "max_ss", "mask_edge_pixels"), _whole),
    **dict.fromkeys(("corner_x", "corner_y", "coffset", "res", "adu_per_photon", "adu_per_eV", "max_adu", "pixel_pitch"), _number),
    **dict.fromkeys(("fs", "ss"), _vector),
    "clen": lambda text: _quantity("clen", text),
    "data": str,
    "no_index": _flag,
}
