"""Which frames show a crystal, in runs and experiments that nothing was learned from? Networks and calibration, on simulated runs.

For each setting of defects and each seed, networks learn from three runs of experiment A, and judge other frames of these runs, other
runs of A, and runs of experiments B and C: another detector, carrier and crystal. A hit is a frame with a crystal in the beam of which at
least ten reflections stand out by five standard deviations, as the simulator knows. Frames with a crystal of which fewer do are uncertain:
nothing is learned from them, and they count in no number but "uncertain_called". The truth serves to train and to measure, never to
calibrate.

    python examples/cross_run_hits.py --settings S1 S2 S3 --seeds 0 1 2 3 4 --output study

writes a row for each frame (``frames_*.csv``; what is there is not done again) and for each run and method (``runs.csv``), the table
(``table.md``), and a report on the hybrid with a threshold that was found on held-back runs (``report.html``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import sidpy
from sklearn.metrics import roc_auc_score

import pycroclass as pc
from pycroclass.errors import OutOfDomainError
from pycroclass.evaluation import Evaluation, Predictions, Target, evaluation_of, operating_point
from pycroclass.hits import calibration_of, run_mask, train_hits
from pycroclass.simulate import EXPERIMENTS, SETTINGS, draw_run, simulate_run, simulate_truth

HIT_RATE = 0.3
FEWEST_PEAKS = 10
"""Of a frame that counts as a hit."""
N_TRAINING, N_HELD_OUT, N_TEST = 80, 30, 200
"""Frames of each run."""
RUNS = {"A": 6, "B": 2, "C": 2}
N_SEEN, N_FOR_THRESHOLD = 3, 1
"""Runs of A to learn from, and those behind them that tell the threshold."""
INPUTS = {"linear": None, "log": pc.Log1p(), "Anscombe": pc.Anscombe()}
PLAIN = pc.NetworkClassifier("hit_network", classes=("miss", "hit"), epochs=6, batch_size=16, learning_rate=2e-3)
HYBRID = "hybrid, calibrated"
MISS, HIT, UNCERTAIN = 0, 1, 2
TARGET = Target("sensitivity", 0.95, "conformal")


@dataclass(frozen=True)
class Frames:
    """Some frames of a run, in memory, so that they are simulated once."""

    run: str
    where: str
    image: sidpy.Dataset
    mask: np.ndarray
    truth: np.ndarray

    def some(self, which: slice) -> Frames:
        numbers = np.arange(len(self.truth))[which]
        return Frames(self.run, self.where, pc.take(self.image, numbers), self.mask, self.truth[which])

    @property
    def labels(self) -> np.ndarray:
        """To learn from: -1 for what is uncertain."""
        return np.where(self.truth == UNCERTAIN, -1, self.truth)


def simulated(setting: str, seed: int) -> Iterator[Frames]:
    """Runs of A, B and C; those to learn from come first."""
    for letter, n_runs in RUNS.items():
        for number in range(n_runs):
            is_seen = letter == "A" and number < N_SEEN
            run = draw_run(seed=1000 * seed + number, hit_rate=HIT_RATE, experiment=EXPERIMENTS[letter], setting=SETTINGS[setting])
            n_frames = N_TRAINING + N_HELD_OUT if is_seen else N_TEST
            made, known = simulate_run(run, n_frames), simulate_truth(run, n_frames)
            is_clear = np.asarray(known["n_peaks"]) >= FEWEST_PEAKS
            truth = np.where(np.asarray(known["label"]) == MISS, MISS, np.where(is_clear, HIT, UNCERTAIN))
            where = {"A": "A, runs seen" if is_seen else "A, other runs"}.get(letter, letter)
            yield Frames(f"{setting} {seed} {letter}{number}", where, made["image"].persist(), np.asarray(made["mask"]), truth)


def study(setting: str, seed: int, inputs: list[str]) -> pd.DataFrame:
    """A row for each frame that each method judged."""
    runs = list(simulated(setting, seed))
    seen, others = runs[:N_SEEN], runs[N_SEEN:]
    training = [run.some(slice(N_TRAINING)) for run in seen]
    labels = [run.labels for run in training]
    plain = {
        f"plain network, {name}": pc.train(
            list(map(named_pixels_out, training)), PLAIN, preprocessing=INPUTS[name], labels=np.concatenate(labels)
        )
        for name in inputs
    }
    hybrid = train_hits([run.image for run in training], labels=labels, masks=[run.mask for run in training])
    rows = []
    for run in [*(run.some(slice(N_TRAINING, None)) for run in seen), *others]:
        answers = {name: plainly(run, bundle) for name, bundle in plain.items()} | by_features(run, hybrid)
        for method, (score, is_called, refused) in answers.items():
            about = {"setting": setting, "seed": seed, "run": run.run, "where": run.where, "method": method, "refused": refused}
            rows.append(pd.DataFrame({**about, "truth": run.truth, "score": score, "is_called": is_called}))
    return pd.concat(rows, ignore_index=True)


def named_pixels_out(run: Frames) -> sidpy.Dataset:
    """What the plain network gets: the frames as they are, with 0 where the file's mask names bad pixels."""
    return pc.MaskPixels(run.mask, fill=0)(run.image)


def plainly(run: Frames, bundle: pc.Bundle) -> tuple[np.ndarray, np.ndarray, str]:
    score = np.asarray(pc.classify(named_pixels_out(run), bundle)["probability"])[:, 1]
    return score, score > 0.5, ""


def by_features(run: Frames, bundle: pc.Bundle) -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    """Three methods that share the mask of the run's defects and its features; the last is what `calibrate_hits` does."""
    features = bundle.pipeline[0]
    table = features(run_mask(run.image, run.mask)(run.image)).persist()
    columns = dict(zip(features.names, np.asarray(table).T))
    counts = sidpy.Dataset.from_array(np.expm1(columns["n_peaks"]).round())
    by_count = np.asarray(pc.fit(pc.PeakCount(), counts)(counts)["label"]) == HIT
    try:
        score = np.asarray(pc.fit(calibration_of(bundle), table)(table)["score"])
        refused = ""
    except OutOfDomainError as error:
        score, refused = np.full(len(run.truth), np.nan), str(error)
    return {
        "peak count, calibrated": (columns["n_peaks"], by_count, ""),
        "SNR network": (columns["network"], columns["network"] > 0, ""),
        HYBRID: (score, score > 0, refused),
    }


def by_run(frames: pd.DataFrame) -> pd.DataFrame:
    """A row for each run and method."""
    rows = []
    for (setting, where, run, method), some in frames.groupby(["setting", "where", "run", "method"], sort=False):
        row = {"setting": setting, "where": where, "run": run, "method": method, "refused": some["refused"].iloc[0]}
        row |= {name: int((some["truth"] == number).sum()) for name, number in (("misses", MISS), ("hits", HIT), ("uncertain", UNCERTAIN))}
        if not row["refused"]:
            called = {number: some["is_called"][some["truth"] == number].mean() for number in (MISS, HIT, UNCERTAIN)}
            row |= {"sensitivity": called[HIT], "specificity": 1 - called[MISS], "balanced_accuracy": (called[HIT] + 1 - called[MISS]) / 2}
            row |= {"auc": auc(some[some["truth"] != UNCERTAIN]), "uncertain_called": called[UNCERTAIN]}
        rows.append(row)
    return pd.DataFrame(rows)


def auc(some: pd.DataFrame) -> float:
    return roc_auc_score(some["truth"], some["score"]) if some["truth"].nunique() == 2 else np.nan


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over runs, and the worst one, for each setting, place and method."""
    places = [runs.assign(setting="all", where="all other runs")[runs["where"] != "A, runs seen"], runs]
    rows = []
    for (setting, where, method), some in pd.concat(places).groupby(["setting", "where", "method"], sort=False):
        row = {"setting": setting, "where": where, "method": method, "runs": len(some), "refused": int((some["refused"] != "").sum())}
        means = ("sensitivity", "specificity", "balanced_accuracy", "auc", "uncertain_called")
        rows.append({**row, **some[list(means)].mean(), "worst": some["balanced_accuracy"].min()})
    return pd.DataFrame(rows)


def evaluated(frames: pd.DataFrame) -> Evaluation:
    """The hybrid on the runs that neither it nor its threshold knows, at the threshold that the held-back runs tell."""
    sure = frames[(frames["method"] == HYBRID) & (frames["refused"] == "") & (frames["truth"] != UNCERTAIN)]
    for_threshold = sure["run"].str.split().str[-1].isin([f"A{N_SEEN + i}" for i in range(N_FOR_THRESHOLD)])
    point = operating_point(predictions(sure[for_threshold]), "hit", TARGET)
    return evaluation_of(predictions(sure[~for_threshold & (sure["where"] != "A, runs seen")])).at([point])


def predictions(some: pd.DataFrame) -> Predictions:
    hit = 1 / (1 + np.exp(-some["score"].to_numpy(np.float64)))
    return Predictions(np.stack([1 - hit, hit], 1), some["truth"].to_numpy(), ("miss", "hit"), groups=some["run"].to_numpy(str))


def main(settings: list[str], seeds: list[int], inputs: list[str], output: Path) -> pd.DataFrame:
    output.mkdir(parents=True, exist_ok=True)
    done = []
    for seed in seeds:
        for setting in settings:
            path = output / f"frames_{setting}_{seed}.csv"
            if not path.exists():
                start = time.perf_counter()
                study(setting, seed, inputs).to_csv(path, index=False)
                print(f"{setting}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
            done.append(pd.read_csv(path, keep_default_na=False, na_values={"score": ""}))
    frames = pd.concat(done, ignore_index=True)
    runs = by_run(frames)
    runs.to_csv(output / "runs.csv", index=False)
    found = table(runs)
    (output / "table.md").write_text(as_markdown(found))
    print(as_markdown(found))
    for reason in runs["refused"][runs["refused"] != ""]:
        print("refused:", reason)
    evaluation = evaluated(frames)
    print(evaluation.points_table().T.to_string())
    pc.report(evaluation, output / "report.html", title="Hits of other runs and experiments", overwrite=True)
    return found


def as_markdown(rows: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(rows.columns) + " |", "|" + " --- |" * len(rows.columns)]
    for row in rows.itertuples(index=False):
        lines.append("| " + " | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=["S3"])
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments.add_argument("--inputs", nargs="*", choices=list(INPUTS), default=["linear"])
    arguments.add_argument("--output", type=Path, default=Path("cross_run_hits"))
    given = arguments.parse_args()
    main(given.settings, given.seeds, given.inputs, given.output)
