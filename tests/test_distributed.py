"""The same graphs on a cluster of processes: the same bits."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import sidpy
import torch
from distributed import Client, LocalCluster

import pycroclass as pc
from pycroclass import precision
from pycroclass.networks import ImageResNet
from pycroclass.operators import Classify
from pycroclass.replay import Verdict
from pycroclass.sid import provenance_of

SMALL = pc.Execution(block_bytes=100_000)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=rng.poisson(20, (90, 40, 44)).astype("u2"), chunks=(1, 40, 44))
    return path


def cluster_frames(stack: Path, out: Path) -> dict[str, np.ndarray]:
    """Fit, run, summarise and write, as a user would."""
    dataset = pc.read(f"{stack}::data")["data"]
    frames = pc.Crop(32) | pc.GaussianBlur(1.0) | pc.Log1p()
    model = pc.fit(frames | pc.PCA(4) | pc.KMeans(3, seed=0), dataset, execution=SMALL)
    labels = pc.run(model, dataset, execution=SMALL)
    pc.write({"label": labels, "mean": pc.mean_by_label(dataset, labels, execution=SMALL)["mean"]}, out)
    return {key: np.asarray(value) for key, value in pc.read(out).items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cluster's own making, when it starts and stops
def test_a_cluster_of_processes_gives_the_same_bits(stack: Path, tmp_path: Path) -> None:
    in_threads = cluster_frames(stack, tmp_path / "threads.h5")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, Client(cluster):
        on_cluster = cluster_frames(stack, tmp_path / "cluster.h5")
        assert [report.verdict for report in pc.replay(tmp_path / "threads.h5")] == [Verdict.IDENTICAL] * 2
    assert [report.verdict for report in pc.replay(tmp_path / "cluster.h5")] == [Verdict.IDENTICAL] * 2
    assert in_threads.keys() == on_cluster.keys()
    for key, values in in_threads.items():
        np.testing.assert_array_equal(on_cluster[key], values)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_on_a_cluster_gives_the_same_bits(stack: Path, tmp_path: Path) -> None:
    dataset = pc.read(f"{stack}::data")["data"]
    bright = (np.asarray(dataset).mean((1, 2)) > 20).astype(int)
    classifier = pc.NetworkClassifier(classes=("dim", "bright"), parameters={"width": 4}, epochs=1)
    bundle = pc.train(dataset, classifier, preprocessing=pc.Crop(32) | pc.ZScore(), labels=bright).save(tmp_path / "b.safetensors")

    def sort(out: Path) -> dict[str, np.ndarray]:
        pc.write(pc.classify(dataset, bundle, execution=SMALL), out)
        return {key: np.asarray(value) for key, value in pc.read(out).items()}

    in_threads = sort(tmp_path / "threads.h5")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster, Client(cluster):
        on_cluster = sort(tmp_path / "cluster.h5")
    assert len(in_threads) == 3
    for key, values in in_threads.items():
        np.testing.assert_array_equal(on_cluster[key], values)
    assert {report.verdict for report in pc.replay(tmp_path / "cluster.h5")} == {Verdict.IDENTICAL}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="no CPU can do less than this one")
def test_the_record_says_what_computed_and_not_what_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose CPU can do less, as one on another machine."""
    images = sidpy.Dataset.from_array(np.ones((3, 20, 20), "f4"))
    images.data_type = "image_stack"
    for i, (name, kind) in enumerate((("frame", "temporal"), ("y", "spatial"), ("x", "spatial"))):
        images.set_dimension(i, sidpy.Dimension(np.arange(images.shape[i]), name=name, dimension_type=kind))
    network = Classify("resnet_small", {"n_classes": 2}, ImageResNet(n_classes=2).state_dict(), classes=("miss", "hit"))
    cpu = pc.Execution(device="cpu")
    env = {"ATEN_CPU_CAPABILITY": "default"}
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, env=env) as cluster, Client(cluster):
        results = pc.run(network, images, execution=cpu)
        results |= pc.mean_by_label(images, results["label"], execution=cpu)
        for name in ("label", "mean"):
            assert provenance_of(results[name]).parameters["device"] == "cpu (DEFAULT)"
        monkeypatch.setattr(precision, "computes_bfloat16", lambda device: pytest.fail("asked of the wrong machine"))
        assert precision.choose(network, images, cpu) == cpu
        with pytest.raises(pc.errors.ParameterError, match="no CUDA device"):
            pc.run(network, images, execution=pc.Execution(device="cuda"))
    assert provenance_of(pc.run(network, images, execution=cpu)["label"]).parameters["device"] == cpu.device_name()
