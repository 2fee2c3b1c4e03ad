"""Networks as operators: the same answers as plain torch, and no answer where there is none."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from pycroclass.errors import AxisError, DataError, ParameterError, RecipeError
from pycroclass.geometry import Geometry
from pycroclass.networks import HitNetwork, ImageResNet, SpectrumResNet, UNet
from pycroclass.networks.inference import precision
from pycroclass.operator import Pipeline
from pycroclass.operators.network import _MODULES, Classify, Network, label_agreement
from pycroclass.serialize import from_dict, to_dict
from pycroclass.spec import Axis, AxisKind, Domain, Spec
from pycroclass.stage import Stage, plan

CLASSES = ("blank", "hit", "ice")
STACK = Spec(
    (Axis("frame", 7, kind=AxisKind.TEMPORAL), Axis("y", 21, kind=AxisKind.SPATIAL), Axis("x", 18, kind=AxisKind.SPATIAL)),
    np.dtype(np.uint16),
)
ITEM = Spec((Axis("channel", 1, kind=AxisKind.CHANNEL), *STACK.axes[1:]), np.dtype(np.float32))


def image_module(n_channels: int = 1) -> ImageResNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ImageResNet(n_classes=3, n_channels=n_channels, width=8).eval()
        module.standardise.running_mean.fill_(3.0)
        module.standardise.running_var.fill_(4.0)
    return module


def classify(module: ImageResNet | None = None, **changes: object) -> Classify:
    module = module or image_module()
    parameters = {"n_classes": 3, "n_channels": module.item_shape[0], "width": 8}
    return Classify("resnet_small", parameters, module.state_dict(), classes=CLASSES, **changes)


def frames(n: int = 7, n_channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).poisson(5, (n, n_channels, 21, 18)).astype(np.float32))


def test_equals_softmax_of_plain_torch() -> None:
    module, block = image_module(2), frames(n_channels=2)
    results = classify(module, embedding=True).transform(block)
    with torch.no_grad():
        probability = torch.softmax(module(block), dim=1)
        embedding = module.embed(block)
    torch.testing.assert_close(results["probability"], probability, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(results["embedding"], embedding, rtol=1e-5, atol=1e-5)
    assert results["label"].tolist() == probability.argmax(1).tolist()
    assert results["label"].dtype == torch.int32
    assert torch.equal(results["confidence"], results["probability"].amax(1))


def test_spectra_and_logits() -> None:
    module = SpectrumResNet(n_classes=4, length=37).eval()
    network = Network("resnet_spectrum", {"n_classes": 4, "length": 37}, module.state_dict())
    assert network.domain is Domain.SPECTRUM
    block = torch.randn(5, 37, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network.transform(block), module(block))
    item = Spec((Axis("energy", 37, kind=AxisKind.SPECTRAL),), np.dtype(np.float32))
    assert network.output(item).shape == (4,)


def test_outputs_are_as_declared() -> None:
    operator = classify(embedding=True)
    declared = operator.output(ITEM)
    assert list(declared) == ["probability", "label", "confidence", "embedding"]
    assert declared["probability"].names == ("class",)
    assert declared["probability"].classes == declared["label"].classes == CLASSES
    for name, result in operator.transform(frames()).items():
        assert tuple(result.shape[1:]) == declared[name].shape
        assert result.numpy().dtype == declared[name].dtype


UNET = {"n_classes": 3, "width": 4, "depth": 2}


def classify_pixels(**changes: object) -> tuple[UNet, Classify]:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(2)
        module = UNet(**UNET).eval()
    return module, Classify("unet", UNET, module.state_dict(), classes=CLASSES, **changes)


def test_pixels_equal_plain_torch() -> None:
    module, operator = classify_pixels(embedding=True)
    block = frames()
    results = operator.transform(block)
    with torch.no_grad():
        probability = torch.softmax(module(block), dim=1)
        torch.testing.assert_close(results["embedding"], module.embed(block), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(results["probability"], probability, rtol=1e-5, atol=1e-6)
    assert torch.equal(results["label"], probability.argmax(1).to(torch.int32))
    assert torch.equal(results["confidence"], results["probability"].amax(1))


def test_pixels_keep_the_axes_of_their_image() -> None:
    _, operator = classify_pixels(embedding=True)
    y, x = Axis("ky", 21, "reciprocal", units="1/nm", offset=-2, step=0.5), Axis("kx", 18, "reciprocal", units="1/nm", step=0.25)
    geometry = Geometry((3.0, 4.0))
    item = Spec((Axis("channel", 1, "channel"), y, x), np.dtype(np.float32), units="counts", geometry=geometry)
    declared = operator.output(item)
    assert {name: spec.names for name, spec in declared.items()} == {
        "probability": ("class", "ky", "kx"),
        "label": ("ky", "kx"),
        "confidence": ("ky", "kx"),
        "embedding": ("feature", "ky", "kx"),
    }
    assert all((spec["ky"], spec["kx"], spec.geometry, spec.units) == (y, x, geometry, "generic") for spec in declared.values())
    for name, result in operator.transform(frames()).items():
        assert tuple(result.shape[1:]) == declared[name].shape
        assert result.numpy().dtype == declared[name].dtype
    logits = Network("unet", UNET, operator.weights).output(item)
    assert (logits.names, logits.quantity) == (("logit", "ky", "kx"), "logit")
    (stage,) = plan(operator, STACK)
    assert isinstance(stage, Stage)
    assert stage.outputs["label"].names == ("frame", "y", "x")


def test_no_answer_for_any_pixel_of_an_image_that_is_not_finite() -> None:
    _, operator = classify_pixels(embedding=True)
    block = frames()
    block[2, 0, 3, 4] = np.nan
    results = operator.transform(block)
    assert (results["label"][2] == -1).all()
    assert all(results[name][2].isnan().all() for name in ("probability", "confidence", "embedding"))
    answered = torch.arange(7) != 2
    assert (results["label"][answered] >= 0).all()
    assert all(results[name][answered].isfinite().all() for name in ("probability", "confidence", "embedding"))
    assert Network("unet", UNET, operator.weights).transform(block)[2].isnan().all()


def test_no_answer_where_the_network_hides_what_is_not_finite() -> None:
    parameters = {"n_classes": 3, "width": 16, "depth": 1}
    module = UNet(**parameters).eval()
    module.down[0][0].weight.data.abs_()
    operator = Classify("unet", parameters, module.state_dict(), classes=CLASSES, embedding=True)
    block = torch.ones(2, 1, 9, 8)
    block[1, 0, 3, 4] = -torch.inf  # becomes -inf around it, and zero by the first ReLU
    with torch.no_grad():
        assert module(block).isfinite().all()
    results = operator.transform(block)
    assert (results["label"][1] == -1).all()
    assert (results["label"][0] >= 0).all()
    for name in ("probability", "confidence", "embedding"):
        assert results[name][0].isfinite().all()
        assert results[name][1].isnan().all()
    assert Network("unet", parameters, operator.weights).transform(block)[1].isnan().all()


def test_precision_is_that_of_the_context() -> None:
    operator, block = classify(), frames()
    whole = operator.transform(block)
    token = precision.set("bfloat16")
    try:
        half = operator.transform(block)
        with ThreadPoolExecutor(1) as pool:  # another thread, another context
            elsewhere = pool.submit(operator.transform, block).result()
    finally:
        precision.reset(token)
    assert half["probability"].dtype == torch.float32
    assert not torch.equal(half["probability"], whole["probability"])
    torch.testing.assert_close(half["probability"], whole["probability"], atol=0.02, rtol=0)
    assert torch.equal(elsewhere["probability"], whole["probability"])
    assert torch.equal(operator.transform(block)["probability"], whole["probability"])


def test_label_agreement() -> None:
    module = HitNetwork(size=61).eval()
    operator = Network("hit_network", {"size": 61}, module.state_dict())
    block = torch.rand(4, 1, 61, 61, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # two logits that differ by less than bfloat16 tells, above zero
        module.head.weight.zero_()
        module.head.bias.copy_(torch.tensor([1.0, 1.0001]))
    close = Network("hit_network", {"size": 61}, module.state_dict())
    module.head.bias.data[1] = 2.0
    apart = Network("hit_network", {"size": 61}, module.state_dict())
    assert label_agreement(close, block) == 0.0
    assert label_agreement(apart, block) == 1.0
    assert 0 <= label_agreement(operator, block) <= 1
    block[0] = torch.nan
    assert label_agreement(close, block) == 0.25
    assert precision.get() == "float32"


def test_a_network_is_prepared_once_for_each_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    import pycroclass.operators.network as module

    made = []
    prepare = module.prepared
    monkeypatch.setattr(module, "prepared", lambda *args: made.append(args[1:]) or prepare(*args))
    plain = image_module()
    plain.head.bias.data.fill_(0.456)  # not in the cache yet
    operator, block = classify(plain), frames()
    equal = classify(plain)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one.transform(block), [operator, equal] * 4))
    label_agreement(operator, block)
    cpu = torch.device("cpu")
    assert made == [(cpu, "float32"), (cpu, "bfloat16")]
    assert _MODULES.get(operator, cpu, "float32") is _MODULES.get(equal, cpu, "float32")


def test_workspace_is_more_than_the_item() -> None:
    assert classify().workspace(ITEM, torch.device("cpu")) > 4 * 21 * 18
    assert classify_pixels()[1].workspace(ITEM, torch.device("cpu")) > classify().workspace(ITEM, torch.device("cpu"))


def test_any_batching_gives_the_same_answer() -> None:
    operator, block = classify(), frames(11)
    whole = operator.transform(block)
    for size in (1, 3, 4):
        parts = [operator.transform(part) for part in block.split(size)]
        probability = torch.cat([part["probability"] for part in parts])
        torch.testing.assert_close(probability, whole["probability"], rtol=operator.tolerance, atol=1e-6)
        assert torch.equal(torch.cat([part["label"] for part in parts]), whole["label"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_no_answer_for_an_item_that_is_not_finite(value: float) -> None:
    block = frames()
    block[2] = value if value == 1e38 else block[2]
    block[2, 0, 3, 4] = value
    block[2, 0, 3, 5] = -value
    results = classify(embedding=True).transform(block)
    answered = torch.arange(7) != 2
    if value == 1e38:  # finite, but squares overflow inside
        assert (results["label"][2] == -1) == results["confidence"][2].isnan()
        return
    assert results["label"][2] == -1
    assert results["confidence"][2].isnan()
    assert results["probability"][2].isnan().all()
    assert results["embedding"][2].isnan().all()
    without = classify(embedding=True).transform(block[answered])
    torch.testing.assert_close(results["probability"][answered], without["probability"])
    assert (results["label"][answered] >= 0).all()


def test_block_stays_as_it_was() -> None:
    block = frames()
    before = block.clone()
    classify().transform(block)
    assert torch.equal(block, before)


def test_building_does_not_touch_the_random_state() -> None:
    before = torch.random.get_rng_state()
    module = image_module()
    module.head.bias.data.fill_(0.123)  # not in the cache yet
    classify(module).transform(frames())
    assert torch.equal(before, torch.random.get_rng_state())


def test_pickle_and_json_round_trip() -> None:
    operator = classify(embedding=True)
    assert pickle.loads(pickle.dumps(operator)) == operator
    steps, arrays = to_dict(operator)
    (again,) = from_dict(steps, arrays).steps()
    assert again == operator
    assert again.digest == operator.digest
    assert hash(again) == hash(operator)


def test_threads_share_one_network() -> None:
    operator, block = classify(), frames()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: operator.transform(block)["probability"], range(8)))
    assert all(torch.equal(results[0], result) for result in results)


def test_plans_on_a_stack_of_grey_frames() -> None:
    (stage,) = plan(classify(), STACK)
    assert isinstance(stage, Stage)
    assert {name: spec.shape for name, spec in stage.outputs.items()} == {"probability": (7, 3), "label": (7,), "confidence": (7,)}


def test_refuses_other_channels_lengths_and_numbers() -> None:
    colour = Spec((Axis("channel", 3, kind=AxisKind.CHANNEL), *ITEM.axes[1:]), np.dtype(np.float32))
    with pytest.raises(AxisError, match=r"items of shape \(1, any, any\), got \(channel 3, y 21, x 18\)"):
        classify().output(colour)
    module = SpectrumResNet(n_classes=2, length=37)
    spectra = Network("resnet_spectrum", {"n_classes": 2, "length": 37}, module.state_dict())
    with pytest.raises(AxisError, match=r"got \(energy 40\)"):
        spectra.output(Spec((Axis("energy", 40, kind=AxisKind.SPECTRAL),), np.dtype(np.float32)))
    with pytest.raises(AxisError, match="real numbers"):
        classify().output(Spec(ITEM.axes, np.dtype(np.complex64)))
    with pytest.raises(AxisError):
        plan(Pipeline((spectra,)), STACK)


def test_refuses_what_does_not_fit_the_architecture() -> None:
    weights = image_module().state_dict()
    parameters = {"n_classes": 3, "width": 8}
    with pytest.raises(ParameterError, match=r"no architecture 'resnet_huge'; known are .*resnet_small"):
        Network("resnet_huge", parameters, weights)
    with pytest.raises(ParameterError, match="n_classes"):
        Network("resnet_small", {"n_kinds": 3}, weights)
    with pytest.raises(ParameterError, match=r"head.weight: wanted \(4, 64\), got \(3, 64\)"):
        Network("resnet_small", {"n_classes": 4, "width": 8}, weights)
    with pytest.raises(ParameterError, match=r"head\.bias"):
        Network("resnet_small", parameters, {k: v for k, v in weights.items() if k != "head.bias"})
    with pytest.raises(DataError, match=r"head\.bias"):
        Network("resnet_small", parameters, {**weights, "head.bias": np.full(3, np.nan)})
    with pytest.raises(ParameterError, match="3 classes"):
        Classify("resnet_small", parameters, weights, classes=("a", "b"))
    with pytest.raises(ParameterError, match="each once"):
        Classify("resnet_small", parameters, weights, classes=("a", "b", "a"))
    with pytest.raises(RecipeError, match="no architecture"):
        from_dict([{"Network": {"architecture": "resnet_huge", "parameters": {}, "weights": {}}}])
