"""From TFRecord shards to a bundle: images and labels as MARCO has them, without TensorFlow.

The shards are made of simulated drops, so that the script needs no data::

    shards/train-00000-of-00002 …
    shards/test-00000-of-00001
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pycroclass as pc
from pycroclass.simulate import draw_site, simulate_drops
from pycroclass.writers import write_tfrecord

CLASSIFIER = pc.NetworkClassifier(epochs=10, batch_size=32, augmentation="dihedral", seed=0)


def main(folder: Path) -> float:
    save_shards(folder / "shards")

    drops = pc.read(folder / "shards")["image"]
    print(pc.count_classes(drops, by="split"))
    parts = pc.split_as_given(drops)
    bundle = pc.train(parts.training, CLASSIFIER, preprocessing=pc.Bin(2, "mean"), groups="plate")
    path = bundle.save(folder / "drops.safetensors")

    evaluation = pc.evaluate(pc.Bundle.load(path), parts.testing, groups="plate")
    interval = evaluation.intervals["balanced_accuracy"]
    print(f"{path.name}: balanced accuracy {evaluation.pooled.balanced_accuracy:.3f}, 95 % of {interval.low:.3f} to {interval.high:.3f}")
    return evaluation.pooled.balanced_accuracy


def save_shards(folder: Path) -> None:
    """Those of MARCO are made already."""
    folder.mkdir()
    site = draw_site(seed=1)
    drops = simulate_drops(site, n_plates=7)["image"]
    is_test = pc.column(drops, "plate") > f"site {site.seed}, plate 5"
    for name, index in (("train", ~is_test), ("test", is_test)):
        write_tfrecord(pc.take(drops, index), folder, name=name, per_shard=256)


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
