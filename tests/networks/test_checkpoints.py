"""Files of weights: every form is read, a damaged or dangerous one is not."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycroclass.errors import ReadError
from pycroclass.networks.checkpoints import read_checkpoint

STATE = {"conv1.weight": torch.arange(6.0).reshape(2, 3), "bn1.num_batches_tracked": torch.tensor(5), "fc.bias": torch.tensor([0.5, -1.0])}


def same(path: Path, state: dict[str, torch.Tensor] = STATE) -> bool:
    found = read_checkpoint(path).tensors
    return found.keys() == state.keys() and all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["w.pth", "w.pth.tar", "w.bin", "w"])
def test_files_of_torch(tmp_path: Path, name: str, *, is_zip: bool) -> None:
    torch.save(STATE, tmp_path / name, _use_new_zipfile_serialization=is_zip)
    assert same(tmp_path / name)
    assert read_checkpoint(tmp_path / name).digest == f"sha256:{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}"


@pytest.mark.parametrize(
    "wrapped",
    [
        {"epoch": 3, "arch": "resnet18", "state_dict": STATE, "best_acc1": torch.tensor(0.7), "optimizer": {"state": {0: {"step": 1}}}},
        {"model": STATE, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        {"model": {"state_dict": STATE}},
        {"model_state_dict": STATE, "state_dict_ema": {"conv1.weight": torch.zeros(2)}},
        {"pytorch-lightning_version": "2.6", "state_dict": {**STATE}, "hyper_parameters": {"lr": 1}},
        {**STATE, "note": "made yesterday"},
        {name: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()},
    ],
    ids=["state_dict", "model", "twice", "model_state_dict", "lightning", "note", "parameters"],
)
def test_wrapped_as_training_scripts_do(tmp_path: Path, wrapped: dict[str, Any]) -> None:
    torch.save(wrapped, tmp_path / "w.pth")
    assert same(tmp_path / "w.pth")


def test_safetensors_alone_and_in_parts(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "model.safetensors", {"license": "apache-2.0"})
    assert same(tmp_path / "model.safetensors")
    assert read_checkpoint(tmp_path / "model.safetensors").licence == "apache-2.0"
    shards = tmp_path / "shards"
    shards.mkdir()
    weight_map = {}
    for i, (name, tensor) in enumerate(STATE.items()):
        safetensors.torch.save_file({name: tensor}, shards / f"model-0000{i}.safetensors")
        weight_map[name] = f"model-0000{i}.safetensors"
    index = shards / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert same(index)
    assert same(shards)
    first = read_checkpoint(index).digest
    safetensors.torch.save_file({"fc.bias": torch.zeros(2)}, shards / "model-00002.safetensors")
    assert read_checkpoint(index).digest != first
    index.write_text(json.dumps({"weight_map": {**weight_map, "fc.weight": "model-00002.safetensors"}}))
    with pytest.raises(ReadError, match=r"lack fc\.weight"):
        read_checkpoint(index)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", ""])
def test_an_index_names_files_beside_it_only(tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "secret.safetensors")
    (tmp_path / "inner").mkdir()
    index = tmp_path / "inner" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(STATE, name)}))
    with pytest.raises(ReadError, match="no index"):
        read_checkpoint(index)


def test_folder_of_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no weights"):
        read_checkpoint(tmp_path)
    torch.save({"fc.bias": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    safetensors.torch.save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "README.md").write_text("---\ntags:\n- vision\nlicense: apache-2.0\n---\n# A model\nlicense: none\n")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}))
    found = read_checkpoint(tmp_path)
    assert same(tmp_path)
    assert (found.licence, found.statistics) == ("apache-2.0", ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1)))


def test_folder_of_timm_and_one_with_several(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "resnet18.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": {"mean": [0.4], "std": [0.2]}}))
    found = read_checkpoint(tmp_path)
    assert (found.licence, found.statistics) == (None, ((0.4,), (0.2,)))
    safetensors.torch.save_file(STATE, tmp_path / "resnet34.safetensors")
    with pytest.raises(ReadError, match="several"):
        read_checkpoint(tmp_path)


class Dangerous:
    """Runs a command when it is loaded by plain pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_objects_are_not_loaded(tmp_path: Path, *, is_zip: bool) -> None:
    trap, path = tmp_path / "trap", tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "extra": Dangerous(trap)}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ReadError, match="more than weights"):
        read_checkpoint(path)
    assert not trap.exists()
    torch.load(path, weights_only=False)
    assert trap.exists(), "else this test shows nothing"


def test_whole_networks_are_not_loaded(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ReadError, match="save the state dict alone"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_part_of_a_file_is_an_error(tmp_path: Path, form: str, data: st.DataObject) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    if not whole.exists():
        big = {**STATE, "conv2.weight": torch.zeros(30, 40)}
        safetensors.torch.save_file(big, whole) if form == "safetensors" else torch.save(
            big, whole, _use_new_zipfile_serialization=form == "zip"
        )
    content = whole.read_bytes()
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ReadError):
        read_checkpoint(cut)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"P", b"<html>not found</html>", b"PK\x03\x04 zip", b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ReadError):
        read_checkpoint(tmp_path / "w.pth")


def test_no_such_file_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cannot read"):
        read_checkpoint(tmp_path / "w.pth")
    torch.save({"epoch": 3, "notes": {"a": 1}}, tmp_path / "w.pth")
    with pytest.raises(ReadError, match="got epoch, notes"):
        read_checkpoint(tmp_path / "w.pth")
    torch.save([torch.ones(2)], tmp_path / "w.pth")
    with pytest.raises(ReadError, match="got a list"):
        read_checkpoint(tmp_path / "w.pth")
