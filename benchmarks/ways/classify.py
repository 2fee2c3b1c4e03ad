"""Ways to classify the frames of an HDF5 file into another one, and the parts of that work alone.

Each returns the mean probability of each class, which must be the same for all.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import hdf5plugin  # noqa: F401  # registers the filters
import numpy as np
import torch

import pycroclass as pc
from benchmarks.data import FRAME
from benchmarks.decoders import decoder
from benchmarks.nets import NETS, bundle, items, module_of, sample
from pycroclass.networks.inference import prepared

Check = Callable[[], list[float]]
Forward = Callable[[torch.Tensor], torch.Tensor]
_FOLDER = tempfile.TemporaryDirectory(prefix="pycroclass-bench-")
_OUTPUT = Path(_FOLDER.name) / "result.h5"
_MICRO_BATCHES = {"hit network": (4, 8, 16, 32), "ResNet-18": (4, 8, 16), "U-Net": (1, 2)}
_COPY_BATCH = 256


def ours(path: str, name: str, n: int, **execution: Any) -> Check:
    """`pycroclass.classify` and `pycroclass.write`, as in the README."""
    model = bundle(name)
    settings = pc.Execution(**{"device": "cpu", "block_bytes": NETS[name].block_bytes, **execution})

    def work() -> list[float]:
        (dataset,) = pc.read(path).values()
        pc.write(pc.classify(dataset, model, execution=settings), _OUTPUT, overwrite=True)
        group = "Measurement_000/Channel_000/probability/probability"
        with h5py.File(_OUTPUT, "r") as file:
            return _means(file[group][...], -1)

    return work


def naive(path: str, name: str, n: int, form: str, device: str = "cpu", batch: int | None = None) -> Check:
    """A loop over batches: read with h5py, run, write."""
    net, forward = NETS[name], _forward(name, form, device)
    size = batch or net.batch

    def batches() -> Iterator[torch.Tensor]:
        with h5py.File(path, "r") as file:
            for a in range(0, n, size):
                yield torch.from_numpy(items(file["data"], slice(a, min(a + size, n)), net.crop))

    return lambda: _write_all(batches(), forward, name, n, device)


def loader(path: str, name: str, n: int, form: str, n_workers: int, device: str = "cpu", batch: int | None = None) -> Check:
    """The same with a `torch.utils.data.DataLoader`, whose workers stay alive."""
    net, forward = NETS[name], _forward(name, form, device)
    batches = torch.utils.data.DataLoader(
        _Frames(path, n, net.crop),
        batch_size=batch or net.batch,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        pin_memory=device != "cpu",
    )
    return lambda: _write_all(batches, forward, name, n, device)


class _Frames(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, path: str, n: int, crop: int | None) -> None:
        self._path, self._n, self._crop = path, n, crop
        self._data: Any = None

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> torch.Tensor:
        if self._data is None:  # each worker opens the file for itself
            self._data = h5py.File(self._path, "r")["data"]
        return torch.from_numpy(items(self._data, slice(index, index + 1), self._crop)[0])


def map_blocks(path: str, name: str, n: int, form: str) -> Check:
    """dask: `from_array`, `map_blocks` and `store`, in threads, with torch on one thread in each."""
    net, forward = NETS[name], _forward(name, form, "cpu")
    torch.set_num_threads(1)
    dask.config.set(scheduler="threads")

    def block(frames: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return forward(torch.from_numpy(items(frames, slice(None), net.crop))).softmax(1).numpy()

    def work() -> list[float]:
        with h5py.File(path, "r") as file, h5py.File(_OUTPUT, "w") as out:
            array = da.from_array(file["data"], chunks=(net.batch, *file["data"].shape[1:]))
            shape = _shape(name, n)
            chunks = (array.chunks[0], *((size,) for size in shape[1:]))
            drop, new = list(range(1, array.ndim)), list(range(1, len(shape)))
            probability = array.map_blocks(block, dtype="f4", chunks=chunks, drop_axis=drop, new_axis=new)
            answers = [probability, probability.argmax(1).astype("i4"), probability.max(1)]
            da.store(answers, _create(out, name, n), lock=True)
            return _means(out["probability"][...], 1)

    return work


def forward_alone(path: str, name: str, n: int, precision: str, device: str = "cpu") -> Callable[[], None]:
    """The limit of computing: the package's best form of the network on tensors that are there already, on all cores."""
    torch.set_num_threads(1)
    module = prepared(module_of(name), torch.device(device), precision)
    x = sample(path, name, n).to(device)
    if device != "cpu":
        return lambda: _resident_gpu(module, x)
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)

    def part(size: int, number: int) -> None:
        with torch.inference_mode():
            for a in range(number * size, n, size * n_cores):
                module(x[a : a + size])

    def work(size: int) -> None:
        list(pool.map(part, [size] * n_cores, range(n_cores)))

    best = min(_MICRO_BATCHES[name], key=lambda size: fastest(lambda: work(size)))
    return lambda: work(best)


def decode_alone(path: str, name: str, n: int, dtype: str) -> Callable[[], None]:
    """The limit of reading: from the file to cropped items of this dtype, on all cores, outside the HDF5 library."""
    net = NETS[name]
    n_cores = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(n_cores)
    with h5py.File(path, "r") as file:
        dataset = file["data"]
        chunks = [dataset.id.get_chunk_info(i) for i in range(n)]
        decode = decoder(dataset)
    edge = (FRAME - net.crop) // 2 if net.crop else 0

    def part(number: int) -> None:
        with open(path, "rb", buffering=0) as file:
            result: np.ndarray | None = None
            for chunk in chunks[number::n_cores]:
                frame = decode(os.pread(file.fileno(), chunk.size, chunk.byte_offset))
                frame = frame[..., edge : edge + net.crop, edge : edge + net.crop] if net.crop else frame
                result = np.empty(frame.shape, dtype) if result is None else result
                np.copyto(result, frame, casting="unsafe")

    return lambda: list(pool.map(part, range(n_cores))) and None


def copy_alone(path: str, name: str, n: int, device: str) -> Callable[[], None]:
    """The limit of the bus: raw values of all items from pinned memory to the device."""
    with h5py.File(path, "r") as file:
        dtype = file["data"].dtype
    raw = sample(path, name, min(_COPY_BATCH, n)).to(torch.from_numpy(np.empty(0, dtype)).dtype).pin_memory()
    target = torch.empty_like(raw, device=device)

    def work() -> None:
        for a in range(0, n, len(raw)):
            target[: n - a].copy_(raw[: n - a], non_blocking=True)
        torch.cuda.synchronize()

    return work


def _resident_gpu(module: Forward, x: torch.Tensor) -> None:
    with torch.inference_mode():
        for part in x.split(_COPY_BATCH):
            module(part)
    torch.cuda.synchronize()


def _forward(name: str, form: str, device: str) -> Forward:
    """From items to logits: ``eager`` as users write it, ``prepared`` as the package runs it."""
    module = module_of(name)
    if form == "eager":
        return module.to(device)
    best = prepared(module, torch.device(device))
    return lambda x: best(x)[1]


def _write_all(batches: Any, forward: Forward, name: str, n: int, device: str) -> list[float]:
    iterator = iter(batches)  # workers are forked here: before the output is open, or they would hold its lock
    with h5py.File(_OUTPUT, "w") as out, torch.inference_mode():
        targets = _create(out, name, n)
        a = 0
        for batch in iterator:
            probability = forward(batch.to(device, non_blocking=True)).softmax(1)
            confidence, label = probability.max(1)
            for target, values in zip(targets, (probability, label, confidence), strict=True):
                target[a : a + len(batch)] = values.cpu().numpy()
            a += len(batch)
        return _means(out["probability"][...], 1)


def _create(out: h5py.File, name: str, n: int) -> list[h5py.Dataset]:
    shape = _shape(name, n)
    one = (shape[0], *shape[2:])
    return [
        out.create_dataset("probability", shape, "f4"),
        out.create_dataset("label", one, "i4"),
        out.create_dataset("confidence", one, "f4"),
    ]


def _shape(name: str, n: int) -> tuple[int, ...]:
    net = NETS[name]
    return (n, net.parameters.get("n_classes", 2), *((FRAME, FRAME) if net.is_dense else ()))


def _means(probability: np.ndarray, axis: int) -> list[float]:
    return np.moveaxis(probability, axis, 0).reshape(probability.shape[axis], -1).mean(1, dtype=np.float64).tolist()


def fastest(work: Callable[[], None]) -> float:
    """Least seconds of three calls."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
