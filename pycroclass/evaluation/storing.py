"""An evaluation as one JSON file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pycroclass.errors import DataError, ReadError
from pycroclass.evaluation.bootstrap import Interval
from pycroclass.evaluation.gap import Gap
from pycroclass.evaluation.metrics import ClassMetrics, Metrics
from pycroclass.evaluation.operating import OperatingMetrics, OperatingPoint
from pycroclass.evaluation.predictions import Predictions
from pycroclass.evaluation.reliability import Reliability, ReliabilityBin
from pycroclass.files import refuse_existing, write_whole
from pycroclass.metadata_json import decode, encode

if TYPE_CHECKING:
    from pycroclass.evaluation.evaluation import Evaluation

_FORMAT: Final = "pycroclass evaluation 1"


def save(evaluation: Evaluation, path: Path, *, overwrite: bool) -> Path:
    """Write an evaluation; the file appears only when it is whole."""
    refuse_existing(path, overwrite=overwrite)
    write_whole(path, encode({"format": _FORMAT, **_plain(evaluation)}).encode())
    return path


def load(path: Path) -> dict[str, Any]:
    """The fields of a stored evaluation."""
    try:
        content = decode(path.read_bytes())
    except OSError as error:
        raise ReadError(f"cannot read the evaluation {path}: {error.strerror}") from error
    except DataError as error:
        raise ReadError(f"{path} is no evaluation: {error}") from error
    if content.pop("format", None) != _FORMAT:
        raise ReadError(f"{path} is no evaluation, or of a newer version: wanted the format {_FORMAT!r}")
    try:
        return _restored(content)
    except (KeyError, TypeError) as error:
        raise ReadError(f"{path} is damaged: {error!r}") from error


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, all the way down; arrays stay as they are."""
    match value:
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case tuple():
            return tuple(_plain(item) for item in value)
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _restored(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "predictions": Predictions(**content["predictions"]),
        "pooled": _metrics(content["pooled"]),
        "per_group": {name: _metrics(found) for name, found in content["per_group"].items()},
        "intervals": _intervals(content["intervals"]),
        "group_intervals": {name: _intervals(found) for name, found in content["group_intervals"].items()},
        "operating_points": tuple(
            OperatingMetrics(**{**found, "point": OperatingPoint(**found["point"])}) for found in content["operating_points"]
        ),
        "calibration": _reliability(content["calibration"]),
        "provenance": content["provenance"],
        "gaps": {name: Gap(**{**found, "interval": Interval(**found["interval"])}) for name, found in content["gaps"].items()},
    }


def _metrics(content: Mapping[str, Any]) -> Metrics:
    return Metrics(**{**content, "per_class": {name: ClassMetrics(**found) for name, found in content["per_class"].items()}})


def _intervals(content: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: Interval(**bounds) for name, bounds in content.items()}


def _reliability(content: Mapping[str, Any]) -> Reliability:
    return Reliability(**{**content, "bins": tuple(ReliabilityBin(**one) for one in content["bins"])})
