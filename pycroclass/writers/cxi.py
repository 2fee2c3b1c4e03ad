"""CXI files (coherent X-ray imaging): a stack of detector frames with mask, geometry, event names and labels.

Layout after F. R. N. C. Maia, The Coherent X-ray Imaging Data Bank, Nature Methods 9, 854 (2012); all values in SI. ``corner_position`` is
the outer corner of the first pixel, ``basis_vectors`` one step in y and one in x, both ``(x, y, z)`` with the beam along z.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Final, Literal

import dask.array as da
import h5py
import numpy as np
import sidpy

from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import DetectorGeometry, FloatArray, PanelGeometry
from pycroclass.readers.detector import H_TIMES_C
from pycroclass.sid import unwrap
from pycroclass.spec import Spec
from pycroclass.writers.atomic import whole_or_nothing
from pycroclass.writers.blocks import Hdf5Target, Tally, store
from pycroclass.writers.work import Job

PLACES: Final = {"image": "instrument_1/detector_1/data", "mask": "instrument_1/detector_1/mask", "label": "result_1/label"}
"""Where each dataset stands below ``entry_1``."""


def write_cxi(
    datasets: Mapping[str, sidpy.Dataset],
    path: str | os.PathLike[str],
    *,
    event_ids: Sequence[str] | None = None,
    compression: Literal["gzip", "lzf"] | None = "gzip",
    overwrite: bool = False,
) -> Path:
    """Compute frames block by block and write them to a new CXI file, which appears when it is whole.

    Parameters
    ----------
    datasets : mapping of str to sidpy.Dataset
        ``image`` (frame, y, x), whose geometry knows pixel size, distance and wavelength; if wanted ``mask`` (y, x), 0 for a good
        pixel, and ``label`` (frame), which goes to ``entry_1/result_1/label`` with the names of its classes.
    path : path
    event_ids : sequence of str, optional
        Name of each frame; their numbers by default.
    compression : {"gzip", "lzf", None}
        Of frames and mask, one frame in a piece.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError
        If ``image`` is missing, another name is given, or there is not one event name for each frame.
    AxisError
        If the shapes do not fit together, or the geometry of ``image`` is not complete.
    WriteError
        If the file exists or cannot be written.

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
    arrays = {name: unwrap(dataset) for name, dataset in datasets.items()}
    _check_shapes({name: array.shape for name, (array, _) in arrays.items()})
    in_metres, energy = _detector(arrays["image"][1].geometry)
    n_frames = arrays["image"][0].shape[0]
    names = [str(i) for i in range(n_frames)] if event_ids is None else list(event_ids)
    if len(names) != n_frames:
        raise ParameterError(f"wanted one event name for each of {n_frames} frames, got {len(names)}")
    with whole_or_nothing(target, overwrite=overwrite) as partial, h5py.File(partial, "w") as file:
        tally, lock = Tally(sum(array.npartitions for array, _ in arrays.values()), None), Lock()
        with contextlib.closing(tally):
            entry = _lay_out(file, in_metres, energy, names)
            stored = {name: _create(entry, name, array, spec, compression) for name, (array, spec) in arrays.items()}
            store([Job(arrays[name][0], Hdf5Target(name, dataset, partial, tally, lock)) for name, dataset in stored.items()])
        for name in arrays.keys() - {"label"}:
            entry[f"data_1/{PLACES[name].rpartition('/')[2]}"] = h5py.SoftLink(f"{entry.name}/{PLACES[name]}")
    return target


def _check_shapes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    if "image" not in shapes or not shapes.keys() <= PLACES.keys():
        raise ParameterError(f"wanted image and perhaps mask and label, got {', '.join(shapes) or 'nothing'}")
    image = shapes["image"]
    wanted = {"image": image, "mask": image[1:], "label": image[:1]}
    if len(image) != 3 or any(shape != wanted[name] for name, shape in shapes.items()):
        raise AxisError(f"wanted image (frame, y, x), mask (y, x) and label (frame); got the shapes {dict(shapes)}")


def _detector(geometry: DetectorGeometry | None) -> tuple[dict[str, float | FloatArray], float]:
    """Lengths and vectors of the detector in m, and the photon energy in J."""
    if isinstance(geometry, PanelGeometry):
        raise AxisError("write_cxi writes frames of a flat detector; these have panels. Put Assemble before, or use pycroclass.write.")
    if geometry is None or geometry.pixel_size is None or geometry.distance is None or geometry.wavelength is None:
        raise AxisError(f"a CXI file needs pixel size, distance and wavelength, the geometry of image is {geometry}")
    (y, x), (height, width) = geometry.beam_centre, geometry.pixel_size
    step_y, step_x = np.array([[0.0, height, 0.0], [width, 0.0, 0.0]])
    in_metres: dict[str, float | FloatArray] = {
        "distance": geometry.distance,
        "y_pixel_size": height,
        "x_pixel_size": width,
        "basis_vectors": np.stack([step_y, step_x]),
        "corner_position": np.array([0.0, 0.0, geometry.distance]) - (y + 0.5) * step_y - (x + 0.5) * step_x,
    }
    return in_metres, H_TIMES_C / geometry.wavelength


def _lay_out(file: h5py.File, in_metres: Mapping[str, float | FloatArray], energy: float, names: Sequence[str]) -> h5py.Group:
    """The entry with everything but the data."""
    file["cxi_version"] = 160
    entry: h5py.Group = file.create_group("entry_1")
    detector = entry.create_group("instrument_1/detector_1")
    for name, value in in_metres.items():
        detector[name] = value
        detector[name].attrs["units"] = "m"
    entry["instrument_1/source_1/energy"] = energy
    entry["instrument_1/source_1/energy"].attrs["units"] = "J"
    entry.create_dataset("experiment_identifier", data=list(names), dtype=h5py.string_dtype())
    entry["data_1/experiment_identifier"] = h5py.SoftLink(f"{entry.name}/experiment_identifier")
    return entry


def _create(entry: h5py.Group, name: str, array: da.Array, spec: Spec, compression: str | None) -> h5py.Dataset:
    is_image = array.ndim > 1
    chunks = (1,) * (array.ndim - 2) + array.shape[-2:] if is_image else None
    dataset = entry.create_dataset(
        PLACES[name],
        array.shape,
        array.dtype,
        chunks=chunks,
        compression=compression if is_image else None,
        shuffle=True if is_image and compression else None,
    )
    if name == "image":
        dataset.attrs["axes"] = "experiment_identifier:y:x"
    if spec.units != "generic":
        dataset.attrs["units"] = spec.units
    if name == "label" and spec.classes:
        dataset.attrs["classes"] = list(spec.classes)
    return dataset
