"""From a file to labels in a file and back: the whole path on small data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import sidpy
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.metrics import adjusted_rand_score

import pycroclass as pc
from pycroclass.errors import AxisError, DataError, ParameterError
from pycroclass.replay import Verdict
from pycroclass.sid import provenance_of


def spectra(seed: int = 0) -> np.ndarray:
    """A map of 12 x 9 spectra of three kinds."""
    rng = np.random.default_rng(seed)
    energy = np.linspace(0, 1, 40)
    kinds = np.stack([np.exp(-(((energy - centre) / 0.1) ** 2)) for centre in (0.2, 0.5, 0.8)])
    truth = rng.integers(0, 3, (12, 9))
    return (10 * kinds[truth] + rng.normal(0, 0.3, (12, 9, 40))).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An NSID file with a spectrum image."""
    dataset = sidpy.Dataset.from_array(spectra(), title="map", units="counts", quantity="intensity")
    for i, (name, units, kind) in enumerate((("y", "nm", "spatial"), ("x", "nm", "spatial"), ("energy", "eV", "spectral"))):
        dataset.set_dimension(i, sidpy.Dimension(np.arange(dataset.shape[i]) * 0.5, name=name, units=units, dimension_type=kind))
    dataset.data_type = "spectral_image"
    dataset.metadata = {"sample": "made up"}
    return Path(pc.write({"map": dataset}, tmp_path / "source.h5"))


@pytest.fixture
def dataset(source: Path) -> sidpy.Dataset:
    (found,) = pc.read(source).values()
    return found


@pytest.fixture
def no_compute() -> Iterator[None]:
    def scheduler(*_: object, **__: object) -> None:
        raise AssertionError("something computed")

    with dask.config.set(scheduler=scheduler):
        yield


def test_labels_equal_scikit_learn(dataset: sidpy.Dataset) -> None:
    rows = spectra().reshape(-1, 40)
    scores = SklearnPCA(3, svd_solver="full").fit_transform(rows)
    start = scores[[0, 20, 50]]
    model = pc.fit(pc.PCA(3), dataset)
    ours = np.asarray(model(dataset)).reshape(-1, 3)
    signs = np.sign((ours * scores).sum(0))
    np.testing.assert_allclose(ours * signs, scores, atol=1e-4 * np.abs(scores).max())
    labels = pc.fit(pc.PCA(3) | pc.KMeans(3, init=start * signs), dataset)(dataset)
    theirs = SklearnKMeans(3, init=start, n_init=1).fit_predict(scores)
    assert adjusted_rand_score(theirs, np.asarray(labels).ravel()) == 1.0


def test_labels_keep_axes_and_metadata(dataset: sidpy.Dataset) -> None:
    labels = pc.fit(pc.PCA(3) | pc.KMeans(3, seed=0), dataset)(dataset)
    assert isinstance(labels, sidpy.Dataset)
    assert labels.data_type.name == "IMAGE"
    assert [(a.name, a.units) for a in labels._axes.values()] == [("y", "nm"), ("x", "nm")]
    np.testing.assert_array_equal(labels._axes[1].values, np.arange(9) * 0.5)
    assert labels.metadata["sample"] == "made up"
    assert labels.dtype.kind == "i"
    labels.plot()


def test_running_is_lazy(dataset: sidpy.Dataset, no_compute: None) -> None:
    pc.run(pc.Log1p() | pc.ZScore() | pc.Select(x=(1, 3)), dataset)


def test_call_is_run(dataset: sidpy.Dataset) -> None:
    np.testing.assert_array_equal(np.asarray(pc.ZScore()(dataset)), np.asarray(pc.run(pc.ZScore(), dataset)))


def test_select_by_value(dataset: sidpy.Dataset) -> None:
    part = pc.Select(energy=(5, 10), x=(1, 2))(dataset)
    np.testing.assert_array_equal(np.asarray(part), spectra()[:, 2:5, 10:21])
    assert part._axes[2].values[0] == 5


def test_mean_by_label(dataset: sidpy.Dataset) -> None:
    labels = pc.fit(pc.PCA(3) | pc.KMeans(3, seed=0), dataset)(dataset)
    means = pc.mean_by_label(dataset, labels)
    label = np.asarray(labels)
    for k in range(3):
        np.testing.assert_allclose(np.asarray(means["mean"])[:, k], spectra()[label == k].mean(0, dtype="f8"), rtol=1e-6)
        np.testing.assert_allclose(np.asarray(means["sd"])[:, k], spectra()[label == k].std(0, ddof=1, dtype="f8"), rtol=1e-5)
        assert np.asarray(means["count"])[k] == (label == k).sum()
    assert means["mean"].units == "counts"
    assert means["mean"]._axes[0].units == "eV"
    assert means["mean"].data_type.name == "SPECTRUM"
    (axes,) = means["mean"].plot().axes
    assert [len(line.get_xdata()) for line in axes.lines] == [40] * 3


def test_the_whole_path(dataset: sidpy.Dataset, tmp_path: Path) -> None:
    labels = pc.fit(pc.PCA(3) | pc.KMeans(3, seed=0), dataset)(dataset)
    out = tmp_path / "out.h5"
    pc.write({"label": labels, "mean": pc.mean_by_label(dataset, labels)["mean"]}, out)
    assert [report.verdict for report in pc.replay(out)] == [Verdict.IDENTICAL] * 2
    again = next(value for key, value in pc.read(out).items() if key.endswith("label"))
    np.testing.assert_array_equal(np.asarray(again), np.asarray(labels))
    assert again.metadata["classes"] == labels.metadata["classes"]


def test_replay_of_a_chain(dataset: sidpy.Dataset, tmp_path: Path) -> None:
    smooth = pc.ZScore()(pc.Select(energy=(2, 18))(dataset))
    pc.write({"smooth": smooth}, tmp_path / "out.h5")
    (report,) = pc.replay(tmp_path / "out.h5")
    assert report.verdict is Verdict.IDENTICAL


def test_concatenate(dataset: sidpy.Dataset, tmp_path: Path) -> None:
    both = pc.concatenate([dataset, pc.read(pc.write({"map": dataset[:5]}, tmp_path / "part.h5")).popitem()[1]])
    np.testing.assert_array_equal(np.asarray(both), np.concatenate([spectra(), spectra()[:5]]))
    pc.write({"z": pc.ZScore()(both)}, tmp_path / "out.h5")
    assert pc.replay(tmp_path / "out.h5")[0].verdict is Verdict.IDENTICAL
    with pytest.raises(AxisError, match="they must be alike"):
        pc.concatenate([dataset, pc.Select(energy=(0, 5))(dataset)])


def labelled(folder: Path, names: tuple[str, str]) -> sidpy.Dataset:
    """Two small pictures of each of two classes, as a folder per class."""
    from PIL import Image

    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((6, 5), 40 * i, np.uint8)).save(folder / name / f"{i}.png")
    return pc.read(folder)["image"]


def test_concatenate_never_mixes_classes(tmp_path: Path) -> None:
    cats, birds = labelled(tmp_path / "a", ("cat", "dog")), labelled(tmp_path / "b", ("bird", "cat"))
    with pytest.raises(AxisError, match="classes"):
        pc.concatenate([cats, birds])
    assert pc.concatenate([cats, cats]).metadata["labels"] == [0, 0, 1, 1] * 2


def test_metadata_of_items_follow_a_selection(tmp_path: Path) -> None:
    stack = labelled(tmp_path / "a", ("cat", "dog"))
    assert pc.Select(frame=(1, 2))(stack).metadata["labels"] == [0, 1]
    assert pc.Crop(4)(stack).metadata["labels"] == [0, 0, 1, 1]
    assert "labels" not in pc.Threshold(10)(stack).metadata


def test_items_that_are_not_finite_have_no_cluster(dataset: sidpy.Dataset) -> None:
    model = pc.fit(pc.PCA(3) | pc.KMeans(3, seed=0), dataset)
    values = spectra()
    values[0, 0, 0], values[1, 1, 1] = np.nan, np.inf
    spoiled = sidpy.Dataset.from_array(values)
    for i in range(3):
        spoiled.set_dimension(i, dataset._axes[i])
    labels = np.asarray(model(spoiled))
    assert labels[0, 0] == labels[1, 1] == -1
    assert (labels == -1).sum() == 2


def test_an_image_is_y_x_by_name() -> None:
    frames = sidpy.Dataset.from_array(np.zeros((8, 10), np.float32))
    for i, name in enumerate("xy"):
        frames.set_dimension(i, sidpy.Dimension(np.arange(frames.shape[i]), name=name, dimension_type="spatial"))
    frames.data_type = "image"
    frames.metadata = {"geometry": {"beam_centre": [2.0, 7.0]}}
    part = pc.Crop((4, 2), centre=(5, 4))(frames)
    assert part.shape == (2, 4)
    assert part.metadata["geometry"]["beam_centre"] == [-1.0, 4.0]


def test_torch_keeps_its_threads(dataset: sidpy.Dataset) -> None:
    import torch

    before = torch.get_num_threads()
    pc.Log1p()(dataset).compute()
    assert torch.get_num_threads() == before


def test_replay_finds_a_moved_source(dataset: sidpy.Dataset, source: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "elsewhere" / "out.h5"
    pc.write({"z": pc.ZScore()(dataset)}, out)
    source.rename(out.with_name(source.name))
    assert pc.replay(out)[0].verdict is Verdict.IDENTICAL
    out.with_name(source.name).unlink()
    assert pc.replay(out)[0].verdict is Verdict.SOURCE_MISSING


def test_results_beside_their_source(dataset: sidpy.Dataset, source: Path) -> None:
    import h5py

    first = pc.append({"z": pc.ZScore()(dataset)}, source)
    again = next(value for key, value in pc.read(source).items() if key.endswith("map"))
    second = pc.append({"log": pc.Log1p()(again)}, source)
    assert first != second
    assert [report.verdict for report in pc.replay(source) if "Log_" in report.dataset] == [Verdict.IDENTICAL] * 2
    with h5py.File(source, "r+") as file:
        file["Measurement_000/Channel_000/map/map"][0, 0, 0] = 99
    assert {report.verdict for report in pc.replay(source) if "Log_" in report.dataset} == {Verdict.SOURCE_CHANGED}


def test_replay_notices_a_changed_source(dataset: sidpy.Dataset, source: Path, tmp_path: Path) -> None:
    import h5py

    pc.write({"z": pc.ZScore()(dataset)}, tmp_path / "out.h5")
    with h5py.File(source, "r+") as file:
        file["Measurement_000/Channel_000/map/map"][0, 0, 0] = 99
    assert pc.replay(tmp_path / "out.h5")[0].verdict is Verdict.SOURCE_CHANGED


def test_replay_notices_a_changed_result(dataset: sidpy.Dataset, tmp_path: Path) -> None:
    import h5py

    pc.write({"z": pc.ZScore()(dataset)}, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        file["Measurement_000/Channel_000/z/z"][0, 0, 0] += 1
    (report,) = pc.replay(tmp_path / "out.h5")
    assert report.verdict is Verdict.DIFFERENT
    assert report.difference == pytest.approx(1, rel=1e-5)
    assert report.verdict.exit_code == 1


@pytest.mark.parametrize("change", [lambda d: d[:5], lambda d: d * 2, lambda d: d.copy()])
def test_replay_never_pretends(dataset: sidpy.Dataset, tmp_path: Path, change: object) -> None:
    changed = change(dataset)  # type: ignore[operator]
    assert provenance_of(changed).verb == "given"
    pc.write({"z": pc.Log1p()(changed)}, tmp_path / "out.h5")
    (report,) = pc.replay(tmp_path / "out.h5")
    assert report.verdict is Verdict.NOT_REPLAYABLE
    assert report.verdict.exit_code == 2
    assert "changed since" in report.reason


def test_a_change_in_place_is_noticed(dataset: sidpy.Dataset) -> None:
    assert provenance_of(dataset).verb == "read"
    dataset.title = "another title is no change"
    assert provenance_of(dataset).verb == "read"
    dataset.units = "photons"
    assert provenance_of(dataset).verb == "given"


def test_a_dataset_from_elsewhere_runs_as_well() -> None:
    image = sidpy.Dataset.from_array(np.eye(6, dtype=">f4"))
    assert np.asarray(pc.Log1p()(image)).dtype == np.dtype("f4")


def test_nan_is_refused_or_masked(dataset: sidpy.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    values = spectra()
    values[3, 4, 5] = np.nan
    spoiled = sidpy.Dataset.from_array(values)
    for i in range(3):
        spoiled.set_dimension(i, dataset._axes[i])
    with pytest.raises(DataError, match="1 of 108 items"):
        pc.fit(pc.PCA(3), spoiled)
    model = pc.fit(pc.PCA(3) | pc.KMeans(2), spoiled, nonfinite="mask")[:1]
    assert caplog.text.count("1 of 108 items are left out") == 1
    assert np.isnan(np.asarray(model(spoiled))).any(2).sum() == 1


def test_errors_say_what_to_do(dataset: sidpy.Dataset) -> None:
    with pytest.raises(ParameterError, match=r"pycroclass\.run"):
        pc.fit(pc.Log1p(), dataset)
    with pytest.raises(ParameterError, match=r"pycroclass\.fit"):
        pc.PCA(3)(dataset)
    with pytest.raises(AxisError, match=r"sidpy\.Dataset"):
        pc.run(pc.Log1p(), np.zeros(3))
    labels = pc.Argmax()(dataset)
    with pytest.raises(AxisError, match="labels have the axes"):
        pc.mean_by_label(dataset, labels[:5])
    with pytest.raises(DataError, match="integers"):
        pc.mean_by_label(dataset, dataset[:, :, 0])
