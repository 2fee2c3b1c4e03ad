"""From a bundle to a batch: sort the drops of many plates by one command that may be cut off, and find the crystals."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import pycroclass as pc
from pycroclass.recipes.batch import Finished, Settings, jobs, run_batch
from pycroclass.simulate import Site, draw_site, simulate_drops

N_KNOWN, N_NEW = 5, 3
CLASSIFIER = pc.NetworkClassifier(epochs=10, batch_size=32, augmentation="dihedral", seed=0)


def main(folder: Path) -> None:
    site = draw_site(seed=1)
    train_bundle(site, folder / "drops.safetensors")
    files = save_plates(site, folder)

    # the same as: pycroclass run sort.yaml plate_*.h5 -o sorted
    (folder / "sort.yaml").write_text("bundle: drops.safetensors\n")
    recipe = pc.Recipe.load(folder / "sort.yaml")
    todo = jobs([str(file) for file in files], folder / "sorted")
    summary = run_batch(recipe, todo, Settings(), report=tell)
    assert summary.exit_code == 0, summary.failed
    for job in todo:
        print(f"{job.output.stem}: look at {', '.join(crystals(Path(job.file), job.output))}")


def train_bundle(site: Site, path: Path) -> None:
    """On plates that somebody has scored."""
    known = simulate_drops(site, n_plates=N_KNOWN)["image"]
    bundle = pc.train(known, CLASSIFIER, preprocessing=pc.Bin(2, "mean"), groups="plate")
    bundle.save(path)


def save_plates(site: Site, folder: Path) -> list[Path]:
    """New plates as the imager leaves them; their labels are not known."""
    drops = simulate_drops(site, n_plates=N_KNOWN + N_NEW)["image"]
    files = []
    for number in range(N_KNOWN, N_KNOWN + N_NEW):
        plate = pc.take(drops, pc.column(drops, "plate") == f"site {site.seed}, plate {number + 1}")
        del plate.metadata["labels"]
        files.append(pc.write({"image": plate}, folder / f"plate_{number + 1}.h5"))
    return files


def tell(event: object) -> None:
    if isinstance(event, Finished):
        print(f"{Path(event.started.job.file).name}: {event.started.n_items} drops in {event.seconds:.1f} s, {event.counts}")


def crystals(plate: Path, output: Path) -> list[str]:
    """Wells whose drop probably holds crystals, the surest first."""
    results = {name.rsplit("/", 1)[-1]: result for name, result in pc.read(output).items()}
    probability = np.asarray(results["probability"])[:, list(results["label"].metadata["classes"]).index("Crystals")]
    (image,) = pc.read(plate).values()
    wells = pc.column(image, "well")
    return [str(wells[i]) for i in np.argsort(-probability) if probability[i] > 0.5][:8]


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
