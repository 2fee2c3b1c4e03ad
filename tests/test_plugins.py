"""What a plug-in computed is recorded with its version, and not taken for what another version computes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import sidpy

import pycroclass as pc
from pycroclass import plugins
from pycroclass.errors import WriteError
from pycroclass.networks.registry import _ARCHITECTURES
from pycroclass.operator import REGISTRY
from pycroclass.readers.records import records

MODULE = """
from dataclasses import dataclass
from typing import ClassVar
from pycroclass.networks import ImageResNet, network
from pycroclass.operator import Operator
from pycroclass.spec import Domain

@dataclass(frozen=True)
class Plugged(Operator):
    domain: ClassVar[Domain] = Domain.PIXEL

    def transform(self, block):
        return block + 1

@network("plugged_resnet", domain=Domain.IMAGE)
def plugged_resnet(**parameters):
    return ImageResNet(**parameters)
"""


def install(folder: Path, version: str) -> None:
    """The package as pip would lay it down."""
    (folder / "plugged.py").write_text(MODULE)
    home = folder / "pycroclass_plugged.dist-info"
    home.mkdir(exist_ok=True)
    (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pycroclass-plugged\nVersion: {version}\n")
    (home / "entry_points.txt").write_text("[pycroclass.operators]\nplugged = plugged\n")
    plugins._installed.cache_clear()


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of an installed plug-in."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    install(tmp_path / "site", "1.2")
    module = importlib.import_module("plugged")
    yield module
    REGISTRY.pop("Plugged")
    _ARCHITECTURES.pop("plugged_resnet")
    sys.modules.pop("plugged")
    plugins._installed.cache_clear()


def test_another_version_is_another_run(plugged: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["data"] = np.zeros((4, 6), "f4")
    dataset, out = pc.read(tmp_path / "source.h5")["data"], tmp_path / "out.h5"
    pc.write({"a": pc.run(plugged.Plugged(), dataset)}, out, resume=True)
    assert next(iter(records(out).values())).provenance.parameters["plugins"] == {"pycroclass-plugged": "1.2"}
    pc.write({"a": pc.run(plugged.Plugged(), dataset)}, out, resume=True)  # the very same run
    install(tmp_path / "site", "1.3")
    with pytest.raises(WriteError, match="exists already"):
        pc.write({"a": pc.run(plugged.Plugged(), dataset)}, out, resume=True)


def test_networks_and_fits_know_their_plugins(plugged: Any) -> None:
    network = pc.Network("plugged_resnet", {"n_classes": 2}, plugged.plugged_resnet(n_classes=2).state_dict())
    assert plugins.plugin_versions(pc.Log1p() | network) == {"pycroclass-plugged": "1.2"}
    values = sidpy.Dataset.from_array(np.arange(12, dtype="f4").reshape(4, 3))
    model = pc.fit(plugged.Plugged() | pc.KMeans(2, axes=("b",)), values)
    assert model.fitted["plugins"] == {"pycroclass-plugged": "1.2"}


def test_our_own_steps_have_none() -> None:
    assert plugins.plugin_versions(pc.Log1p() | pc.KMeans(2)) == {}
