"""Files that hold the weights of a network, as others write them: what is in them, without running what is in them."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch

from pycroclass.errors import ReadError

_ZIP: Final = b"PK"
_PICKLE: Final = b"\x80"
_WRAPPERS: Final = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params")
"""Under which of several names a training script puts the weights, first the most telling."""
_WHOLE: Final = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
"""Names in a folder of the Hugging Face hub, first the best."""
_DAMAGE: Final = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError, AssertionError, struct.error)
"""What `torch.load` raises on a file that is no checkpoint or only part of one."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights in a file, by the names they have there.

    Parameters
    ----------
    tensors : mapping of str to tensor
    digest : str
        ``sha256:`` and the hash of the file; of several files, the hash of their hashes.
    licence : str, optional
        As the file or the folder says.
    statistics : tuple of (mean, std), optional
        One value of each for each channel, by which images from 0 to 1 were normalised, as the folder says.
    """

    tensors: Mapping[str, torch.Tensor] = field(repr=False)
    digest: str
    licence: str | None = None
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights from a file or a folder.

    Parameters
    ----------
    path : str or Path
        A file of `torch.save` (a state dict, alone or wrapped as training scripts do), a ``.safetensors`` file, the ``.index.json`` of
        several, or a folder of the Hugging Face hub.

    Raises
    ------
    ReadError
        If there is no such file, it is damaged or no checkpoint, or it holds Python objects other than weights, which are not loaded,
        since they could run anything.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "state_dict": {"fc.bias": torch.zeros(2)}}, folder + "/model.pth")
    ...     read_checkpoint(folder + "/model.pth").tensors
    {'fc.bias': tensor([0., 0.])}
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    return _read_index(path) if path.suffix == ".json" else _read_file(path)


def read_header(path: Path) -> dict[str, str]:
    """The notes in the header of a ``.safetensors`` file; none for any other file."""
    if _kind(path) != "safetensors":
        return {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise ReadError(f"{path} is damaged: {error}. Get it again.") from error


def _read_file(path: Path) -> Checkpoint:
    if _kind(path) == "safetensors":
        licence = read_header(path).get("license")
        try:
            tensors = safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise ReadError(f"{path} is damaged: {error}. Get it again.") from error
        return Checkpoint(tensors, _digest(path), licence)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ReadError(
            f"{path} holds more than weights, or is damaged. Objects are not loaded from a file, since they could run anything. Where it "
            f"was made, save the state dict alone: torch.save(model.state_dict(), path). torch says: {_brief(error)}"
        ) from error
    except _DAMAGE as error:
        raise ReadError(f"{path} is damaged or no checkpoint: {_brief(error)}. Get it again.") from error
    return Checkpoint(_state_dict(loaded, path), _digest(path))


def _read_index(path: Path) -> Checkpoint:
    """Several files that together are one."""
    content = _json(path)
    names = sorted(set(map(str, content["weight_map"].values()))) if isinstance(content.get("weight_map"), dict) else []
    if not names or any(not name or Path(name).name != name for name in names):
        raise ReadError(f"{path} is no index of weights: wanted a weight_map with the names of files beside it")
    parts = [_read_file(path.with_name(name)) for name in names]
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    if absent := sorted(set(content["weight_map"]) - set(tensors)):
        raise ReadError(f"the files of {path} lack {', '.join(absent[:3])} ({len(absent)} in all). Get them again.")
    digest = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
    return Checkpoint(tensors, f"sha256:{digest}", parts[0].licence)


def _read_folder(folder: Path) -> Checkpoint:
    known = [folder / name for name in _WHOLE if (folder / name).is_file()]
    others = sorted(folder.glob("*.safetensors"))
    if not known and len(others) != 1:
        raise ReadError(f"the folder {folder} holds {'several files of weights' if others else 'no weights'}: name the file")
    part = read_checkpoint((known or others)[0])
    return replace(part, licence=part.licence or _licence_of(folder), statistics=_statistics_of(folder))


def _licence_of(folder: Path) -> str | None:
    """From the head of the model card."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    line = re.search(r"^license:\s*(\S+)", head[1], re.MULTILINE) if head else None
    return line[1].strip("'\"") if line else None


def _statistics_of(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """As transformers and as timm write them."""
    for file, names in (("preprocessor_config.json", ("image_mean", "image_std")), ("config.json", ("mean", "std"))):
        content = _json(folder / file) if (folder / file).is_file() else {}
        mean, std = (content.get("pretrained_cfg", content).get(name) for name in names)
        if mean is not None and std is not None:
            try:
                return tuple(map(float, mean)), tuple(map(float, std))
            except (TypeError, ValueError) as error:
                raise ReadError(f"{folder / file} is damaged: mean and std must be lists of numbers, got {mean} and {std}") from error
    return None


def _state_dict(loaded: Any, path: Path) -> dict[str, torch.Tensor]:
    """The weights among all that a training script saved."""
    if isinstance(loaded, Mapping):
        for name in _WRAPPERS:
            if isinstance(loaded.get(name), Mapping):
                return _state_dict(loaded[name], path)
        tensors = {str(name): value.detach() for name, value in loaded.items() if isinstance(value, torch.Tensor)}
        if tensors:
            return tensors
    names = ", ".join(map(str, loaded)) if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
    raise ReadError(f"{path} holds no weights that can be recognised: got {names}; wanted a state dict, alone or as state_dict or model")


def _kind(path: Path) -> str:
    """``torch`` or ``safetensors``, by how the file begins: names say little."""
    try:
        with open(path, "rb") as file:
            first = file.read(9)
    except OSError as error:
        raise ReadError(f"cannot read the weights {path}: {error.strerror}") from error
    if first.startswith((_ZIP, _PICKLE)):
        return "torch"
    if first[8:] == b"{":
        return "safetensors"
    raise ReadError(f"{path} is no file of weights: it begins with {first!r}. Wanted a file of torch.save, or .safetensors.")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReadError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ReadError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ReadError(f"{path} is damaged: wanted a JSON object")
    return content


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
