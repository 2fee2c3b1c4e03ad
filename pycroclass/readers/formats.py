"""The formats that `pycroclass.read` knows, as data: what a file is named, how it begins, which module opens it.

Nothing is imported to read this table. Other packages add to it with an entry point in the group ``pycroclass.readers`` that loads a
`Format` or several; their module has the functions of the contract in `pycroclass.readers.options`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from pycroclass.errors import ParameterError

log = logging.getLogger(__name__)
_HDF5: Final = tuple((b"\x89HDF\r\n\x1a\n", offset) for offset in (0, 512, 1024, 2048))
_TIFF: Final = tuple((signature, 0) for signature in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))  # both byte orders; the last two BigTIFF
_CBF: Final = ((b"###CBF", 0), (b"\x1f\x8b", 0), (b"BZ", 0))  # plain, gzip, bzip2
_IBW: Final = tuple((signature, 0) for signature in (b"\x05\0", b"\0\x05", b"\x02\0", b"\0\x02"))  # versions 5 and 2, both byte orders


@dataclass(frozen=True)
class Format:
    """One file format.

    Parameters
    ----------
    name : str
    extensions : tuple of str
        How names of such files end, in lower case; ``?``, ``*`` and ``[0-9]`` as in a shell.
    module : str
        Imported when a file of the format is opened.
    description : str
        One line for the table of formats.
    signatures : tuple of (bytes, int)
        Bytes and where they stand; a file has one of them. None: the name alone tells.
    extra : str, optional
        Of ``pip install 'pycroclass[extra]'``, where the format needs an optional package.
    is_hdf5 : bool
        Whether it is a layout inside HDF5, which the content of the file tells.
    is_stackable : bool
        Whether many files of it make one stack; the module has ``open_files``.
    is_labelled : bool
        Whether one file of it holds, or lists, labelled images.

    Examples
    --------
    >>> bruker = Format("Bruker AFM", (".spm", ".[0-9][0-9][0-9]"), "mine", "AFM image", ((b"\\\\*File list", 0),))
    >>> bruker.matches_name("scan.001"), bruker.matches_content(b"\\\\*File list\\r\\n")
    (True, True)
    """

    name: str
    extensions: tuple[str, ...]
    module: str
    description: str
    signatures: tuple[tuple[bytes, int], ...] = ()
    extra: str | None = None
    is_hdf5: bool = False
    is_stackable: bool = False
    is_labelled: bool = False

    def matches_name(self, name: str) -> bool:
        """Whether a file of this name may be of the format."""
        return any(fnmatch(name.lower(), f"*{extension}") for extension in self.extensions)

    def matches_content(self, head: bytes, at_least: int = 1) -> bool:
        """Whether a file that begins with these bytes (2 KiB and some) is of the format, by a signature of ``at_least`` bytes."""
        return any(head.startswith(signature, offset) for signature, offset in self.signatures if len(signature) >= at_least)


def _hdf5(name: str, extensions: tuple[str, ...], module: str, description: str) -> Format:
    return Format(name, extensions, f"pycroclass.readers.{module}", description, _HDF5, is_hdf5=True)


def _images(
    name: str, extensions: tuple[str, ...], module: str, description: str, *signatures: tuple[bytes, int], extra: str | None = None
) -> Format:
    return Format(name, extensions, f"pycroclass.readers.{module}", description, signatures, extra, is_stackable=True)


def _scifi(name: str, extensions: tuple[str, ...], description: str, *signatures: tuple[bytes, int], extra: str | None = None) -> Format:
    return Format(name, extensions, "pycroclass.readers.scifireaders", description, signatures, extra)


def _labelled(name: str, extensions: tuple[str, ...], module: str, description: str, *signatures: tuple[bytes, int]) -> Format:
    return Format(name, extensions, f"pycroclass.readers.{module}", description, signatures, is_labelled=True)


_SHARD: Final = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]"
_SHARDS: Final = tuple(f"{name}{packed}" for name in (_SHARD, ".tfrecord", ".tfrecords") for packed in ("", ".gz"))
_WSXM: Final = (b"WSxM file copyright", 0)

BUILT_IN: Final = (
    _hdf5("NSID", (".h5", ".hf5", ".hdf5"), "nsid", "N-dimensional spectroscopy and imaging data, of all pycroscopy tools"),
    _hdf5("USID", (".h5", ".hf5", ".hdf5"), "usid", "Universal spectroscopy and imaging data, of pyUSID"),
    _hdf5("CXI", (".cxi", ".h5"), "cxi", "Coherent X-ray imaging: stacks of detector frames with mask and geometry"),
    _hdf5("NeXus", (".nxs", ".h5", ".hdf5", ".hdf"), "nexus", "NXmx of Eiger and other detectors, and any NXdata"),
    _hdf5("Velox EMD", (".emd",), "emd", "Thermo Fisher Velox: images, spectra and spectrum images"),
    _hdf5("EMC HDF5", (".emc", ".h5"), "emc", "photons of Dragonfly in HDF5: sparse frames"),
    _hdf5("HDF5", (".h5", ".hdf5", ".hdf", ".he5"), "hdf5", "any other HDF5 file: its numeric datasets"),
    _images("TIFF", (".tif", ".tiff"), "tiff", "TIFF stacks, pages and OME-TIFF", *_TIFF),
    _images("PNG", (".png",), "images", "PNG images", (b"\x89PNG\r\n\x1a\n", 0)),
    _images("JPEG", (".jpg", ".jpeg"), "images", "JPEG images", (b"\xff\xd8\xff", 0)),
    _images("BMP", (".bmp",), "images", "Windows bitmaps", (b"BM", 0)),
    _images("CBF", (".cbf", ".cbf.gz", ".cbf.bz2"), "cbf", "crystallographic frames with geometry", *_CBF, extra="cbf"),
    _images("SMV", (".img",), "smv", "frames of ADSC, TIMEPIX and others", (b"{\nHEADER_BYTES", 0), (b"{\r\nHEADER_BYTES", 0)),
    _images("NPY", (".npy",), "npy", "NumPy arrays, memory-mapped", (b"\x93NUMPY", 0)),
    _labelled("CSV", (".csv", ".tsv"), "table", "tables of images: a path, a label and whatever else is known of each"),
    _labelled("Parquet", (".parquet",), "parquet", "the same in Parquet", (b"PAR1", 0)),
    replace(_labelled("TFRecord", _SHARDS, "tfrecord", "labelled images of MARCO, or made for TensorFlow"), is_stackable=True),
    Format("NPZ", (".npz",), "pycroclass.readers.npy", "NumPy archives", ((b"PK", 0),)),
    Format("MRC", (".mrc", ".mrcs", ".map"), "pycroclass.readers.mrc", "electron microscopy stacks", ((b"MAP", 208),), "mrc"),
    Format("EMC", (".emc",), "pycroclass.readers.emc", "photons of Dragonfly: sparse frames, given dense"),
    Format("DM3/DM4", (".dm3", ".dm4"), "pycroclass.readers.dm", "Gatan DigitalMicrograph", ((b"\0\0\0\x03", 0), (b"\0\0\0\x04", 0))),
    _scifi("Igor IBW", (".ibw",), "Asylum Research AFM", *_IBW, extra="igor"),
    _scifi("Gwyddion", (".gwy",), "Gwyddion containers", (b"GWYP", 0), (b"GWYO", 0)),
    _scifi("Gwyddion simple field", (".gsf",), "one Gwyddion image", (b"Gwyddion Simple Field", 0)),
    _scifi("Bruker AFM", (".spm", ".[0-9][0-9][0-9]"), "Bruker and Veeco Nanoscope", (b"\\*File list", 0), (b"\\*Force file list", 0)),
    _scifi("Axz", (".axz",), "Anasys nano-IR", (b"\x1f\x8b", 0), (b"PK", 0), (b"<", 0)),
    _scifi("NT-MDT", (".mdt",), "NT-MDT AFM", (b"\x01\xb0\x93\xff", 0)),
    _scifi("Nanonis spectrum", (".dat",), "Nanonis point spectroscopy", (b"Experiment\t", 0)),
    _scifi("Nanonis grid", (".3ds",), "Nanonis grid spectroscopy", (b"Grid dim=", 0)),
    _scifi("Nanonis image", (".sxm",), "Nanonis scans", (b":NANONIS_VERSION:", 0)),
    _scifi("Nanosurf", (".nid",), "Nanosurf AFM", (b"[DataSet]", 0)),
    _scifi("Omicron ASC", (".asc",), "Scienta Omicron Matrix, exported as text"),
    _scifi("Anfatec PiFM", (".txt",), "photo-induced force microscopy, with the .int files beside it", (b";ANFATEC", 0), (b";ANFATEC", 2)),
    _scifi("WSxM image", (".top", ".stp", ".ch[0-9]*"), "WSxM images of one scan", _WSXM),
    _scifi("WSxM curve", (".cur",), "WSxM curves", _WSXM),
    _scifi("WSxM spectroscopy", (".gsi",), "WSxM images over a third quantity", _WSXM),
    _scifi("Princeton SPE", (".spe",), "Raman spectra of Princeton Instruments cameras"),
    _scifi("Zeiss CZI", (".czi",), "Zeiss microscopes; install aicspylibczi (GPL) yourself", (b"ZISRAWFILE", 0)),
    _scifi("Bruker RTO", (".rto",), "Bruker Esprit EDS spectra", (b"<?xml", 0)),
    _scifi("Nion", (".ndata",), "Nion Swift", (b"PK", 0)),
    _scifi("Igor Matrix", (), "Omicron Matrix grids exported from Igor; only where named", *_IBW, extra="igor"),
    _scifi("EDAX", (), "EDAX APEX HDF5; only where named", *_HDF5),
    _scifi("Asylum HDF5", (), "Asylum Research force maps; only where named", *_HDF5),
    *(_scifi(name, (), f"SciFiReaders.{name} in place of our own reader; only where named")
      for name in ("DMReader", "EMDReader", "ImageReader", "MRCReader", "NSIDReader", "Usid_reader")),
)  # fmt: skip
"""Formats of pycroclass itself, in the order in which an ambiguous name is decided."""


@cache
def formats() -> tuple[Format, ...]:
    """All formats: `BUILT_IN`, then those of installed plug-ins."""
    return BUILT_IN + tuple(_plugins())


def format_named(name: str) -> Format:
    """The format of a name, whatever its case.

    Raises
    ------
    ParameterError
        If there is none.
    """
    for known in formats():
        if known.name.lower() == name.lower():
            return known
    raise ParameterError(f"no format {name!r}; known are {', '.join(f.name for f in formats())}")


def _plugins() -> Iterable[Format]:
    for plugin in entry_points(group="pycroclass.readers"):
        try:
            loaded = plugin.load()
        except Exception as error:  # a broken plug-in must not take down the rest
            log.warning("plug-in %s of %s cannot be loaded: %s", plugin.name, plugin.value, error, exc_info=True)
            continue
        found = loaded if isinstance(loaded, tuple | list) else (loaded,)
        if all(isinstance(item, Format) for item in found):
            yield from found
        else:
            log.warning("plug-in %s of %s gives no Format but %r", plugin.name, plugin.value, loaded)
