"""CXI files (coherent X-ray imaging): a stack of detector frames with mask, geometry, event names, labels, peaks and probabilities.

Layout after F. R. N. C. Maia, The Coherent X-ray Imaging Data Bank, Nature Methods 9, 854 (2012); all values in SI. ``corner_position`` is
the outer corner of the first pixel, ``basis_vectors`` one step in y and one in x, both ``(x, y, z)`` with the beam along z; a row for each
module of frames ``(frame, module, y, x)``. Lists of peaks as `pycroclass.readers.cxi_results` says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

import dask.array as da
import h5py
import numpy as np
import numpy.typing as npt
import sidpy

from pycroclass.crystfel.value import CrystFELGeometry
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry, Geometry, Panel, PanelGeometry
from pycroclass.metadata_json import encode
from pycroclass.per_item import ITEMS
from pycroclass.readers.cxi import CRYSTFEL
from pycroclass.readers.cxi_results import COUNT, OF_FRAMES, PEAK_LISTS, SELECTION
from pycroclass.readers.detector import H_TIMES_C
from pycroclass.sid import unwrap
from pycroclass.spec import Spec
from pycroclass.writers.atomic import PartialFile, whole_or_nothing
from pycroclass.writers.bitshuffle import FILTER, BitshuffleTarget
from pycroclass.writers.blocks import Hdf5Target, Tally, storage_chunks, store
from pycroclass.writers.places import Region
from pycroclass.writers.work import Job

Compression = Literal["gzip", "lzf", "bitshuffle-lz4"]

_PEAKS: Final = "peaks"
PLACES: Final = {
    "image": "instrument_1/detector_1/data",
    "mask": "instrument_1/detector_1/mask",
    "label": "result_1/label",
    **{name: f"result_1/{name}" for name in OF_FRAMES},
    _PEAKS: "result_1",
}
"""Where each dataset stands below ``entry_1``."""
_FRAMES: Final = ("image", "mask")
_FILTERS: Final[dict[str | None, dict[str, Any]]] = {
    None: {},
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf", "shuffle": True},
    "bitshuffle-lz4": FILTER,
}
_AXES: Final = ("experiment_identifier", "module_identifier")


def write_cxi(
    datasets: Mapping[str, sidpy.Dataset],
    path: str | os.PathLike[str],
    *,
    event_ids: Sequence[str] | None = None,
    compression: Compression | None = "gzip",
    overwrite: bool = False,
) -> Path:
    """Compute frames block by block and write them to a new CXI file, which appears when it is whole.

    Parameters
    ----------
    datasets : mapping of str to sidpy.Dataset
        ``image`` ``(frame, y, x)`` or ``(frame, module, y, x)``, whose geometry knows pixel size, distance and wavelength; what is known
        of its frames (`column`) goes to ``entry_1/result_1``. If wanted ``mask``, 0 for a good pixel; ``label`` ``(frame)``, with the names
        of its classes; ``n_peaks`` ``(frame)`` and ``peaks`` ``(frame, peak, column)``, as `PeakFinder8` finds them; ``hit_probability``
        ``(frame)``.
    path : path
    event_ids : sequence of str, optional
        Name of each frame; by default those that ``image`` knows, else their numbers.
    compression : {"gzip", "lzf", "bitshuffle-lz4", None}
        Of frames and mask, one frame (of one module) in a piece. ``bitshuffle-lz4`` is fast, and read by programs that have the HDF5
        plug-in for it; in Python it comes with ``import hdf5plugin``.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError
        If ``image`` is missing, another name is given, there is not one event name for each frame, or the compression is unknown.
    AxisError
        If the shapes do not fit together, the geometry of ``image`` is not complete, or the table of peaks has no positions.
    WriteError
        If the file exists or cannot be written.

    Notes
    -----
    Where the panels of a detector lie side by side in one array, no place in a CXI file can say where each stands. The array is written
    as it is, and a geometry file of CrystFEL beside it, as a text, which `read` follows. Peaks of modules are counted in the modules
    one below the other, as `StackModules` puts them. CrystFEL takes peaks by ``peak_list = /entry_1/result_1`` in its geometry file, and of
    frames ``(frame, y, x)`` alone.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from pycroclass.readers import read
    >>> from pycroclass.simulate import Detector, Experiment, draw_run, simulate_run
    >>> run = draw_run(seed=1, experiment=Experiment(Detector(shape=(40, 50))))
    >>> path = write_cxi(simulate_run(run, 3), Path(mkdtemp()) / "run.cxi")
    >>> {name: dataset.shape for name, dataset in read(path).items()}
    {'image': (3, 40, 50), 'mask': (40, 50), 'label': (3,)}
    """
    target = Path(path)
    if compression not in _FILTERS:
        raise ParameterError(f"compression is one of {', '.join(map(str, _FILTERS))}, got {compression!r}")
    arrays = {name: unwrap(dataset) for name, dataset in datasets.items()}
    _check_shapes({name: array.shape for name, (array, _) in arrays.items()})
    if _PEAKS in arrays:
        _check_columns(arrays[_PEAKS][1].classes)
    image, spec = arrays["image"]
    detector, wavelength = _detector(spec.geometry, image.shape[1:])
    metadata = datasets["image"].metadata
    names = _event_ids(event_ids, metadata, image.shape[0])
    columns = _columns(metadata.get(ITEMS) or {}, image.shape[0])
    with whole_or_nothing(target, overwrite=overwrite) as partial, h5py.File(partial, "w") as file:
        tally, lock = Tally(sum(array.npartitions for array, _ in arrays.values()), None), Lock()
        with contextlib.closing(tally):
            entry = _lay_out(file, detector, names)
            _write_energy(entry, wavelength, metadata.get("photon_energies"))
            _write_facts(entry, columns, metadata.get(SELECTION))
            made = _Targets(entry, compression, partial, tally, lock)
            store([made.job(name, array, spec) for name, (array, spec) in arrays.items()])
        for name in [name for name in _FRAMES if name in arrays]:
            entry[f"data_1/{PLACES[name].rpartition('/')[2]}"] = h5py.SoftLink(f"{entry.name}/{PLACES[name]}")
    return target


@dataclass(frozen=True)
class _Targets:
    """Makes the datasets of an entry, and says how blocks get into them."""

    entry: h5py.Group
    compression: Compression | None
    file: PartialFile
    tally: Tally
    lock: Lock

    def job(self, name: str, array: da.Array, spec: Spec) -> Job:
        """What computes and writes one of them."""
        if name == _PEAKS:
            array = array.rechunk({1: -1, 2: -1})
            return Job(array, self._peaks(array, spec))
        is_packed = name in _FRAMES and self.compression == "bitshuffle-lz4"
        if is_packed:  # whole pieces, so that each is compressed once
            array = array.rechunk({-1: -1, -2: -1})
        target = BitshuffleTarget if is_packed else Hdf5Target
        return Job(array, target(name, self._dataset(name, array, spec), self.file, self.tally, self.lock))

    def _dataset(self, name: str, array: da.Array, spec: Spec) -> h5py.Dataset:
        options = dict(_FILTERS[self.compression]) if name in _FRAMES else {}
        if name in _FRAMES:
            options["chunks"] = (1,) * (array.ndim - 2) + array.shape[-2:]
        dataset = self.entry.create_dataset(PLACES[name], array.shape, array.dtype, **options)
        if name == "image":
            dataset.attrs["axes"] = ":".join((*_AXES[: array.ndim - 2], "y", "x"))
        if spec.units != "generic":
            dataset.attrs["units"] = spec.units
        if name == "label" and spec.classes:
            dataset.attrs["classes"] = list(spec.classes)
        return dataset

    def _peaks(self, array: da.Array, spec: Spec) -> _PeakTarget:
        group, (n_frames, n_peaks, _) = self.entry.require_group(PLACES[_PEAKS]), array.shape
        options = {"chunks": (storage_chunks(array)[0], n_peaks), "compression": self.compression and "gzip"}  # nearly all are zeros
        lists = {}
        for i, column in enumerate(spec.classes):
            if column in PEAK_LISTS:
                lists[i] = group.create_dataset(PEAK_LISTS[column], (n_frames, n_peaks), np.float32, **options)
                lists[i].attrs["axes"] = f"{_AXES[0]}:{COUNT}"
        count = group.create_dataset(COUNT, n_frames, np.int32)
        return _PeakTarget(count, lists, spec.classes.index("fs"), (self.file, self.tally, self.lock))


class _PeakTarget:
    """The lists of peaks of the open file: columns of tables whose rows without a peak are NaN."""

    def __init__(self, count: h5py.Dataset, lists: Mapping[int, h5py.Dataset], first: int, file: tuple[PartialFile, Tally, Lock]) -> None:
        self._count, self._lists, self._first = count, lists, first
        self._file, self._tally, self._lock = file

    def remote(self, _: Region) -> None:
        """Only this process touches the file."""
        return

    def put(self, _: int, region: Region, block: npt.NDArray[Any]) -> None:
        """Write the tables of some frames."""
        is_peak = np.isfinite(block[..., self._first])
        order = np.argsort(~is_peak, axis=1, kind="stable")
        tables = np.where(is_peak[..., None], block, 0)
        with self._tally.entered():
            with self._lock:
                self._count[region[0]] = is_peak.sum(1)
                for i, values in self._lists.items():
                    values[region[0]] = np.take_along_axis(tables[..., i], order, 1)
                self._file.check()
            self._tally.advance(_PEAKS, block)


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    if "image" not in shapes or not shapes.keys() <= PLACES.keys():
        others = [name for name in PLACES if name != "image"]
        raise ParameterError(f"wanted image and perhaps {', '.join(others)}, got {', '.join(shapes) or 'nothing'}")
    image = shapes["image"]
    allowed = {name: [image[:1]] for name in PLACES} | {"image": [image], "mask": [image[1:], image[-2:]]}
    if _PEAKS in shapes:
        allowed[_PEAKS] = [(*image[:1], *shapes[_PEAKS][1:3])] if len(shapes[_PEAKS]) == 3 else []
    if len(image) not in (3, 4) or any(shape not in allowed[name] for name, shape in shapes.items()):
        raise AxisError(
            "wanted image (frame, y, x) or (frame, module, y, x), mask (y, x) or (module, y, x), peaks (frame, peak, column) and all else "
            f"(frame); got the shapes {dict(shapes)}. Peaks of modules are found behind StackModules."
        )


def _check_columns(classes: tuple[str, ...]) -> None:
    if missing := [name for name in ("fs", "ss") if name not in classes]:
        raise AxisError(f"the table of peaks has no column {' or '.join(missing)}; its classes are {', '.join(classes) or 'none'}")


def _event_ids(given: Sequence[str] | None, metadata: Mapping[str, Any], n_frames: int) -> list[str]:
    known = metadata.get("event_ids") if given is None else given
    names = [str(i) for i in range(n_frames)] if known is None else list(map(str, known))
    if len(names) != n_frames:
        raise ParameterError(f"wanted one event name for each of {n_frames} frames, got {len(names)}")
    return names


def _columns(items: Mapping[str, Any], n_frames: int) -> dict[str, npt.NDArray[Any]]:
    """What is known of the frames, as arrays."""
    taken = {"label", *OF_FRAMES, COUNT, *PEAK_LISTS.values()}
    columns = {name: np.asarray(values) for name, values in items.items()}
    for name, values in columns.items():
        if values.shape != (n_frames,) or values.dtype.kind not in "biufSU" or name in taken or not name.strip("."):
            raise ParameterError(
                f"the column {name!r} of image cannot stand in a CXI file: wanted {n_frames} numbers or texts under a name that is none of "
                f"{', '.join(sorted(taken))}; got the shape {values.shape} and {values.dtype}"
            )
    return {name.replace("/", "_"): values for name, values in columns.items()}


def _detector(geometry: DetectorGeometry | None, shape: tuple[int, ...]) -> tuple[dict[str, Any], float]:
    """What is said of the detector, lengths and vectors in m, and the wavelength."""
    if geometry is None or geometry.pixel_size is None or geometry.distance is None or (wavelength := geometry.wavelength) is None:
        raise AxisError(f"a CXI file needs pixel size, distance and wavelength, the geometry of image is {geometry}")
    (height, width), flat = geometry.pixel_size, isinstance(geometry, Geometry)
    if isinstance(geometry, Geometry):
        if len(shape) > 2:
            raise AxisError(f"the geometry of image is of a flat detector; frames of {shape[0]} modules need a PanelGeometry")
        geometry = PanelGeometry.of_flat(geometry, (shape[0], shape[1]))
    geometry.check(shape)
    panels = sorted(geometry.panels, key=lambda panel: panel.module or 0)
    if not _are_modules(panels, shape):
        text = CrystFELGeometry.of(geometry, data="/entry_1/data_1/data").to_text()
        return {"distance": geometry.distance, "y_pixel_size": height, "x_pixel_size": width, CRYSTFEL: text}, wavelength
    corners, bases = zip(*(_in_metres(panel) for panel in panels), strict=True)
    is_one = len(shape) == 2
    described = {
        "distance": geometry.distance,
        "y_pixel_size": height if flat else float(np.linalg.norm(bases[0][0])),
        "x_pixel_size": width if flat else float(np.linalg.norm(bases[0][1])),
        "corner_position": corners[0] if is_one else np.stack(corners),
        "basis_vectors": bases[0] if is_one else np.stack(bases),
    }
    return described | ({} if flat else {"module_identifier": [panel.name for panel in panels]}), wavelength


def _are_modules(panels: Sequence[Panel], shape: tuple[int, ...]) -> bool:
    """Whether each panel is a whole array: the frame, or one module after the other."""
    numbers = [panel.module for panel in panels]
    wanted = [None] if len(shape) == 2 else list(range(shape[0]))
    return numbers == wanted and all(panel.shape == shape[-2:] for panel in panels)


def _in_metres(panel: Panel) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Corner and steps along y and x."""
    corner = np.array([panel.corner_x / panel.res, panel.corner_y / panel.res, panel.z])
    return corner, np.array([panel.ss, panel.fs]) / panel.res


def _lay_out(file: h5py.File, described: Mapping[str, Any], names: Sequence[str]) -> h5py.Group:
    """The entry with all that is known before the data."""
    file["cxi_version"] = 160
    entry: h5py.Group = file.create_group("entry_1")
    detector = entry.create_group("instrument_1/detector_1")
    for name, value in described.items():
        is_text = isinstance(value, str | list)
        detector.create_dataset(name, data=value, dtype=h5py.string_dtype() if is_text else None)
        if not is_text:
            detector[name].attrs["units"] = "m"
    entry.create_dataset(_AXES[0], data=list(names), dtype=h5py.string_dtype())
    entry[f"data_1/{_AXES[0]}"] = h5py.SoftLink(f"{entry.name}/{_AXES[0]}")
    return entry


def _write_energy(entry: h5py.Group, wavelength: float, of_frames: Any) -> None:
    energy = H_TIMES_C / wavelength if of_frames is None else np.asarray(of_frames, np.float64)
    entry["instrument_1/source_1/energy"] = energy
    entry["instrument_1/source_1/energy"].attrs["units"] = "J"


def _write_facts(entry: h5py.Group, columns: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any] | None) -> None:
    results = entry.require_group("result_1")
    for name, values in columns.items():
        is_text = values.dtype.kind in "SU"
        results.create_dataset(name, data=values.astype(object) if is_text else values, dtype=h5py.string_dtype() if is_text else None)
    if about:
        results.attrs[SELECTION] = encode(about)
