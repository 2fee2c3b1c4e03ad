"""Pipelines as JSON and back: ``[{"Crop": {"size": [350, 350]}}, {"Log1p": {}}]``.

Arrays stand in the JSON by digest and travel beside it. A file can name registered operators only; nothing is pickled.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from inspect import Parameter, signature
from typing import Any

import numpy as np

from pycroclass.array_value import ArrayValue
from pycroclass.errors import PycroclassError, RecipeError
from pycroclass.geometry import Geometry, PanelGeometry
from pycroclass.operator import REGISTRY, Composable, Pipeline
from pycroclass.spec import Axis

log = logging.getLogger(__name__)

Arrays = dict[str, ArrayValue]


def to_dict(pipeline: Composable) -> tuple[list[dict[str, Any]], Arrays]:
    """The pipeline as JSON-ready steps, and its array parameters by digest.

    Examples
    --------
    >>> from pycroclass.operators import Log1p
    >>> to_dict(Log1p())
    ([{'Log1p': {}}], {})
    """
    arrays: Arrays = {}
    return [{type(step).__name__: _parameters(step, arrays)} for step in pipeline.steps()], arrays


def from_dict(steps: Sequence[Mapping[str, Any] | str], arrays: Mapping[str, ArrayValue] | None = None) -> Pipeline:
    """The pipeline of JSON-ready steps; a step without parameters may be its name alone.

    Raises
    ------
    RecipeError
        If a step is malformed, its operator is not registered, or its parameters are refused.
    """
    if isinstance(steps, str | Mapping) or not isinstance(steps, Sequence):
        raise RecipeError(f"a pipeline is a list of steps such as [{{'Crop': {{'size': 350}}}}], got {steps!r}")
    return Pipeline(tuple(_step(step, arrays or {}) for step in steps))


def _step(step: Mapping[str, Any] | str, arrays: Mapping[str, ArrayValue]) -> Composable:
    if isinstance(step, str):
        step = {step: {}}
    if not isinstance(step, Mapping) or len(step) != 1:
        raise RecipeError(f"a step is one name with its parameters, such as {{'Crop': {{'size': 350}}}}; got {step!r}")
    ((name, parameters),) = step.items()
    if name not in registry():
        near = difflib.get_close_matches(str(name), registry(), 1, 0.5)
        meant = f"did you mean {near[0]}? " if near else ""
        raise RecipeError(f"no operator or estimator {name!r}; {meant}known are {', '.join(sorted(registry()))}")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise RecipeError(f"the parameters of {name} must be names and values, got {parameters!r}")
    cls = registry()[name]
    values = {key: _decode(value, arrays) for key, value in (parameters or {}).items()}
    known = signature(cls).parameters
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
    if (unknown := sorted(set(values) - set(known))) and not takes_any:
        raise RecipeError(f"{name} has no parameter {', '.join(unknown)}; it takes {', '.join(sorted(known)) or 'none'}")
    try:
        return cls(**values)
    except PycroclassError as error:
        raise RecipeError(f"{name}: {error}") from error
    except TypeError as error:
        raise RecipeError(f"{name} cannot be made from {sorted(values)}: {error}") from error


@cache
def registry() -> Mapping[str, type[Composable]]:
    """All operators and estimators by class name, our own and those of installed plug-ins."""
    for module in ("pycroclass.operators", "pycroclass.estimators"):
        importlib.import_module(module)
    for plugin in entry_points(group="pycroclass.operators"):
        try:
            plugin.load()
        except Exception as error:  # noqa: BLE001  # a broken plug-in must not take down the rest
            log.warning("plug-in %s of %s cannot be loaded: %s", plugin.name, plugin.value, error)
    return REGISTRY


def _parameters(value: Any, arrays: Arrays) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in signature(type(value)).parameters.items():
        if parameter.kind is Parameter.VAR_KEYWORD:  # its attribute holds what it was given, by name
            values |= dict(getattr(value, name))
        else:
            values[name] = getattr(value, name)
    return {name: _encode(item, arrays) for name, item in values.items() if item is not None}


def _encode(value: Any, arrays: Arrays) -> Any:
    match value:
        case ArrayValue():
            arrays[value.digest] = value
            return {"$array": value.digest}
        case np.ndarray():
            return _encode(ArrayValue(value), arrays)
        case Geometry():
            return {"$Geometry": value.to_dict()}
        case PanelGeometry():
            return {"$PanelGeometry": value.to_dict()}
        case Axis():
            return {"$Axis": _parameters(value, arrays)}
        case Composable():
            return {"$pipeline": [{type(s).__name__: _parameters(s, arrays)} for s in value.steps()]}
        case np.dtype():
            return value.name
        case StrEnum():
            return value.value
        case np.generic():
            return _encode(value.item(), arrays)
        case float() if not math.isfinite(value):
            return {"$float": str(value)}
        case list() | tuple():
            return [_encode(item, arrays) for item in value]
        case Mapping():
            return {str(key): _encode(item, arrays) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case _ if is_dataclass(value):  # a group of parameters, which its owner takes as names and values
            return {field.name: _encode(getattr(value, field.name), arrays) for field in fields(value)}
    raise RecipeError(f"a parameter of type {type(value).__name__} cannot be written as JSON: {value!r}")


def _decode(value: Any, arrays: Mapping[str, ArrayValue]) -> Any:
    match value:
        case {"$array": digest}:
            if digest not in arrays:
                raise RecipeError(f"the array {digest} is named but was not stored beside the pipeline")
            return arrays[digest]
        case {"$Geometry": dict(known)}:
            return Geometry(**{key: _decode(item, arrays) for key, item in known.items()})
        case {"$PanelGeometry": dict(known)}:
            return PanelGeometry.from_dict(known)
        case {"$Axis": dict(known)}:
            return Axis(**{key: _decode(item, arrays) for key, item in known.items()})
        case {"$pipeline": steps}:
            return from_dict(steps, arrays)
        case {"$float": text}:
            return float(text)
        case list():
            return tuple(_decode(item, arrays) for item in value)
        case Mapping():
            return {key: _decode(item, arrays) for key, item in value.items()}
    return value
