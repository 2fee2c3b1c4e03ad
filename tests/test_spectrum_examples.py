"""The examples of spectroscopy without labels, on real scans."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import find_peaks

import pycroclass as pc
from pycroclass.replay import Verdict

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = [pytest.mark.shared, pytest.mark.slow]


def main(name: str, *arguments: Path) -> Any:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](*arguments)


def same_again(path: Path) -> bool:
    return {report.verdict for report in pc.replay(path)} <= {Verdict.IDENTICAL, Verdict.WITHIN_TOLERANCE}


def joined(labels: np.ndarray) -> float:
    """How often neighbours have the same label."""
    return float((labels[:, 1:] == labels[:, :-1]).mean() / 2 + (labels[1:] == labels[:-1]).mean() / 2)


def test_eels_tells_a_layer_of_lanthanum_manganite(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The middle of the scan has La and Mn, and no Ti, which is above and below."""
    results = main("eels_components", shared / "native/scifidatasets/DMReader_SpectrumImage_SI-EELS.dm3", tmp_path)
    energy = results["components"]._axes[0].values
    for spectra, maps in (("components", "maps"), ("endmembers", "abundance")):
        amounts, columns = np.asarray(results[maps].compute()), np.asarray(results[spectra].compute()).T
        contrast = amounts[:, 20:28].mean((1, 2)) / amounts.mean((1, 2))
        edges = [energy[find_peaks(column, prominence=0.25 * np.ptp(column))[0]] for column in columns]
        layer = int(contrast.argmax())
        assert contrast[layer] > 1.5
        for edge, tolerance in ((832, 2), (849, 2), (640, 7)):  # the scale of the scan puts Mn L3 at 634 eV, Ti L3 at 457 eV
            assert np.abs(edges[layer] - edge).min() <= tolerance
        assert np.abs(edges[layer] - 460).min() > 10
        outside = [i for i in range(len(columns)) if any(np.abs(edges[i] - 462) <= 2)]
        assert len(outside) == 2
        assert all(contrast[i] < 1 for i in outside)
    assert "5 components stand out" in capsys.readouterr().out
    for name in ("components", "endmembers"):
        assert same_again(tmp_path / f"{name}.h5")
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    assert (tmp_path / "scree.png").exists()


def test_sts_tells_where_the_band_begins(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count, results = main("sts_classes", shared / "native/scifidatasets/NanonisReader_STS_grid_lockin.3ds", tmp_path)
    assert (count.recommended, count.doubt) == (3, "moderate")
    printed = capsys.readouterr().out
    assert "doubt: moderate" in printed
    assert float(printed.split("derivative of the current: ")[1].split()[0]) > 0.99
    labels = np.asarray(results["label"].compute())
    shuffled = np.random.default_rng(0).permutation(labels.ravel()).reshape(labels.shape)
    assert joined(labels) > joined(shuffled) + 0.25  # the fit does not know where a spectrum comes from
    mean = np.asarray(results["mean"].compute())
    bias = results["mean"]._axes[0].values
    ends = mean[[0, -1]].max(0)
    onset = [bias[(bias > 0) & (mean[:, i] > 0.1 * ends[i])][0] for i in range(3)]
    peaks = bias[find_peaks(mean[:, 2], prominence=0.05 * ends[2])[0]]
    assert onset[2] > max(onset[:2]) + 0.02
    assert np.abs(peaks - 0.135).min() < 0.01
    assert same_again(tmp_path / "classes.h5")
    assert {path.name for path in tmp_path.glob("*.png")} == {"classes.png", "count.png"}


def test_raman_tells_fat_in_a_tissue(shared: Path, tmp_path: Path) -> None:
    """Bands of fat: Czamara et al., J. Raman Spectrosc. 46, 4 (2015). Those of protein: phenylalanine, CH2, amide I."""
    bands, layers = main("raman_layers", shared / "raman_maps/bladder.csv.xz", tmp_path)
    protein, fat = bands[1], bands[2]
    for known, found in (((1003, 1450, 1660), protein), ((1080, 1267, 1303, 1442, 1656, 1747), fat)):
        assert all(np.abs(found - band).min() < 5 for band in known)
    assert np.abs(fat - 1003).min() > 50
    labels = np.asarray(layers.compute())
    assert labels.shape == (18, 20)
    shuffled = np.random.default_rng(0).permutation(labels.ravel()).reshape(labels.shape)
    assert joined(labels) > joined(shuffled) + 0.4
    assert (labels[5:12, 4:13] == 0).mean() > 0.75  # the tissue; what lies around has other labels
    assert not (labels[[0, -1]] == 0).any()
    for name in ("components", "layers"):
        assert same_again(tmp_path / f"{name}.h5")
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
