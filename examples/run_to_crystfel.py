"""From a run to CrystFEL: learn on two runs, find the threshold on two others, and hand the frames of a fifth on, with the reasons.

The runs are simulated, so that the truth is known. A frame with a crystal of which fewer than ten reflections stand out is neither
learned from nor judged.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import pycroclass as pc
from pycroclass.evaluation import Predictions, Target, evaluation_of
from pycroclass.selection import VetoPolicy, compare, read_lst, write_lst, write_selected_cxi, write_stream, write_table, write_virtual
from pycroclass.simulate import draw_run, simulate_run, simulate_truth
from pycroclass.writers import write_cxi

N_FRAMES = 80
FEWEST_PEAKS = 10
LEARNED, KNOWN, NEW = ("run_1", "run_2"), ("run_3", "run_4"), "run_5"


def main(folder: Path) -> None:
    truth = {name: record(folder / f"{name}.cxi", seed) for seed, name in enumerate((*LEARNED, *KNOWN, NEW), start=1)}
    runs = {name: pc.read(folder / f"{name}.cxi") for name in truth}
    bundle = pc.train_hits(
        [runs[name]["image"] for name in LEARNED],
        labels=[truth[name] for name in LEARNED],
        masks=[runs[name]["mask"] for name in LEARNED],
    )
    calibrated = {name: pc.calibrate_hits(bundle, runs[name]["image"], mask=runs[name]["mask"]) for name in (*KNOWN, NEW)}

    seen = [pc.evaluate(calibrated[name], runs[name]["image"], labels=truth[name]).predictions for name in KNOWN]
    evaluation = evaluation_of(together(seen, KNOWN))
    pc.report(evaluation, folder / "report.html", title="Hits of two runs that nothing was learned from")

    policy = VetoPolicy(Target("sensitivity", 0.9, confidence=0.9), keep_misses=0.05)
    veto = policy.fit(evaluation.predictions)
    print(veto)
    print("to expect:", veto.expected(N_FRAMES))

    image = runs[NEW]["image"]
    peaks = pc.PeakFinder8(60, min_snr=6, max_pixels=30, mask=runs[NEW]["mask"])(image)
    pc.write({**pc.classify(image, calibrated[NEW]), **peaks}, folder / "result.h5")
    selection = veto.select(pc.read_results(folder / "result.h5"))
    geometry = pc.PanelGeometry.of_flat(pc.Geometry(**image.metadata["geometry"]), image.shape[1:])
    write_lst(selection, folder / "hits.lst")
    write_stream(selection, folder / "hits.stream", peaks=peaks["peaks"], geometry=geometry)
    write_selected_cxi(selection, folder / "hits.cxi", peaks=peaks)
    write_virtual(selection, folder / "hits.h5")
    write_table(selection, folder / "frames.csv")

    is_kept, is_hit = selection.is_kept, truth[NEW] == 1
    print(f"kept {is_kept.sum()} of {N_FRAMES} frames, and {(is_kept & is_hit).sum()} of {is_hit.sum()} hits")
    by_count = policy.at(10, kind="peaks").select({"n_peaks": pc.read_results(folder / "result.h5")["n_peaks"]})
    print(compare(read_lst(folder / "hits.lst"), by_count, names=("veto", "ten peaks")).jaccard())


def record(path: Path, seed: int) -> np.ndarray:
    """Simulate a run; 0 for its misses, 1 for its hits, -1 for those with few peaks."""
    run = draw_run(seed=seed, hit_rate=0.4)
    write_cxi(simulate_run(run, N_FRAMES), path)
    known = simulate_truth(run, N_FRAMES)
    has_peaks = np.asarray(known["n_peaks"]) >= FEWEST_PEAKS
    return np.where(np.asarray(known["label"]) == 0, 0, np.where(has_peaks, 1, -1))


def together(parts: list[Predictions], names: tuple[str, ...]) -> Predictions:
    """Those of several runs, a group for each."""
    return Predictions(
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].classes,
        groups=np.repeat(names, [part.n_items for part in parts]),
    )


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
