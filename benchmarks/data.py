"""Synthetic data in the cache folder, written once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import dask.array as da
import h5py
import hdf5plugin
import numpy as np
import sidpy

import pycroclass as pc
from benchmarks.environments import CACHE, ROOT
from pycroclass.writers import write_cxi

FRAME = 512
STACK = (256, 128, 128, 128)
_N_ITEMS = 1_000_000
STORAGES = {
    "none": {},
    "gzip-4 + shuffle": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    "LZF": {"compression": "lzf"},
    "bitshuffle-LZ4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
}
_N_DIFFERENT = 32
SHARED = Path(os.environ.get("PYCROCLASS_SHARED", ROOT.parent / "shared")) / "data"
"""Real data, where they are at hand."""


def frames(n: int, storage: str) -> Path:
    """HDF5 with ``n`` detector frames of 512 x 512 uint16 at ``/data``, one chunk each: background and some peaks."""

    def write(path: Path) -> None:
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:FRAME, :FRAME] - FRAME / 2
        background = 30 * np.exp(-(np.hypot(y, x) / 120)) + 2
        different = rng.poisson(background, (_N_DIFFERENT, FRAME, FRAME)).astype(np.uint16)
        for frame in different[::2]:
            frame[tuple(rng.integers(90, FRAME - 90, (2, 60)))] += rng.integers(50, 3000, 60).astype(np.uint16)
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", (n, FRAME, FRAME), np.uint16, chunks=(1, FRAME, FRAME), **STORAGES[storage])
            for i in range(n):
                data[i] = different[i % _N_DIFFERENT]

    return _once(f"frames-{n}-{storage.replace(' ', '')}.h5", write)


def photographs(n: int) -> Path:
    """HDF5 with ``n`` images of 3 x 224 x 224 uint8 at ``/data``, one chunk each, uncompressed."""

    def write(path: Path) -> None:
        rng = np.random.default_rng(1)
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", (n, 3, 224, 224), np.uint8, chunks=(1, 3, 224, 224))
            for i in range(n):
                data[i] = rng.integers(0, 256, (3, 14, 14), np.uint8).repeat(16, 1).repeat(16, 2)

    return _once(f"photographs-{n}.h5", write)


def stack(dtype: str, kind: str) -> Path:
    """A 4-D stack ``(y, x, ky, kx)``, uncompressed and in one piece, as ``npy``, ``raw`` or ``h5`` (at ``/data``)."""

    def write(path: Path) -> None:
        different = np.random.default_rng(2).poisson(20, (_N_DIFFERENT, *STACK[1:])).astype(dtype)
        values = np.concatenate([different] * (STACK[0] // _N_DIFFERENT))
        match kind:
            case "npy":
                with path.open("wb") as file:
                    np.save(file, values)
            case "raw":
                values.tofile(path)
            case "h5":
                with h5py.File(path, "w") as file:
                    file["data"] = values

    return _once(f"stack-{'x'.join(map(str, STACK))}-{dtype}.{kind}", write)


def spectrum_image(rows: int, columns: int, channels: int) -> Path:
    """NSID file with four mixed components and Poisson noise, float32."""

    def write(path: Path) -> None:
        values = _mixture(rows, columns, channels)
        image = sidpy.Dataset.from_array(values, title="map", units="counts", quantity="intensity")
        for i, (name, kind) in enumerate((("y", "spatial"), ("x", "spatial"), ("energy", "spectral"))):
            image.set_dimension(i, sidpy.Dimension(np.arange(values.shape[i]), name=name, units="nm", dimension_type=kind))
        image.data_type = "spectral_image"
        pc.write({"map": image}, path)

    return _once(f"spectra-{rows}x{columns}x{channels}.h5", write)


def spectra(rows: int, columns: int, channels: int) -> Path:
    """The same values as ``npy`` of shape (rows * columns, channels), for the peers."""
    return saved(f"spectra-{rows}x{columns}x{channels}", _mixture(rows, columns, channels).reshape(-1, channels))


def _mixture(rows: int, columns: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shapes = np.exp(-(((np.arange(channels) / channels - rng.random((4, 1))) / 0.08) ** 2))
    return rng.poisson(rng.dirichlet(np.ones(4), (rows, columns)) @ shapes * 100).astype(np.float32)


def clusters_in_file(n: int) -> Path:
    """HDF5 with ``n`` items of 64 features around 16 centres, float32, uncompressed and in one piece at ``/data``."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            target = file.create_dataset("data", (n, 64), np.float32)
            target.dims[1].label = "feature"
            for start in range(0, n, _N_ITEMS):
                part = _around_centres(min(_N_ITEMS, n - start), start)
                target[start : start + len(part)] = part

    return _once(f"clusters-{n}.h5", write)


def clusters_in_memory(n: int) -> Path:
    """The first ``n`` of such items as ``npy``."""
    return saved(f"clusters-{n}", _around_centres(n, 0))


def _around_centres(n: int, seed: int) -> np.ndarray:
    centres = 3 * np.random.default_rng(0).standard_normal((16, 64), np.float32)
    rng = np.random.default_rng((1, seed))
    return centres[rng.integers(16, size=n)] + rng.standard_normal((n, 64), np.float32)


def sparse_frames(n: int, size: int, per_chunk: int) -> Path:
    """HDF5 that declares ``n`` frames of ``size`` x ``size`` uint16 at ``/data``, none of them written: they read as zeros."""

    def write(path: Path) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            file.create_dataset("data", (n, size, size), np.uint16, chunks=(per_chunk, size, size))

    return _once(f"sparse-{n}x{size}-{per_chunk}.h5", write)


def masks() -> np.ndarray:
    """Four virtual detectors for `stack`: bright field, two rings, and a ramp that weighs every pixel."""
    y, x = np.mgrid[: STACK[2], : STACK[3]] - STACK[2] / 2
    r = np.hypot(y, x)
    return np.stack([r < 12, (r >= 12) & (r < 30), (r >= 30) & (r < 60), x / STACK[3]]).astype(np.float32)


def rings() -> np.ndarray:
    """Weights that give the mean of each ring of pixels around the middle of an image of `stack`."""
    y, x = np.mgrid[: STACK[2], : STACK[3]] - np.array(STACK[2:]).reshape(2, 1, 1) / 2
    ring = np.rint(np.hypot(y, x)).astype(int)
    chosen = ring == np.arange(ring.max() + 1)[:, None, None]
    return (chosen / chosen.sum((1, 2), keepdims=True)).astype(np.float32)


def peak_frames(size: int, n: int) -> Path:
    """Frames of ``size`` x ``size`` in ADU, int16, every other one with spots: a round background, photons of 6.5 ADU, read noise.

    As ``npz`` with ``frames`` and a ``mask`` that is nonzero between modules and on hot pixels.
    """

    def write(path: Path) -> None:
        rng = np.random.default_rng(3)
        y, x = np.indices((size, size), np.float32)
        r = np.hypot(y - size / 2 - 0.3, x - size / 2 + 1.6)
        background = (0.4 + 5 * np.exp(-(((r - size / 4) / (size / 12)) ** 2)) + 20 / (1 + (r / 20) ** 3)).astype(np.float32)
        gap, hot = (np.arange(size) % 194 < 6)[:, None] | (np.arange(size) % 203 < 6), rng.random((size, size)) < 1e-4
        frames = np.empty((n, size, size), np.int16)
        for number in range(n):
            expected = background * np.float32(rng.gamma(12) / 12)
            if number % 2 == 0:
                _add_spots(expected, rng, max(20, size * size // 20_000))
            adu = 6.5 * rng.poisson(expected) + 2.5 * rng.standard_normal((size, size), np.float32)
            frames[number] = np.rint(adu).clip(-100, 16_000)
        frames[:, gap], frames[:, hot] = 0, 5_000
        _save_frames(path, frames, (gap | hot).astype(np.uint8))

    return _once(f"peaks-{n}x{size}.npz", write)


def run_of_frames(size: int, n: int) -> Path:
    """A CXI file with ``n`` frames as `peak_frames` has them, int32 in bitshuffle-LZ4; a few different ones, again and again."""

    def write(path: Path) -> None:
        with np.load(str(peak_frames(size, 8))) as file:
            different, mask = file["frames"].astype(np.int32), file["mask"]
        frames = da.concatenate([da.from_array(different, chunks=(1, size, size))] * (n // len(different)))
        image = sidpy.Dataset.from_array(frames, title="image", units="adu")
        bad = sidpy.Dataset.from_array(mask, title="mask")
        for i, name in enumerate(("frame", "y", "x")):
            image.set_dimension(i, sidpy.Dimension(np.arange(image.shape[i]), name, dimension_type="spatial" if i else "temporal"))
        geometry = pc.Geometry((size / 2 + 0.3, size / 2 - 1.6), pixel_size=(110e-6, 110e-6), distance=0.1, wavelength=1.3e-10)
        write_cxi({"image": pc.with_geometry(image, geometry), "mask": bad}, path, compression="bitshuffle-lz4")

    return _once(f"run-{n}x{size}.cxi", write)


def _add_spots(expected: np.ndarray, rng: np.random.Generator, n: int) -> None:
    """Gaussian spots of exponentially distributed brightness, in photons."""
    size = len(expected)
    steps = np.arange(-4, 5)
    for place, width, photons in zip(rng.uniform(5, size - 6, (n, 2)), rng.uniform(0.55, 1.1, n), 10 + rng.exponential(150, n)):
        middle = np.rint(place).astype(int)
        shapes = np.exp(-((middle[:, None] + steps - place[:, None]) ** 2) / (2 * width**2))
        spot = shapes[0][:, None] * shapes[1]
        expected[middle[0] - 4 : middle[0] + 5, middle[1] - 4 : middle[1] + 5] += photons * spot / spot.sum()


class RealFrames(NamedTuple):
    """Real frames as ``npz`` with ``frames`` and ``mask``, and their beam centre ``(y, x)``."""

    path: Path
    centre: tuple[float, float]


def real_peak_frames() -> Iterator[tuple[str, RealFrames]]:
    """Frames of a CSPAD and a PILATUS, where the folder of real data is at hand."""
    folder = SHARED / "diffraction"
    cspad, pilatus = sorted(folder.glob("cspad/*.npz")), sorted(folder.glob("thaumatin_grid/*.cbf.bz2"))
    if cspad:
        yield f"{len(cspad)} CSPAD frames", _cspad(cspad)
    if pilatus:
        yield f"{len(pilatus)} PILATUS frames", _pilatus(pilatus)


def _cspad(files: list[Path]) -> RealFrames:
    images, masks = zip(*((file["image"], file["mask"]) for file in map(np.load, files)))
    bad = np.any([mask == 0 for mask in masks], axis=0).astype(np.uint8)
    path = _once("peaks-cspad.npz", lambda path: _save_frames(path, np.stack(images), bad))
    return RealFrames(path, tuple((size - 1) / 2 for size in bad.shape))


def _pilatus(files: list[Path]) -> RealFrames:
    datasets = [pc.read(file) for file in files]
    bad = np.asarray(datasets[0]["mask"]).astype(np.uint8)
    path = _once("peaks-pilatus.npz", lambda path: _save_frames(path, np.stack([np.asarray(d["image"]) for d in datasets]), bad))
    return RealFrames(path, tuple(datasets[0]["image"].metadata["geometry"]["beam_centre"]))


def _save_frames(path: Path, frames: np.ndarray, mask: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, frames=frames, mask=mask)


def stem(path: object) -> str:
    """Of the name of a file."""
    return Path(str(path)).stem


def saved(name: str, values: np.ndarray, *, again: bool = False) -> Path:
    """An array as ``npy``, for a peer; ``again`` if it may have changed."""
    if again:
        (CACHE / "data" / f"{name}.npy").unlink(missing_ok=True)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, values)

    return _once(f"{name}.npy", write)


def _once(name: str, write: Callable[[Path], None]) -> Path:
    path = CACHE / "data" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{name}.{os.getpid()}")
        write(partial)
        partial.rename(path)
    return path
