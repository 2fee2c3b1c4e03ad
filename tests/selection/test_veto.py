"""Vetoes decide as their policy says, keep what they promise, and are the same on every machine."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sidpy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from selection_data import chosen, record

import pycroclass as pc
from pycroclass.errors import DataError, ParameterError, ReadError, WriteError
from pycroclass.evaluation import Target
from pycroclass.selection import FrameSelection, Places, Scores, Veto, VetoPolicy, scores_of
from pycroclass.selection.sampling import sample_uniform


def some_places(n: int, file: str = "/data/run.cxi") -> Places:
    return Places([file] * n, ["/entry_1/data_1/data"] * n, np.arange(n), [""] * n)


def drawn(n_hits: int, n_misses: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of hits and misses, and the truth."""
    rng = np.random.default_rng(seed)
    logits = np.concatenate([rng.normal(2, 1, n_hits), rng.normal(-1, 1, n_misses)])
    return 1 / (1 + np.exp(-logits)), np.repeat([True, False], [n_hits, n_misses])


def test_frame_by_frame() -> None:
    """The same decisions as a loop over frames makes."""
    scores = np.array([0.0, 0.2, 0.3, 0.5, 0.9, np.nan, 1.0, 0.29])
    veto = VetoPolicy(keep_misses=0).at(0.3, 0.9)
    found = veto.select(scores, some_places(8))
    for score, decision, reason in zip(scores, found.decision, found.reason, strict=True):
        if math.isnan(score):
            wanted = ("uncertain", "no answer")
        elif score >= 0.9:
            wanted = ("hit", "hit")
        elif score >= 0.3:
            wanted = ("uncertain", "uncertain")
        else:
            wanted = ("miss", "")
        assert (decision, reason) == wanted
    np.testing.assert_array_equal(found.score, scores)
    assert found.about["veto"] == veto.to_dict()
    json.dumps(found.about, allow_nan=False)


def test_sample_follows_from_name_and_number_alone() -> None:
    """SplitMix64 keyed by BLAKE2b, computed here with Python's integers."""
    mask = (1 << 64) - 1

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    where = Places(["/a/run.cxi", "/b/run.cxi", "/a/other.cxi"], ["/data"] * 3, [5, 5, 70000], [""] * 3)
    for i, uniform in enumerate(sample_uniform(where, 3)):
        key = hashlib.blake2b(json.dumps([3, Path(where.file[i]).name, "/data"]).encode(), digest_size=8).digest()
        seed = int.from_bytes(key, "big")
        key = mix((seed * 0x9E3779B97F4A7C15 + 1) & mask)
        state = ((int(where.index[i]) + 1) * 0x9E3779B97F4A7C15 + key) & mask
        assert uniform == (mix(state) >> 11) * 2.0**-53
    assert sample_uniform(where, 3)[0] == sample_uniform(where, 3)[1]  # a folder that was moved


@settings(max_examples=30)
@given(n=st.integers(1, 300), seed=st.integers(0, 5), parts=st.integers(1, 5), shuffle=st.randoms(use_true_random=False))
def test_order_and_batches_change_nothing(n: int, seed: int, parts: int, shuffle) -> None:  # type: ignore[no-untyped-def]
    where = Places.joined([some_places(n), some_places(n, "/data/next.cxi")])
    scores = np.zeros(2 * n)
    veto = VetoPolicy(keep_misses=0.3, seed=seed).at(0.5)
    whole = veto.select(scores, where)
    order = np.array(shuffle.sample(range(2 * n), 2 * n))
    cut = [veto.select(scores[some], where.take(some)) for some in np.array_split(order, parts) if len(some)]
    np.testing.assert_array_equal(np.concatenate([one.reason for one in cut]), whole.reason[order])


def test_share_of_sampled_misses() -> None:
    n = 40000
    for share in (0.0, 0.02, 0.5, 1.0):
        kept = {seed: VetoPolicy(keep_misses=share, seed=seed).at(0.5).select(np.zeros(n), some_places(n)).is_kept for seed in (0, 1)}
        for is_kept in kept.values():
            assert abs(is_kept.mean() - share) <= 4 * math.sqrt(share * (1 - share) / n)
        if 0 < share < 1:
            both = (kept[0] & kept[1]).mean()
            assert abs(both - share**2) <= 4 * math.sqrt(share**2 / n)  # other seeds draw others


def test_loss_is_what_was_promised() -> None:
    """Over 300 draws: the bound holds in 95 % of them, the mean on average, and as many frames are kept as were expected."""
    policy = VetoPolicy(Target("sensitivity", 0.9), keep_misses=0.1)
    n_new, rate = 5000, 0.2
    lost, promised, is_bounded, n_kept, expected = [], [], [], [], []
    for seed in range(300):
        veto = policy.fit_scores(*drawn(200, 600, seed), kind="probability")
        told = veto.expected(n_new, hit_rate=rate)
        below = [stats.norm.cdf(math.log(veto.keep_from / (1 - veto.keep_from)), loc=mean) for mean in (2, -1)]  # of the population
        lost.append(below[0] * 0.9)
        promised.append(told.loss)
        is_bounded.append(lost[-1] <= told.loss_bound)
        n_kept.append(n_new * (1 - 0.9 * (rate * below[0] + (1 - rate) * below[1])))
        expected.append(told.n_kept)
        assert told.loss_bound <= 0.1
    assert np.mean(is_bounded) >= 0.93
    assert np.mean(lost) == pytest.approx(np.mean(promised), rel=0.05)
    assert np.mean(n_kept) == pytest.approx(np.mean(expected), rel=0.01)


@pytest.mark.parametrize("guarantee", ["bound", "conformal", "empirical"])
def test_threshold_and_what_it_does(guarantee: str) -> None:
    scores, is_hit = drawn(300, 900, 1)
    veto = VetoPolicy(Target("sensitivity", 0.95, guarantee)).fit_scores(scores, is_hit, kind="probability")
    known = veto.calibration
    assert known is not None
    assert known["hits_below"] == (scores[is_hit] < veto.keep_from).mean()
    assert known["misses_below"] == (scores[~is_hit] < veto.keep_from).mean()
    assert (scores[is_hit] < veto.keep_from).sum() == known["rank"] - 1
    assert veto.sure_from == veto.keep_from
    predictions = pc.Predictions(np.stack([1 - scores, scores], 1), is_hit, ("miss", "hit"))
    assert replace(VetoPolicy(Target("sensitivity", 0.95, guarantee)).fit(predictions)) == veto
    assert "from 300 hits among 1200 frames" in str(veto)


def test_sure_hits() -> None:
    scores, is_hit = drawn(2000, 6000, 2)
    precise = VetoPolicy(sure=Target("precision", 0.95)).fit_scores(scores, is_hit, kind="probability")
    assert precise.sure_from > precise.keep_from
    assert is_hit[scores >= precise.sure_from].mean() >= 0.95
    specific = VetoPolicy(sure=Target("specificity", 0.99)).fit_scores(scores, is_hit, kind="probability")
    called = (scores >= specific.sure_from)[~is_hit].mean()
    assert 0.005 < called <= 0.01
    assert "hits are sure by specificity at least 0.99 with confidence 0.95" in specific.origin
    easy = VetoPolicy(Target("sensitivity", 0.5), sure=Target("specificity", 0.01)).fit_scores(scores, is_hit, kind="probability")
    assert easy.sure_from == easy.keep_from


def test_specificity_is_kept_with_confidence() -> None:
    kept = []
    for seed in range(200):
        scores, is_hit = drawn(100, 400, seed)
        veto = VetoPolicy(Target("sensitivity", 0.5), sure=Target("specificity", 0.95)).fit_scores(scores, is_hit, kind="probability")
        kept.append(stats.norm.cdf(math.log(veto.sure_from / (1 - veto.sure_from)), loc=-1) >= 0.95)
    assert np.mean(kept) >= 0.95


def test_too_few_hits_keep_everything(caplog: pytest.LogCaptureFixture) -> None:
    veto = VetoPolicy(sure=Target("specificity", 0.999)).fit_scores([3, 5, 0, 1], [True, True, False, False])
    assert (veto.keep_from, veto.sure_from) == (-math.inf, math.inf)
    assert "2 hits are too few for sensitivity at least 0.98 with confidence 0.95: every frame is kept" in caplog.text
    assert "no hit is sure" in caplog.text
    assert set(veto.select(np.arange(3.0), some_places(3)).decision) == {"uncertain"}
    told = veto.expected(100)
    assert (told.n_kept, told.loss, told.loss_bound) == (100, 0, 0)
    assert Veto.from_dict(json.loads(json.dumps(veto.to_dict(), allow_nan=False))) == veto


def test_files(tmp_path: Path) -> None:
    fitted = VetoPolicy(sure=Target("precision", 0.9), seed=4).fit_scores(*drawn(300, 900, 3), kind="probability")
    for veto in (fitted, VetoPolicy().at(0.4), VetoPolicy().by_rule(pc.PeakCountRule(3, 9)), VetoPolicy(keep_misses=1).by_label("crystal")):
        path = veto.save(tmp_path / "veto.json", overwrite=True)
        assert Veto.load(path) == veto
    with pytest.raises(WriteError, match="exists already"):
        fitted.save(path)
    with pytest.raises(ReadError, match="No such file"):
        Veto.load(tmp_path / "none.json")
    for text, message in (("{}", "no veto"), ("no json", "Expecting value"), (json.dumps({**fitted.to_dict(), "policy": {}}), "damaged")):
        path.write_text(text)
        with pytest.raises(ReadError, match=message):
            Veto.load(path)


def test_counts_of_peaks(tmp_path: Path) -> None:
    frames = pc.read(record(tmp_path / "run.cxi", 5, 0))["image"]
    counts = [0, 2, 5, 10, 11]
    n_peaks = as_result(frames, np.array(counts, np.int32), "n_peaks")
    rule = pc.PeakCountRule(2, 10)
    by_rule = VetoPolicy(keep_misses=0).by_rule(rule).select({"n_peaks": n_peaks})
    assert by_rule.decision.tolist() == ["miss", "uncertain", "uncertain", "uncertain", "hit"]
    labels = rule(n_peaks)
    by_label = VetoPolicy(keep_misses=0).by_label().select(labels)
    assert by_label.decision.tolist() == by_rule.decision.tolist()
    assert by_label.score.tolist() == sorted(by_label.score.tolist())
    assert by_label.score[0] == -1
    assert by_label.index.tolist() == [0, 1, 2, 3, 4]
    both = VetoPolicy(keep_misses=0).by_label().select({**labels, "n_peaks": n_peaks})
    assert both.score.tolist() == counts
    assert VetoPolicy().at(5, kind="peaks").select(n_peaks).is_kept[2:].all()
    modules = Scores("peaks", np.asarray([[1, 2], [3, 4]]).sum(1))
    assert modules.values.tolist() == [3, 7]


def as_result(frames: sidpy.Dataset, values: np.ndarray, title: str, classes: tuple[str, ...] = ()) -> sidpy.Dataset:
    """Values as a result of frames."""
    import dask.array as da

    from pycroclass.provenance import Provenance
    from pycroclass.sid import provenance_of, wrap
    from pycroclass.spec import Axis, Spec

    axes = (Axis("frame", len(values), kind="temporal"), *(Axis("class", n, kind="spectral") for n in values.shape[1:]))
    tree = Provenance("run", {"pipeline": [], "device": "cpu"}, (provenance_of(frames),))
    return wrap(da.from_array(values, chunks=2), Spec(axes, values.dtype, title=title, classes=classes), provenance=tree)


def test_probabilities_and_labels_of_a_classifier(tmp_path: Path) -> None:
    frames = pc.read(record(tmp_path / "run.cxi", 4, 0))["image"]
    hit = np.array([0.1, 0.7, np.nan, 0.9], np.float32)
    probability = as_result(frames, np.stack([hit, 1 - hit], 1), "probability", ("crystal", "empty"))
    label = as_result(frames, np.array([1, 2, -1, 0], np.int32), "label", ("crystal", "empty", "uncertain"))
    found = VetoPolicy(keep_misses=0).at(0.5, positive="crystal").select({"probability": probability, "label": label})
    assert found.decision.tolist() == ["miss", "hit", "uncertain", "hit"]
    np.testing.assert_array_equal(found.score, hit)
    by_label = VetoPolicy(keep_misses=0).by_label("crystal").select({"probability": probability, "label": label})
    assert by_label.decision.tolist() == ["miss", "uncertain", "uncertain", "hit"]
    assert by_label.reason.tolist() == ["", "uncertain", "no answer", "hit"]
    stored = pc.read(pc.write({"probability": probability, "label": label}, tmp_path / "result.h5"))
    assert VetoPolicy(keep_misses=0).by_label("crystal").select(stored).reason.tolist() == by_label.reason.tolist()
    alone = VetoPolicy(keep_misses=0).by_label("crystal").select(label)
    assert alone.score[[0, 1, 3]].tolist() == [-1, 0, 1]
    assert math.isnan(alone.score[2])
    several = VetoPolicy(keep_misses=0).at(0.5, positive="crystal").select([{"probability": probability}], None)
    assert several.decision.tolist() == found.decision.tolist()


def test_several_recordings(tmp_path: Path) -> None:
    frames = [pc.read(record(tmp_path / f"run_{k}.cxi", 3, 10 * k))["image"] for k in range(2)]
    parts = [{"n_peaks": as_result(image, np.arange(3) * 10, "n_peaks")} for image in frames]
    found = VetoPolicy(keep_misses=0).at(10, kind="peaks").select(parts)
    assert [Path(file).name for file in found.kept().file] == ["run_0.cxi"] * 2 + ["run_1.cxi"] * 2


def test_what_does_not_fit(tmp_path: Path) -> None:
    for make, message in (
        (lambda: VetoPolicy(Target("workload", 0.1)), "the target of a veto is a sensitivity"),
        (lambda: VetoPolicy(sure=Target("sensitivity", 0.9)), "hits are sure by a precision or a specificity"),
        (lambda: VetoPolicy(keep_misses=2), "keep_misses must be a share"),
        (lambda: VetoPolicy(seed=-1), "seed must be a whole number"),
        (lambda: VetoPolicy().at(0.9, 0.3), "exchange the two"),
        (lambda: VetoPolicy().at(math.nan), "keep_from must be a number"),
        (lambda: VetoPolicy().at(0.5, kind="light"), "kind must be one of probability, peaks, label"),
        (lambda: VetoPolicy().fit_scores(*drawn(200, 200, 0)).expected(10, hit_rate=2), "a hit rate is a share"),
    ):
        with pytest.raises(ParameterError, match=message):
            make()
    frames = pc.read(record(tmp_path / "run.cxi", 3, 0))["image"]
    n_peaks = as_result(frames, np.arange(3), "n_peaks")
    veto = VetoPolicy().at(0.5)
    for refuse, message in (
        (lambda: VetoPolicy().at(0.5).expected(10), "nothing is known of what a veto loses that was chosen by hand"),
        (lambda: VetoPolicy().fit_scores([1, 2], [False, False]), "no frame is a hit"),
        (lambda: VetoPolicy().fit_scores([1, np.nan], [True, False]), "none of them NaN"),
        (lambda: veto.select(np.zeros(3), some_places(2)), "3 scores and 2 places"),
        (lambda: veto.select(np.zeros(3)), "scores alone do not say where their frames lie"),
        (lambda: veto.select({"n_peaks": n_peaks}), "wanted 'probability' among the results, got n_peaks"),
        (lambda: veto.select(Scores("peaks", np.zeros(2)), some_places(2)), "the veto is for a probability, and got peaks"),
        (lambda: VetoPolicy().by_label().select(np.zeros(2), some_places(2)), "the veto is for a label"),
        (lambda: veto.select(np.zeros((2, 2)), some_places(2)), "wanted one for each frame"),
        (lambda: scores_of(as_result(frames, np.zeros((3, 2)), "probability", ("a", "b")), "probability"), "no class 'hit'"),
        (lambda: scores_of(as_result(frames, np.zeros(3, int), "label", ("a", "b")), "label"), "no label 'hit'"),
    ):
        with pytest.raises(DataError, match=message):
            refuse()


def test_a_selection_refuses_what_makes_no_sense() -> None:
    with pytest.raises(DataError, match=r"frame 1 of '.*' in /data/run.cxi stands there twice"):
        chosen("/data/run.cxi", [0, 1, 1], ["hit"] * 3)
    with pytest.raises(DataError, match="wanted decisions among miss, uncertain, hit, got maybe"):
        chosen("/data/run.cxi", [0], ["maybe"])
    with pytest.raises(DataError, match=r"colour has the shape \(1, 3\)"):
        chosen("/data/run.cxi", [0], ["hit"], more={"colour": np.zeros((1, 3))})
    assert isinstance(chosen("/data/run.cxi", [], []).table().shape, tuple)
    assert len(FrameSelection([], [], [], [], [], [], []).kept()) == 0


def counts_and_experts(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Number of spots and the expert's word for each frame; frames without spots are not in the file of counts."""
    expert = [line.split()[2] for line in (folder / "expert_annotation.txt").read_text().splitlines()]
    counts = np.zeros(len(expert))
    for line in (folder / "dials_annotation.txt").read_text().splitlines():
        number, n, _ = line.split()
        counts[int(number) - 1] = int(n)
    return counts, np.array(expert)


@pytest.mark.shared
@pytest.mark.parametrize("experiment", ["LN83", "LN84", "LO19"])
def test_real_spots_of_half_a_run_and_the_expert_on_the_other(shared: Path, experiment: str) -> None:
    """Over 100 halves: the loss stays below what was promised in 95 %, and misses are really thrown away."""
    counts, expert = counts_and_experts(shared / "diffraction" / "labels" / experiment)
    counts, is_hit = counts[expert != "MAYBE"], (expert == "HIT")[expert != "MAYBE"]
    is_within, thrown, error = [], [], []
    for seed in range(100):
        half = np.random.default_rng(seed).permutation(len(counts)) % 2 == 0
        veto = VetoPolicy(Target("sensitivity", 0.95)).fit_scores(counts[half], is_hit[half])
        found = veto.select(counts[~half], some_places(int((~half).sum())))
        truth, is_lost = is_hit[~half], ~found.is_kept
        told = veto.expected(len(found), hit_rate=float(truth.mean()))
        is_within.append(is_lost[truth].mean() <= 0.05)
        thrown.append(is_lost[~truth].mean())
        error.append(len(found.kept()) / told.n_kept - 1)
    assert np.mean(is_within) >= 0.9  # the other half is a sample too, of some hundred hits
    assert np.mean(thrown) > 0.9
    assert abs(np.mean(error)) < 0.02
