"""``pycroclass select`` and ``compare``, from recordings to lists."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest

import pycroclass as pc
from pycroclass.cli import main
from pycroclass.evaluation import Evaluation, Target, evaluation_of
from pycroclass.provenance import Provenance
from pycroclass.readers.results import read_results
from pycroclass.selection import Veto, VetoPolicy, read_lst, read_selection, read_stream, read_table
from pycroclass.sid import provenance_of, wrap
from pycroclass.spec import Axis, AxisKind, Spec
from pycroclass.writers import write_cxi

N, SHAPE = 60, (64, 64)


def recording(path: Path, seed: int) -> Path:
    """Frames with some pairs of bright pixels, more of them in hits."""
    rng = np.random.default_rng(seed)
    is_hit = rng.random(N) < 0.4
    frames = rng.normal(10, 1, (N, *SHAPE)).astype("f4")
    for frame, n_peaks in zip(frames, rng.poisson(np.where(is_hit, 14, 3)), strict=True):
        for place in rng.permutation(64)[:n_peaks]:
            y, x = 4 + 8 * (place // 8), 4 + 8 * (place % 8)
            frame[y, x : x + 2] += 200
    frame_axis = Axis("frame", N, AxisKind.TEMPORAL)
    image = (*(Axis(name, size, AxisKind.SPATIAL, units="pixel") for name, size in zip("yx", SHAPE, strict=True)),)
    geometry = pc.Geometry((31.5, 31.5), (1e-4, 1e-4), 0.1, 1.3e-10)
    meanings = {
        "image": (frames, Spec((frame_axis, *image), frames.dtype, geometry=geometry)),
        "label": (is_hit.astype("i4"), Spec((frame_axis,), np.dtype("i4"), classes=("miss", "hit"))),
    }
    made = Provenance("given", {})
    return write_cxi({name: wrap(da.from_array(values), spec, provenance=made) for name, (values, spec) in meanings.items()}, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with labels, and what a peak finder and a rule say of them."""
    folder = tmp_path_factory.mktemp("selecting")
    for name, seed in (("run_1", 1), ("run_2", 2)):
        image = pc.read(recording(folder / f"{name}.cxi", seed))["image"]
        pc.write({"n_peaks": pc.PeakFinder8(60, min_snr=6)(image)["n_peaks"]}, folder / f"{name}_peaks.h5")
        stored = next(iter(pc.read(folder / f"{name}_peaks.h5").values()))
        pc.write(pc.PeakCountRule(2, 10)(stored), folder / f"{name}_rule.h5")
    return folder


@pytest.fixture
def call(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Call pycroclass in the folder of the runs; gives exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(folder)

    def invoke(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pycroclass", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return invoke


def counts(folder: Path, name: str) -> np.ndarray:
    return np.asarray(next(iter(pc.read(folder / f"{name}_peaks.h5").values())))


def truth(folder: Path, name: str) -> np.ndarray:
    return np.asarray(pc.read(folder / f"{name}.cxi")["label"]) == 1


def test_thresholds_from_labelled_runs(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    outputs = [item for ending in ("lst", "csv", "parquet", "hf5", "h5") for item in ("-o", tmp_path / f"kept.{ending}")]
    options = ("--labelled", "run_1.cxi", "--sensitivity", 0.8, "--confidence", 0.8, "--save-veto", tmp_path / "veto.json")
    code, out, err = call("select", "run_1_peaks.h5", "run_2_peaks.h5", *options, *outputs)
    assert (code, err) == (0, "")
    wanted = VetoPolicy(Target("sensitivity", 0.8, confidence=0.8)).fit_scores(counts(folder, "run_1"), truth(folder, "run_1"))
    assert Veto.load(tmp_path / "veto.json") == wanted
    assert str(wanted) in out
    assert f"to expect: {wanted.expected(2 * N)}" in out
    assert out.count("wrote ") == 6
    table = read_table(tmp_path / "kept.csv")
    both = np.concatenate([counts(folder, "run_1"), counts(folder, "run_2")])
    np.testing.assert_array_equal(table.score, both)
    np.testing.assert_array_equal(table.decision == "hit", both >= wanted.keep_from)
    assert table.about["veto"] == wanted.to_dict()
    assert [Path(one["path"]).name for one in table.about["scores"]["files"]] == ["run_1_peaks.h5", "run_2_peaks.h5"]
    assert [list(step) for step in table.about["scores"]["steps"][0]] == [["PeakFinder8"]]
    kept = table.kept()
    listed = read_lst(tmp_path / "kept.lst")
    assert list(zip(listed.file, listed.index, strict=True)) == list(zip(kept.file, kept.index, strict=True))
    frames = pc.read(tmp_path / "kept.h5")["image"]
    assert frames.shape == (len(kept), *SHAPE)
    with h5py.File(folder / "run_1.cxi", "r") as file:
        np.testing.assert_array_equal(frames[0].compute(), file["entry_1/data_1/data"][kept.index[0]])
    for ending in ("parquet", "hf5"):
        assert read_selection(tmp_path / f"kept.{ending}").decision.tolist() == table.decision.tolist()

    code, out, _ = call("select", "run_2_peaks.h5", "--veto", tmp_path / "veto.json", "-o", tmp_path / "second.csv")
    assert code == 0
    second = read_table(tmp_path / "second.csv")
    assert second.decision.tolist() == table.decision[N:].tolist()
    assert second.reason.tolist() == table.reason[N:].tolist()


def test_labels_decide_where_nothing_is_said(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pattern = tmp_path / "{decision}.lst"
    code, out, _ = call("select", "run_1_rule.h5", "-o", pattern, "-o", tmp_path / "all.csv", "--keep-misses", 0)
    assert code == 0
    assert "frames called 'hit' or uncertain are kept" in out
    n = counts(folder, "run_1")
    wanted = {"miss": np.flatnonzero(n < 2), "uncertain": np.flatnonzero((n >= 2) & (n <= 10)), "hit": np.flatnonzero(n > 10)}
    for decision, index in wanted.items():
        assert read_lst(tmp_path / f"{decision}.lst").index.tolist() == index.tolist()
    assert read_table(tmp_path / "all.csv").kept().index.tolist() == np.flatnonzero(n >= 2).tolist()


def test_thresholds_by_hand_and_from_an_evaluation(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, _ = call("select", "run_1_peaks.h5", "--threshold", 3, "--sure", 12, "-o", tmp_path / "a.csv", "--seed", 5)
    assert code == 0
    found = read_table(tmp_path / "a.csv")
    n = counts(folder, "run_1")
    assert found.decision.tolist() == np.select([n >= 12, n >= 3], ["hit", "uncertain"], "miss").tolist()
    assert found.about["veto"]["policy"]["seed"] == 5

    p = np.clip(n / 40, 0.01, 0.99)
    predictions = pc.Predictions(np.stack([1 - p, p], 1), truth(folder, "run_1"), ("miss", "hit"))
    evaluation: Evaluation = evaluation_of(predictions, n_bootstrap=0)
    evaluation.save(tmp_path / "e.json")
    probability = write_probability(folder, tmp_path, p)
    options = ("--labelled", tmp_path / "e.json", "--sensitivity", 0.7, "--guarantee", "empirical", "--specificity", 0.5)
    code, _, _ = call("select", probability, *options, "-o", tmp_path / "b.csv")
    assert code == 0
    policy = VetoPolicy(Target("sensitivity", 0.7, "empirical"), Target("specificity", 0.5, "empirical"))
    assert read_table(tmp_path / "b.csv").about["veto"] == policy.fit(predictions).to_dict()


def write_probability(folder: Path, target: Path, p: np.ndarray) -> Path:
    """A result with probabilities of the frames of run 1, as a classifier writes it."""
    image = pc.read(folder / "run_1.cxi")["image"]
    axes = (Axis("frame", len(p), kind="temporal"), Axis("class", 2, kind="spectral"))
    spec = Spec(axes, np.dtype("f8"), quantity="probability", title="probability", classes=("miss", "hit"))
    parameters = {"pipeline": [], "execution": {}, "chunks": [], "device": "cpu", "output": ""}
    tree = Provenance("run", parameters, (provenance_of(image),))
    dataset = wrap(da.from_array(np.stack([1 - p, p], 1), chunks=-1), spec, provenance=tree)
    return pc.write({"probability": dataset}, target / "probability.h5")


def test_what_pycroclass_run_wrote(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A recipe that learns its bound from the run, over both runs, into a folder."""
    (tmp_path / "count.yaml").write_text("dataset: image\npipeline:\n  - PeakFinder8: {threshold: 60, min_snr: 6}\n  - PeakCount\n")
    assert call("run", tmp_path / "count.yaml", "run_1.cxi", "run_2.cxi", "-o", tmp_path / "sorted")[0] == 0
    results = [tmp_path / "sorted" / f"run_{k}.h5" for k in (1, 2)]
    code, out, err = call("select", *results, "-o", tmp_path / "kept.csv", "-o", tmp_path / "kept.h5", "--keep-misses", 0.1)
    assert (code, err) == (0, "")
    found = read_table(tmp_path / "kept.csv")
    for k, name in enumerate(("run_1", "run_2")):
        label = next(dataset for key, dataset in pc.read(results[k]).items() if key.endswith("/label"))
        part = found.take(slice(k * N, (k + 1) * N))
        assert (part.decision == "hit").tolist() == (np.asarray(label) == 1).tolist()
        assert {Path(file).name for file in part.file} == {f"{name}.cxi"}
    assert (found.reason == "sampled miss").any()
    assert "sampled" in out
    kept = pc.read(tmp_path / "kept.h5")["image"]
    assert kept.shape[0] == found.is_kept.sum()
    assert kept.metadata["geometry"]["beam_centre"] == pytest.approx([31.5, 31.5])


def test_files_of_other_programs_hold_the_peaks_of_the_results(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("run_1", "run_2"):
        image = pc.read(folder / f"{name}.cxi")["image"]
        pc.write(pc.PeakFinder8(60, min_snr=6, max_peaks=40)(image), tmp_path / f"{name}.h5")
    outputs = [item for ending in ("csv", "cxi", "stream") for item in ("-o", tmp_path / f"kept.{ending}")]
    code, _, err = call("select", tmp_path / "run_1.h5", tmp_path / "run_2.h5", "--threshold", 12, "--keep-misses", 0.1, *outputs)
    assert (code, err) == (0, "")
    chosen = read_table(tmp_path / "kept.csv")
    wanted = np.concatenate([np.asarray(read_results(tmp_path / f"run_{k}.h5")["peaks"]) for k in (1, 2)])

    kept = pc.read(tmp_path / "kept.cxi")
    assert read_selection(tmp_path / "kept.cxi").index.tolist() == chosen.kept().index.tolist()
    np.testing.assert_allclose(np.asarray(kept["peaks"])[:, :, :2], wanted[chosen.is_kept][:, : kept["peaks"].shape[1], :2], atol=1e-3)
    stream = read_stream(tmp_path / "kept.stream")
    assert stream.frames.decision.tolist() == ["hit" if name == "hit" else "miss" for name in chosen.decision]
    assert stream.frames.more["n_peaks"].tolist() == (~np.isnan(wanted[:, :, 0])).sum(1).tolist()
    assert stream.geometry is not None


def test_photons_of_kept_frames(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Frames of the runs are no photons: that is said, and nothing is left."""
    code, _, err = call("select", "run_1_peaks.h5", "--threshold", 12, "-o", tmp_path / "kept.emc")
    assert code == 2
    assert "photons" in err
    assert not (tmp_path / "kept.emc").exists()
    assert call("select", "run_1_peaks.h5", "--threshold", 12, "--gain", 50, "-o", tmp_path / "kept.emc")[0] == 0
    (kept,) = pc.read(tmp_path / "kept.emc").values()
    assert kept.shape[1] == SHAPE[0] * SHAPE[1]
    assert np.asarray(kept).max() in (4, 5)


def test_compare(call, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for threshold in (3, 12):
        name = tmp_path / f"from_{threshold}"
        call("select", "run_1_peaks.h5", "--threshold", threshold, "--keep-misses", 0, "-o", f"{name}.lst", "-o", f"{name}.csv")
    files = (tmp_path / "from_3.csv", tmp_path / "from_12.lst")
    code, out, err = call("compare", *files, "--picture", tmp_path / "p.png", "--table", tmp_path / "t.csv")
    assert (code, err) == (0, "")
    n = counts(folder, "run_1")
    few, many = (n >= 3).sum(), (n >= 12).sum()
    assert f"{many / few:.3f}" in out
    assert "from_3 + from_12" in out
    table = pd.read_csv(tmp_path / "t.csv")
    assert (table["from_3"].sum(), table["from_12"].sum(), len(table)) == (few, many, N)
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    code, _, err = call("compare", *files, "--picture", tmp_path / "p.png")
    assert code == 2
    assert "p.png exists already. Choose another name, or replace it: --overwrite" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("select", "run_1_peaks.h5", "-o", "x.lst"), "wanted 'label' among the results, got n_peaks"),
        (("select", "run_1_peaks.h5", "-o", "x.txt"), "a selection is written as .lst, .csv"),
        (("select", "run_1_peaks.h5", "-o", "x_{decision}.csv"), "{decision} is for lists"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "-o", "x.lst"), "named twice"),
        (("select", "run_1_peaks.h5", "-o", "run_1.h5", "--sensitivity", "0.9"), "--sensitivity needs --labelled"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "--threshold", "3", "--labelled", "run_1.cxi"), "exclude each other"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "--sure", "3"), "--sure belongs to --threshold"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "--labelled", "run_2.cxi"), "none of the 60 frames is among the 60"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "--labelled", "a.json", "--labelled", "b.json"), "give it alone"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "--veto", "run_1.cxi"), "run_1.cxi:"),
        (("select", "run_1_rule.h5", "-o", "x.lst", "--threshold", "3"), "a threshold needs probabilities or numbers of peaks"),
        (("select", "run_1.cxi", "-o", "x.lst", "--threshold", "3"), "a threshold needs probabilities or numbers of peaks"),
        (("select", "run_1_peaks.h5", "-o", "run_1_rule.h5", "--threshold", "3"), "exists already"),
        (("select", "run_1_peaks.h5", "-o", "x.lst", "--threshold", "3", "--save-veto", "run_1.cxi"), "exists already"),
        (
            ("select", "run_1_peaks.h5", "-o", "x.lst", "--labelled", "run_1.cxi", "--precision", "0.9", "--specificity", "0.9"),
            "--precision and --specificity exclude",
        ),
        (("compare", "run_1_peaks.h5", "run_1_rule.h5"), "keeps no selection"),
        (("compare", "run_1.txt", "run_2.txt"), "a selection is written as"),
    ],
)
def test_says_what_is_wrong(call, folder: Path, arguments: tuple[str, ...], message: str) -> None:  # type: ignore[no-untyped-def]
    before = sorted(path.name for path in folder.iterdir())
    code, _, err = call(*arguments)
    assert code == 2
    assert message in " ".join(err.split())
    assert sorted(path.name for path in folder.iterdir()) == before


def test_veto_file_is_plain_json(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    call("select", "run_1_peaks.h5", "--threshold", 3, "-o", tmp_path / "a.lst", "--save-veto", tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text())["keep_from"] == 3
    assert json.loads((tmp_path / "a.lst.json").read_text())["about"]["veto"]["origin"] == "chosen by hand"
