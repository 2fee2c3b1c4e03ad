"""Bundles: what goes in comes out, and nothing damaged, foreign or unfitting gets through."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from pycroclass.array_value import ArrayValue
from pycroclass.bundle import Bundle
from pycroclass.errors import AxisError, BundleError, ParameterError, ReadError, WriteError
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import ImageResNet
from pycroclass.operator import Pipeline
from pycroclass.operators.crop import Crop
from pycroclass.operators.network import Classify
from pycroclass.spec import Axis, AxisKind, Domain, Spec

CLASSES = ("miss", "hit")


def stack(n_y: int = 20, n_x: int = 17, *, units: str = "px", kind: str = "spatial", classes: tuple[str, ...] = ()) -> Spec:
    axes = (Axis("frame", 3, kind="temporal"), Axis("y", n_y, kind=kind, units=units), Axis("x", n_x, kind=kind, units=units))
    return Spec(axes, np.dtype(np.uint16), classes=classes)


def spectra(size: int = 50, *, offset: float = 100.0, step: float = 0.5, units: str = "eV") -> Spec:
    axis = Axis("energy", size, kind=AxisKind.SPECTRAL, offset=offset, step=step, units=units)
    return Spec((Axis("n", 4, kind=AxisKind.TEMPORAL), axis), np.dtype(np.float32))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    module = ImageResNet(n_classes=2, width=2)
    classify = Classify("resnet_small", {"n_classes": 2, "width": 2}, module.state_dict(), classes=CLASSES)
    item = ItemSpec.of(stack(), Domain.IMAGE, free=("y", "x"))
    return Bundle(
        Crop(16) | classify, item, classes=CLASSES, training={"seed": 3, "loss": [0.5, 0.25]}, metrics={"accuracy": 0.9}, licence="CC0-1.0"
    )


@pytest.fixture
def saved(bundle: Bundle, tmp_path: Path) -> Path:
    return bundle.save(tmp_path / "model.safetensors")


def test_round_trip(bundle: Bundle, saved: Path) -> None:
    again = Bundle.load(saved)
    assert again == bundle
    assert again.digest == bundle.digest
    assert again.pipeline == bundle.pipeline
    assert again.item == bundle.item
    assert (again.classes, again.training, again.metrics, again.licence) == (
        bundle.classes,
        bundle.training,
        bundle.metrics,
        bundle.licence,
    )
    assert hash(again) == hash(bundle)
    assert pickle.loads(pickle.dumps(bundle)) == bundle
    block = torch.rand(3, 1, 16, 16)
    assert torch.equal(again.pipeline[1].transform(block)["probability"], bundle.pipeline[1].transform(block)["probability"])


def test_same_bundle_gives_the_same_bytes(bundle: Bundle, saved: Path, tmp_path: Path) -> None:
    assert Bundle.load(saved).save(tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_digest_sees_every_field(bundle: Bundle) -> None:
    others = [
        replace(bundle, training={"seed": 4}),
        replace(bundle, metrics={}),
        replace(bundle, licence="MIT"),
        replace(bundle, item=ItemSpec.of(stack(), Domain.IMAGE)),
        replace(bundle, pipeline=bundle.pipeline[1:]),
    ]
    assert len({bundle.digest, *(other.digest for other in others)}) == 6


def test_never_replaces_a_file_unasked(bundle: Bundle, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(WriteError, match="overwrite=True"):
        bundle.save(saved)
    assert saved.read_bytes() == before
    replace(bundle, licence="MIT").save(saved, overwrite=True)
    assert Bundle.load(saved).licence == "MIT"
    assert [path.name for path in saved.parent.iterdir()] == ["model.safetensors"]


def test_failed_write_leaves_nothing(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        bundle.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match="cannot write"):
        bundle.save(tmp_path / "nowhere" / "model.safetensors")
    with pytest.raises(WriteError, match=r"ends in \.safetensors"):
        bundle.save(tmp_path / "model.pt")


def test_truncated_anywhere(saved: Path) -> None:
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 8, 9, 100, len(data) - 1, *rng.integers(10, len(data), 40)):
        saved.write_bytes(data[:size])
        with pytest.raises(BundleError, match=r"model\.safetensors"):
            Bundle.load(saved)
    saved.write_bytes(data + b"\0")
    with pytest.raises(BundleError):
        Bundle.load(saved)


def test_any_changed_byte_is_seen(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    n_header = int.from_bytes(data[:8], "little")
    rng = np.random.default_rng(1)
    places = [*range(8), *rng.integers(8, 8 + n_header, 120), *rng.integers(8 + n_header, len(data), 120)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        if place < 8 + n_header and json.loads(data[8 : 8 + n_header]) == _json_or_none(damaged, n_header):
            continue  # a blank that became another blank
        saved.write_bytes(damaged)
        with pytest.raises(BundleError):
            Bundle.load(saved)


def _json_or_none(data: bytearray, n_header: int) -> object:
    try:
        return json.loads(data[8 : 8 + n_header])
    except ValueError:
        return None


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"1")
    with pytest.raises(BundleError, match="PK"):
        Bundle.load(path)
    path.write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(BundleError, match="no bundle"):
        Bundle.load(path)
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(BundleError, match="no bundle"):
        Bundle.load(path)
    safetensors.numpy.save_file({"weight": np.zeros(2)}, path)
    with pytest.raises(BundleError, match="no bundle of pycroclass"):
        Bundle.load(path)
    safetensors.numpy.save_file({}, path, {"pycroclass": "[]"})
    with pytest.raises(BundleError, match="cannot be understood"):
        Bundle.load(path)
    with pytest.raises(ReadError, match="No such file"):
        Bundle.load(tmp_path / "missing.safetensors")
    with pytest.raises(ReadError):
        Bundle.load(tmp_path)


def forge(bundle: Bundle, path: Path, old: str, new: str) -> None:
    """A bundle whose digests are right, and whose content is not."""
    content, arrays = bundle._content()
    content = json.loads(json.dumps(content).replace(old, new))
    from pycroclass.bundle import _digest

    header = {"pycroclass": json.dumps({**content, "digest": _digest(content)})}
    safetensors.numpy.save_file({name: array.values for name, array in arrays.items()}, path, header)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"resnet_small"', '"resnet_huge"', "no architecture 'resnet_huge'; known are"),
        ('"Crop"', '"Execute"', "no operator or estimator 'Execute'"),
        ('"classes": ["miss", "hit"], "training"', '"classes": ["hit", "miss"], "training"', "order and names must agree"),
        ('"width": 2', '"width": 3', "weights do not fit"),
        ("pycroclass bundle 1", "pycroclass bundle 9", "has the format 'pycroclass bundle 9'"),
        ('"domain": "image"', '"domain": "sound"', "sound"),
    ],
)
def test_well_formed_but_wrong(bundle: Bundle, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "forged.safetensors"
    forge(bundle, path, "nothing", "nothing")
    assert Bundle.load(path) == bundle
    forge(bundle, path, old, new)
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)


def test_swapped_arrays(bundle: Bundle, tmp_path: Path) -> None:
    content, arrays = bundle._content()
    first, second = sorted(arrays)[:2]
    values = {name: array.values for name, array in arrays.items()}
    values[first], values[second] = values[second], values[first]
    path = tmp_path / "swapped.safetensors"
    safetensors.numpy.save_file(values, path, {"pycroclass": json.dumps({**content, "digest": bundle.digest})})
    with pytest.raises(BundleError, match="does not match its digest"):
        Bundle.load(path)


def test_checks_images(bundle: Bundle) -> None:
    bundle.check(stack())
    bundle.check(stack(99, 16, units="generic"))
    bundle.check(stack(classes=CLASSES))
    with pytest.raises(BundleError, match=r"dataset names the classes \('hit', 'miss'\)"):
        bundle.check(stack(classes=("hit", "miss")))
    with pytest.raises(BundleError, match="is in nm, wanted px"):
        bundle.check(stack(units="nm"))
    with pytest.raises(BundleError, match="axis 'y' is reciprocal, wanted spatial"):
        bundle.check(stack(kind="reciprocal"))
    colour = Spec((*stack().axes, Axis("rgb", 3, kind="channel")), np.dtype(np.uint8))
    with pytest.raises(BundleError, match=r"axis 'rgb' has 3 points, wanted 1 \('channel'\)"):
        bundle.check(colour)
    with pytest.raises(BundleError, match="two spatial or two reciprocal axes"):
        bundle.check(spectra())


def test_checks_sizes_and_spectra() -> None:
    fixed = ItemSpec.of(stack(), Domain.IMAGE)
    fixed.check(stack())
    with pytest.raises(AxisError, match="axis 'y' has 21 points, wanted 20"):
        fixed.check(stack(21))
    item = ItemSpec.of(spectra(), Domain.SPECTRUM)
    item.check(spectra())
    item.check(spectra(offset=100.2))
    with pytest.raises(AxisError, match=r"runs from 150 to 174\.5 eV, wanted 100 to 124\.5"):
        item.check(spectra(offset=150))
    with pytest.raises(AxisError, match="is in keV, wanted eV"):
        item.check(spectra(units="keV"))
    with pytest.raises(AxisError, match="51 points"):
        item.check(spectra(51))
    for kind in ("spatial", "reciprocal"):
        ItemSpec("image", (ItemAxis("channel"), ItemAxis("y"), ItemAxis("x"))).check(stack(kind=kind))
    pair = ItemSpec("image", (ItemAxis("y", kind="spatial"), ItemAxis("x", kind="spatial")))
    with pytest.raises(AxisError, match=r"wanted \(y, x\)"):
        pair.check(stack())
    assert ItemSpec.from_dict(json.loads(json.dumps(item.to_dict()))) == item


def test_refuses_what_cannot_be_kept(bundle: Bundle) -> None:
    with pytest.raises(ParameterError, match="metrics must be JSON-ready"):
        replace(bundle, metrics={"accuracy": float("nan")})
    with pytest.raises(ParameterError, match="training must be JSON-ready"):
        replace(bundle, training={"weights": np.zeros(3)})
    with pytest.raises(BundleError, match="order and names must agree"):
        replace(bundle, classes=("hit", "miss"))


def test_arrays_of_every_type_and_shape(tmp_path: Path) -> None:
    from pycroclass.operators.network import Network

    torch.manual_seed(1)
    weights = dict(ImageResNet(n_classes=2, width=1).state_dict())
    assert weights["standardise.num_batches_tracked"].ndim == 0
    network = Network("resnet_small", {"n_classes": 2, "width": 1}, weights)
    bundle = Bundle(Pipeline((network,)), ItemSpec.of(stack(), Domain.IMAGE))
    again = Bundle.load(bundle.save(tmp_path / "a.safetensors"))
    assert again == bundle
    assert ArrayValue(weights["head.weight"]) == again.pipeline[0].weights["head.weight"]
