"""The state of a training as one file: tensors beside JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from pycroclass.errors import DataError, ReadError
from pycroclass.files import write_whole

_FORMAT: Final = "pycroclass training 1"
_KEY: Final = "pycroclass"


@dataclass
class State:
    """All that a training is, between two epochs. The random numbers of an epoch follow from its number.

    Parameters
    ----------
    tensors : dict of str to dict of str to tensor
        By part: weights, their average, those of the best epoch, and the optimiser's.
    history : list of dict
        One row for each epoch that is done.
    best : dict
        The row of the best epoch.
    stopped : str
        Why there will be no further epoch; "" while there may be one.
    scaler : dict
        Of the gradients, in float16.
    n_steps : int
        Steps that the optimiser did.
    """

    tensors: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    stopped: str = ""
    scaler: dict[str, Any] = field(default_factory=dict)
    n_steps: int = 0

    def save(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write it with what it is the state of."""
        flat = {f"{part}/{name}": t.detach().cpu().contiguous() for part, tensors in self.tensors.items() for name, t in tensors.items()}
        content = {name: value for name, value in vars(self).items() if name != "tensors"}
        header = {_KEY: json.dumps({"format": _FORMAT, "about": about, **content}, sort_keys=True)}
        write_whole(path, safetensors.torch.save(flat, header))

    @classmethod
    def load(cls, path: Path, about: Mapping[str, Any]) -> State:
        """Read the state of a training that is the same as ``about``; an empty one where there is no file.

        Raises
        ------
        ReadError
            If the file is no checkpoint.
        DataError
            If it is of another training.
        """
        if not path.exists():
            return cls()
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                content = json.loads((file.metadata() or {})[_KEY])
                # cloned, for memory that begins at other addresses is computed with in other steps, which may round otherwise
                flat = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  # not a dict
        except (OSError, safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ReadError(f"{path} is no checkpoint of a training: {error}. Remove it to begin anew.") from error
        if content.pop("format", None) != _FORMAT:
            raise ReadError(f"{path} is no checkpoint of this version of pycroclass. Remove it to begin anew.")
        if different := sorted(_differences(json.loads(json.dumps(about)), content.pop("about"))):
            raise DataError(
                f"{path} is the checkpoint of another training: {', '.join(different)} differ. Remove it to begin anew, or choose another."
            )
        tensors: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in flat.items():
            part, _, rest = name.partition("/")
            tensors.setdefault(part, {})[rest] = tensor
        return cls(tensors, **content)


def _differences(mine: Any, theirs: Any, name: str = "") -> list[str]:
    """Names of what is not the same in two JSON values."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        both = mine.keys() | theirs.keys()
        return [found for key in both for found in _differences(mine.get(key), theirs.get(key), f"{name}.{key}" if name else key)]
    return [] if mine == theirs else [name]
