"""What `HitFeatures` says of frames, against counts by hand of the peak finder's table and the network alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import DATA, IMAGE_RESNET, seeded

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import Geometry
from pycroclass.kernels.peak_tables import COLUMNS
from pycroclass.networks import ImageResNet
from pycroclass.operators import Bin, Classify, HitFeatures, Log1p, PeakFinder8, RadialSNR
from pycroclass.spec import Axis, Spec

GEOMETRY = Geometry((47.3, 52.8))
FINDER = PeakFinder8(0, min_snr=6, max_peaks=50, geometry=GEOMETRY)
NETWORK = (
    RadialSNR()
    | Bin(5, "max")
    | Log1p()
    | Classify("resnet_small", IMAGE_RESNET, seeded(ImageResNet, **IMAGE_RESNET), classes=("miss", "hit"))
)


def frames(n: int = 12) -> torch.Tensor:
    """Poisson noise with 0 to 33 spots of 1 to 4 pixels a side, ``(n, 1, 101, 97)``."""
    rng = np.random.default_rng(0)
    values = rng.poisson(10, (n, 1, 101, 97)).astype(np.float32)
    for number, frame in enumerate(values[:, 0]):
        for y, x, size in zip(rng.integers(2, 95, 3 * number), rng.integers(2, 90, 3 * number), rng.integers(1, 5, 3 * number)):
            frame[y : y + size, x : x + size] += 200
    return torch.from_numpy(values)


def spec(n_channels: int = 1, dtype: str = "float32") -> Spec:
    axes = (Axis("channel", n_channels, "channel"), Axis("y", 101, "spatial"), Axis("x", 97, "spatial"))
    return Spec(axes, np.dtype(dtype), geometry=GEOMETRY)


def test_features_are_those_of_the_table() -> None:
    operator = HitFeatures(FINDER, boxes=(1,)).bind(spec())
    block = frames()
    found = FINDER.transform(block)
    for features, count, table in zip(operator.transform(block).double(), found["n_peaks"], found["peaks"][:, 0].double().numpy()):
        rows = [dict(zip(COLUMNS, row)) for row in table if not math.isnan(row[0])]
        sizes = [row["n_pixels"] for row in rows]
        rings: dict[int, int] = {}
        for row in rows:
            ring = int(math.hypot(round(row["ss"]) - 47.3, round(row["fs"]) - 52.8) // 10)
            rings[ring] = rings.get(ring, 0) + 1
        wanted = [
            int(count),
            sum(size < 4 for size in sizes),
            sum(4 <= size < 10 for size in sizes),
            sum(size >= 10 for size in sizes),
            len(rows) - max(rings.values(), default=0),
            sum(row["snr"] for row in rows),
        ]
        np.testing.assert_allclose(features.expm1().numpy(), wanted, rtol=1e-4, atol=1e-4)
    assert int(found["n_peaks"].max()) > 6
    assert int(found["n_peaks"].min()) == 0


def test_a_short_table_still_counts_all_peaks() -> None:
    block = frames()
    short = HitFeatures(PeakFinder8(0, min_snr=6, max_peaks=3, geometry=GEOMETRY), boxes=(1,))
    assert torch.equal(short.transform(block)[:, 0], HitFeatures(FINDER).transform(block)[:, 0].minimum(short.transform(block)[:, 0]))
    assert short.transform(block)[:, 1:4].double().expm1().sum(1).max() < 3.01


def test_network_comes_first_as_log_odds() -> None:
    operator = HitFeatures(FINDER, NETWORK).bind(spec())
    block = frames()
    alone = block
    for step in NETWORK:
        alone = step.bind(spec()).transform(alone)
    probability = alone["probability"][:, 1].double()
    features = operator.transform(block)
    assert operator.names[0] == "network"
    np.testing.assert_allclose(features[:, 0].double().sigmoid(), probability, rtol=1e-4)
    assert torch.equal(features[:, 1:], HitFeatures(FINDER).transform(block))


def test_numbers_of_the_file_give_the_same() -> None:
    operator = HitFeatures(FINDER, NETWORK).bind(spec(dtype="uint16"))
    block = frames()
    np.testing.assert_allclose(operator.transform(block.to(torch.uint16)), operator.transform(block), rtol=1e-4, atol=1e-4)


def test_bad_pixels_and_empty_frames() -> None:
    operator = HitFeatures(FINDER, NETWORK).bind(spec())
    block = frames(3)
    block[0, 0, 50, 50] = torch.nan
    block[1] = torch.nan
    features = operator.transform(block)
    assert features.isfinite().all(1).tolist() == [True, False, True]
    assert features[1].isnan().all()


def test_result_names_its_features() -> None:
    operator = HitFeatures(FINDER, NETWORK)
    out = operator.output(spec())
    assert out.classes == operator.names == ("network", "n_peaks", "n_small", "n_medium", "n_large", "n_off_ring", "snr")
    assert (out.names, out.shape, out.geometry) == (("feature",), (7,), None)


def test_weak_peaks_come_last_and_are_those_of_a_lower_bound() -> None:
    block = frames()
    operator = HitFeatures(FINDER, weak_snr=FINDER.min_snr / 2)
    lower = HitFeatures(replace(FINDER, min_snr=FINDER.min_snr / 2))
    features = operator.transform(block)
    assert operator.names == (*lower.names, *("weak_" + name for name in lower.names))
    assert torch.equal(features, torch.cat((HitFeatures(FINDER).transform(block), lower.transform(block)), 1))
    assert not torch.equal(features[:, :6], features[:, 6:])


def test_bad_input() -> None:
    with pytest.raises(ParameterError, match="PeakFinder8"):
        HitFeatures(Bin(2))  # type: ignore[arg-type]
    for weak_snr in (FINDER.min_snr, 0.0):
        with pytest.raises(ParameterError, match="weak_snr"):
            HitFeatures(FINDER, weak_snr=weak_snr)
    for network in (Bin(2), Bin(2) | NETWORK | Log1p()):
        with pytest.raises(ParameterError, match="end with Classify"):
            HitFeatures(FINDER, network)  # type: ignore[arg-type]
    with pytest.raises(AxisError, match="one channel"):
        HitFeatures(FINDER).bind(spec(2))
    with pytest.raises(AxisError, match="real values"):
        HitFeatures(FINDER).output(spec(dtype="complex64"))
    with pytest.raises(AxisError, match="bound"):
        HitFeatures(PeakFinder8(20)).transform(torch.from_numpy(DATA["frames"][0][:, None].astype(np.float32)))
