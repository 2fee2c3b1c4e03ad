"""Balance, schedules, groups of parameters, sampling: each against its formula."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pycroclass.errors import ParameterError
from pycroclass.estimators import Balance, NetworkClassifier, Optimisation, Transfer
from pycroclass.estimators._batches import _repeated
from pycroclass.estimators._descent import Average, Schedule, begin_at_prior, cross_entropy, parameter_groups, set_learning
from pycroclass.networks import ImageResNet, architecture
from pycroclass.serialize import from_dict, to_dict

CLASSES = ("clear", "crystal", "other")
COUNTS = np.array([60, 30, 10])


@pytest.mark.parametrize("method", ["none", "weights", "sampler", "logits"])
@pytest.mark.parametrize("prior", [None, {"clear": 5, "crystal": 1, "other": 2}])
def test_the_best_logits_hold_for_the_stated_prior(method: str, prior: dict[str, float] | None) -> None:
    """For items of four kinds with known probabilities in each class, Bayes' rule with the stated prior minimises the expected loss."""
    balance = Balance(method, prior)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    kind_given_class = rng.dirichlet(np.ones(4), 3)
    stated = balance.stated(COUNTS, CLASSES)
    logits = torch.tensor(np.log(kind_given_class * stated[:, None]).T, requires_grad=True)  # (kind, class)
    seen = COUNTS / COUNTS.sum() * (balance.inverse_frequency(COUNTS) if method in ("weights", "sampler") else 1)
    losses = F.cross_entropy(
        (logits + torch.tensor(balance.shift(COUNTS, CLASSES))).repeat_interleave(3, 0), torch.arange(3).repeat(4), reduction="none"
    )
    expected_loss = (losses.reshape(4, 3) * torch.tensor((kind_given_class * seen[:, None]).T)).sum()
    expected_loss.backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12
    with torch.no_grad():  # and the gradient is not simply always nil
        assert stated == pytest.approx([5 / 8, 1 / 8, 2 / 8] if prior else COUNTS / 100 if method == "none" else [1 / 3] * 3)


@pytest.mark.parametrize("batch_size", [4, 16, 64])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_weights_hold_for_the_stated_prior_in_any_batches(batch_size: int, share: float) -> None:
    """The best constant answer to 64 items in 6400, drawn in batches of which most have none of them, is the prior."""
    balance = Balance("weights", {"common": 1 - share, "rare": share})
    labels = torch.from_numpy((np.random.default_rng(0).permutation(6400) < 64).astype(np.int64))
    counts = np.bincount(labels)
    weight = torch.from_numpy(balance.inverse_frequency(counts))
    logits = torch.tensor([math.log(1 - share), math.log(share)], dtype=torch.float64, requires_grad=True)
    shift = torch.from_numpy(balance.shift(counts, ("common", "rare")))
    losses = [cross_entropy((logits + shift).expand(len(batch), 2), batch, weight, 0.0) for batch in labels.split(batch_size)]
    torch.stack(losses).mean().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12


def test_smoothing_is_the_same_for_rare_classes() -> None:
    """The loss of an item is least where its own class has 1 - 0.1 and the rest is shared by all three, whatever the classes weigh."""
    labels = torch.arange(3)
    best = torch.log(0.9 * torch.eye(3, dtype=torch.float64) + 0.1 / 3).requires_grad_()
    cross_entropy(best, labels, torch.from_numpy(Balance("weights").inverse_frequency(np.array([400, 10, 1]))), 0.1).backward()
    assert best.grad is not None
    assert best.grad.abs().max() < 1e-12


def test_balance_refuses() -> None:
    with pytest.raises(ParameterError, match="method"):
        Balance("both")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="positive"):
        Balance(prior={"clear": 0.0})
    with pytest.raises(ParameterError, match="names the classes"):
        Balance(prior={"clear": 1.0}).stated(COUNTS, CLASSES)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.05, 7), min_size=1, max_size=50), st.integers(0, 100))
def test_places_are_repeated_as_often_as_asked(times: list[float], seed: int) -> None:
    wanted = np.array(times)
    found = np.bincount(_repeated(np.arange(len(times)), wanted, np.random.default_rng(seed)), minlength=len(times))
    assert (np.abs(found - wanted) < 1 + 1e-9).all()
    assert abs(found.sum() - wanted.sum()) < 1 + 1e-9


def test_places_are_repeated_right_in_the_mean() -> None:
    times = np.array([0.3, 1.7, 2.0])
    counts = [np.bincount(_repeated(np.arange(3), times, np.random.default_rng(seed)), minlength=3) for seed in range(2000)]
    np.testing.assert_allclose(np.mean(counts, 0), times, atol=0.05)


def test_schedule_is_torchs_cosine() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    ours = Schedule(7, 0.1, None)
    for epoch in range(7):
        assert ours.of(epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_the_head_goes_first() -> None:
    schedule = Schedule(7, 0.1, Transfer("x.pth", head_epochs=2, head_rate=0.5))
    assert [schedule.is_head_alone(epoch) for epoch in range(4)] == [True, True, False, False]
    assert [schedule.of(epoch) for epoch in range(3)] == [0.5, 0.5, 0.1]
    assert schedule.of(6) == pytest.approx(0.05 * (1 + math.cos(math.pi * 4 / 5)))


@pytest.mark.parametrize("name", ["resnet_small", "resnet18", "hit_network"])
def test_each_parameter_is_in_one_group_and_later_ones_learn_faster(name: str) -> None:
    module = architecture(name).outline({"n_classes": 2})
    groups = parameter_groups(module, 0.5)
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(members) == sorted(id(parameter) for parameter in module.parameters())
    scales = [group["scale"] for group in groups]
    assert scales == sorted(scales)
    assert len(set(scales)) == len(scales) > 1
    assert scales[-1] == 1
    (whole,) = parameter_groups(module, 1.0)
    assert len(whole["params"]) == len(members)


def test_only_what_is_asked_learns() -> None:
    module = ImageResNet(n_classes=2, width=4, dropout=0.5)
    set_learning(module, head_alone=True, freeze_norm=False)
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert module.dropout.training
    assert not any(child.training for name, child in module.named_modules() if name.startswith("trunk"))
    set_learning(module, head_alone=False, freeze_norm=True)
    assert all(p.requires_grad for p in module.parameters())
    assert {type(m).__name__ for m in module.modules() if not m.training} == {"BatchNorm2d"}
    set_learning(module, head_alone=False, freeze_norm=False)
    assert all(m.training for m in module.modules())


def test_the_last_layer_begins_at_the_prior() -> None:
    for name in ("resnet_small", "resnet18", "hit_network"):
        module = architecture(name).build({"n_classes": 2})
        before = [p.detach().clone() for p in module.parameters()]
        begin_at_prior(module, np.array([0.5, 0.5]))
        assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    module = ImageResNet(n_classes=3, width=4)
    with torch.no_grad():
        module.head.weight.zero_()
        module.head.bias.zero_()
    begin_at_prior(module, np.array([0.2, 0.5, 0.3]))
    assert module(torch.rand(1, 1, 20, 20)).softmax(1)[0].tolist() == pytest.approx([0.2, 0.5, 0.3])


def test_average_of_the_weights() -> None:
    module = ImageResNet(n_classes=2, width=4)
    average = Average(module, 0.9)
    expected = module.head.weight.detach().clone()
    for step in range(1, 300):
        with torch.no_grad():
            module.head.weight += torch.randn_like(module.head.weight)
        module(torch.rand(4, 1, 16, 16))
        average.update(module, step)
        share = 1 - min(0.9, step / (step + 10))
        expected = (1 - share) * expected + share * module.head.weight.detach()
    torch.testing.assert_close(average.module.head.weight, expected)
    assert average.module.standardise.num_batches_tracked == module.standardise.num_batches_tracked
    assert not any(p.requires_grad for p in average.parameters())


def test_a_classifier_of_all_groups_is_json_and_back() -> None:
    classifier = NetworkClassifier(
        balance={"method": "logits", "prior": {"a": 1, "b": 3}},  # type: ignore[arg-type]  # as a recipe has it
        augmentation={"preset": "drop", "mixup": 0.2},
        optimisation={"patience": 3, "averaging": 0.99},  # type: ignore[arg-type]
        transfer={"source": "weights.pth", "head_epochs": 1},  # type: ignore[arg-type]
        labels=[0, 1, 0],  # type: ignore[arg-type]
        classes=("a", "b"),
    )
    steps, arrays = to_dict(classifier)
    (again,) = from_dict(json.loads(json.dumps(steps)), arrays)
    assert again == classifier


@pytest.mark.parametrize(
    "wrong",
    [
        {"balance": {"kind": "weights"}},
        {"balance": "weights"},
        {"optimisation": {"patience": 0}},
        {"optimisation": {"label_smoothing": 1}},
        {"optimisation": {"precision": "float8"}},
        {"optimisation": {"accumulate": 0}},
        {"optimisation": {"weight_decay": -1}},
        {"transfer": {"head_epochs": 1}},
        {"transfer": {"source": "x", "layer_decay": 0}},
        {"transfer": {"source": "x", "head_rate": 0}},
        {"transfer": {"source": "x", "head_epochs": -1}},
        {"transfer": {"source": "x", "head_epochs": 20}},
        {"augmentation": "spectrum"},
    ],
)
def test_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        NetworkClassifier(**wrong)  # type: ignore[arg-type]


def test_few_items_in_a_batch_freeze_normalisation() -> None:
    assert Transfer("x").freezes_norm(8)
    assert not Transfer("x").freezes_norm(16)
    assert Transfer("x", freeze_norm=True).freezes_norm(64)
    assert Optimisation() == NetworkClassifier().optimisation
