"""A fitted pipeline in one file: what it computes, for which data it was made, and how it came to be.

A bundle is one ``.safetensors`` file. Its arrays are named by their SHA-256; the header holds everything else as JSON, and the SHA-256
of that JSON. Nothing is pickled, so a file from a stranger can be opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import safetensors
import safetensors.numpy

from pycroclass.array_value import ArrayValue
from pycroclass.errors import AxisError, BundleError, ParameterError, PycroclassError, ReadError, RecipeError, WriteError
from pycroclass.files import refuse_existing, write_whole
from pycroclass.item_spec import ItemSpec
from pycroclass.operator import Composable, Pipeline, set_field
from pycroclass.reduction import Estimator
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Spec

_FORMAT: Final = "pycroclass bundle 1"
_KEY: Final = "pycroclass"


@dataclass(frozen=True)
class Bundle:
    """A fitted pipeline with all that is needed to use it well on other data.

    Parameters
    ----------
    pipeline : Operator or Pipeline
        Fitted: preprocessing and model.
    item : ItemSpec
        What the pipeline takes.
    classes : tuple of str
        Names of the classes in the order of the labels.
    training : mapping
        How it was fitted: data, split, seed, versions, curve. JSON-ready; by default what the pipeline remembers of its fit.
    metrics : mapping
        How good it was on data that it had not seen. JSON-ready.
    licence : str
        Of the bundle.

    Raises
    ------
    ParameterError
        If the pipeline is not fitted, or a value cannot be written as JSON.
    BundleError
        If the pipeline has its classes in another order.

    Examples
    --------
    >>> import tempfile
    >>> from pycroclass.item_spec import ItemAxis
    >>> from pycroclass.operators import Crop
    >>> y, x = ItemAxis("y", kind="spatial"), ItemAxis("x", kind="spatial")  # of any size
    >>> item = ItemSpec("image", (ItemAxis("channel", 1, "channel"), y, x))
    >>> bundle = Bundle(Crop(16), item, licence="MIT")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = bundle.save(folder + "/crop.safetensors")
    ...     Bundle.load(path) == bundle
    True
    """

    pipeline: Pipeline
    item: ItemSpec
    classes: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self) -> None:
        set_field(self, "pipeline", _fitted(self.pipeline))
        set_field(self, "classes", tuple(str(name) for name in self.classes))
        set_field(self, "training", self.training or self.pipeline.fitted or {})
        for name in ("training", "metrics"):
            set_field(self, name, _plain(name, getattr(self, name)))
        for step in self.pipeline.steps():
            known = getattr(step, "classes", self.classes)
            if known != self.classes:
                raise BundleError(
                    f"{type(step).__name__} gives the classes {known}, the bundle names {self.classes}: order and names must agree"
                )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bundle) and self.digest == other.digest

    def __repr__(self) -> str:
        return f"Bundle(classes={self.classes}, digest={self.digest[:15]}…)"

    @cached_property
    def digest(self) -> str:
        """``sha256:`` and the hash of all the content, arrays included; it does not depend on the file."""
        return _digest(self._content()[0])

    def check(self, spec: Spec) -> None:
        """Refuse a dataset that the bundle was not made for.

        Raises
        ------
        BundleError
            If the items differ in number of axes, sizes, kinds, units or limits, or the dataset names its classes in another order.
        """
        if spec.classes and self.classes and spec.classes != self.classes:
            raise BundleError(
                f"the dataset names the classes {spec.classes}, the bundle {self.classes}: labels would mean different things"
            )
        try:
            self.item.check(spec)
        except AxisError as error:
            raise BundleError(f"the bundle was made for other data: {error}") from error

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the bundle; the file appears only when it is whole.

        Raises
        ------
        WriteError
            If the file exists and is not to be overwritten, its name does not end in ``.safetensors``, or it cannot be written.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise WriteError(f"a bundle's name ends in .safetensors, got {path}")
        refuse_existing(path, overwrite=overwrite)
        content, arrays = self._content()
        header = {_KEY: _json({**content, "digest": _digest(content)})}
        data = safetensors.numpy.save({digest: array.values for digest, array in arrays.items()}, header)
        write_whole(path, data)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a bundle, and verify all of it.

        Raises
        ------
        ReadError
            If the file is missing or may not be read.
        BundleError
            If it is no bundle, truncated or tampered with, or names an architecture or operator that is not installed.
        """
        path = Path(path)
        header, arrays = _read(path)
        with _damage_named(path):
            content = json.loads(header)
            if content.get("format") != _FORMAT:
                raise BundleError(f"{path} has the format {content.get('format')!r}, wanted {_FORMAT!r}. Update pycroclass?")
            stated = content.pop("digest")
            if stated != _digest(content) or content["arrays"] != sorted(arrays):
                raise BundleError(f"{path} was changed after it was written: its content does not match its digest. Get it again.")
            return cls(
                pipeline=from_dict(content["pipeline"], arrays),
                item=ItemSpec.from_dict(content["item"]),
                classes=tuple(content["classes"]),
                training=content["training"],
                metrics=content["metrics"],
                licence=content["licence"],
            )

    def _content(self) -> tuple[dict[str, Any], dict[str, ArrayValue]]:
        steps, arrays = to_dict(self.pipeline)
        content = {
            "format": _FORMAT,
            "pipeline": steps,
            "arrays": sorted(arrays),
            "item": self.item.to_dict(),
            "classes": list(self.classes),
            "training": self.training,
            "metrics": self.metrics,
            "licence": self.licence,
        }
        return content, arrays


def _fitted(pipeline: Composable) -> Pipeline:
    for step in pipeline.steps():
        if isinstance(step, Estimator):
            raise ParameterError(f"{type(step).__name__} is not fitted; a bundle holds fitted pipelines: pycroclass.fit(pipeline, dataset)")
    return pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline.steps())


def _plain(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(_json(value))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"{name} must be JSON-ready (no NaN, no arrays): {error}") from None
    return plain


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _digest(content: Mapping[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(_json(content).encode()).hexdigest()}"


def _read(path: Path) -> tuple[str, dict[str, ArrayValue]]:
    """The header's JSON, and the arrays, each of which has the digest that is its name."""
    try:
        with open(path, "rb") as file:
            first = file.read(16)
    except OSError as error:
        raise ReadError(f"cannot read the bundle {path}: {error.strerror}") from error
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = (file.metadata() or {}).get(_KEY)
            arrays = {name: ArrayValue(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (safetensors.SafetensorError, PycroclassError) as error:
        raise BundleError(f"{path} is damaged or no bundle: {error}; it begins with {first!r}") from error
    if header is None:
        raise BundleError(f"{path} is a safetensors file, but no bundle of pycroclass: its header holds no {_KEY!r}")
    for name, array in arrays.items():
        if array.digest != name:
            raise BundleError(f"{path} was changed after it was written: the array {name} does not match its digest. Get it again.")
    return header, arrays


@contextmanager
def _damage_named(path: Path) -> Any:
    """Say which file it was that could not be understood."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} is damaged: its header cannot be understood ({error!r})") from error
    except (RecipeError, ParameterError, ValueError) as error:
        raise error if isinstance(error, BundleError) else BundleError(f"{path} cannot be used: {error}") from error
