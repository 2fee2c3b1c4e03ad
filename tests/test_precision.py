"""bfloat16 is chosen where no label of the check batch changes, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import sidpy
import torch

import pycroclass as pc
from pycroclass import precision
from pycroclass.networks import architecture
from pycroclass.operators import Classify, Log1p

CPU = pc.Execution(device="cpu")


@pytest.fixture(autouse=True)
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bfloat16", lambda device: True)


def classify(bias: float) -> Classify:
    """A network whose logits differ by ``bias`` plus what the image changes."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        weights = architecture("resnet_small").build({"n_classes": 2}).state_dict()
    weights["head.bias"] = torch.tensor([0.0, bias])
    return Classify("resnet_small", {"n_classes": 2}, weights, classes=("miss", "hit"))


def images(n: int = 40) -> sidpy.Dataset:
    values = np.random.default_rng(0).random((n, 20, 20), dtype=np.float32)
    dataset = sidpy.Dataset.from_array(values, chunks=(7, 20, 20))
    dataset.data_type = "image_stack"
    for i, (name, kind) in enumerate((("frame", "temporal"), ("y", "spatial"), ("x", "spatial"))):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(values.shape[i]), name=name, dimension_type=kind))
    return dataset


def test_labels_that_agree_allow_bfloat16() -> None:
    assert precision.choose(Log1p() | classify(9), images(), CPU).precision == "bfloat16"


def test_labels_that_change_do_not(caplog: pytest.LogCaptureFixture) -> None:
    dataset = images()
    logits = pc.run(pc.Network("resnet_small", {"n_classes": 2}, classify(0).weights), dataset, execution=CPU).compute()
    middle = float(np.median(np.asarray(logits)[:, 0] - np.asarray(logits)[:, 1]))  # half of the images are a hair's breadth from it
    with caplog.at_level("INFO"):
        assert precision.choose(classify(middle), dataset, CPU).precision == "float32"
    (record,) = [record for record in caplog.records if record.name == "pycroclass.precision"]
    assert (record.levelname, "labels of a check batch change" in record.message) == ("INFO", True)


def test_numbers_of_other_pipelines_stay_as_they_are() -> None:
    assert precision.choose(Log1p(), images(), CPU) == CPU


def test_a_device_without_bfloat16_keeps_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "computes_bfloat16", lambda device: False)
    assert precision.choose(classify(9), images(), CPU) == CPU


def test_nothing_to_check_keeps_float32() -> None:
    dataset = images() * np.nan
    dataset.data_type = "image_stack"
    assert precision.choose(classify(9), dataset, CPU).precision == "float32"


def test_the_precision_is_kept_in_the_record_and_makes_a_difference() -> None:
    dataset, fast = images(), pc.Execution(device="cpu", precision="bfloat16")
    plain, quick = (pc.run(classify(0), dataset, execution=execution) for execution in (CPU, fast))
    probability = [np.asarray(result["probability"].compute()) for result in (plain, quick)]
    assert 0 < np.abs(probability[0] - probability[1]).max() < 0.05
    assert pc.sid.provenance_of(quick["label"]).parameters["execution"]["precision"] == "bfloat16"


def test_an_image_is_one_item() -> None:
    image = images()[3]
    image.data_type = "image"
    assert precision.choose(pc.Crop(12) | classify(9), image, CPU).precision == "bfloat16"


def test_a_selection_before_the_network_is_of_the_whole_dataset() -> None:
    assert precision.choose(pc.Select(frame=(30, 36)) | classify(9), images(), CPU).precision == "bfloat16"


def test_the_check_takes_few_items_of_a_scan_from_all_over_it() -> None:
    with patch.object(precision, "label_agreement", side_effect=lambda network, block: checked.append(block) or 1.0):
        for shape in ((9, 64), (64, 9), (7, 5), (100, 1)):
            checked: list[torch.Tensor] = []
            values = np.broadcast_to(np.arange(np.prod(shape), dtype="f4").reshape(*shape, 1, 1), (*shape, 8, 8))
            scan = sidpy.Dataset.from_array(values, chunks=(4, 4, 8, 8))
            scan.data_type = "image_4d"
            for i, (name, kind) in enumerate((("sy", "spatial"), ("sx", "spatial"), ("ky", "reciprocal"), ("kx", "reciprocal"))):
                scan.set_dimension(i, sidpy.Dimension(np.arange(values.shape[i]), name=name, dimension_type=kind))
            precision.choose(replace(classify(9), axes=("ky", "kx")), scan, CPU)
            numbers = {int(number) for block in checked for number in block.mean((1, 2, 3))}
            assert {0, np.prod(shape) - 1} <= numbers
            assert 24 <= len(numbers) <= 64
