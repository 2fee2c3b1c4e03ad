"""CBF and SMV frames."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import fabio
import numpy as np
import pytest
from fabio.compression import compByteOffset

from pycroclass.errors import ParameterError, ReadError
from pycroclass.readers import read
from pycroclass.sid import unwrap

RNG = np.random.default_rng(0)
FRAME = RNG.integers(-2, 100_000, (11, 13)).astype("<i4")
HEADER = """# Detector: PILATUS 100K
# Pixel_size 172e-6 m x 86e-6 m
# Wavelength 0.9686 A
# Detector_distance 0.351 m
# Beam_xy (6.25, 4.50) pixels"""


def packed(frame: np.ndarray, header: str = HEADER) -> bytes:
    pixels = compByteOffset(frame)
    text = f"""###CBF: VERSION 1.5
data_a
_array_data.header_convention "PILATUS_1.2"
_array_data.header_contents
;
{header}
;
_array_data.data
;
--CIF-BINARY-FORMAT-SECTION--
Content-Type: application/octet-stream;
     conversions="x-CBF_BYTE_OFFSET"
Content-Transfer-Encoding: BINARY
X-Binary-Size: {len(pixels)}
X-Binary-ID: 1
X-Binary-Element-Type: "signed 32-bit integer"
X-Binary-Element-Byte-Order: LITTLE_ENDIAN
X-Binary-Number-of-Elements: {frame.size}
X-Binary-Size-Fastest-Dimension: {frame.shape[1]}
X-Binary-Size-Second-Dimension: {frame.shape[0]}
X-Binary-Size-Padding: 4095

""".replace("\n", "\r\n")
    return text.encode() + b"\x0c\x1a\x04\xd5" + pixels + bytes(4095) + b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"


@pytest.mark.parametrize(("ending", "compress"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)])
def test_frame_with_its_geometry_and_mask(tmp_path: Path, ending: str, compress: object) -> None:
    file = tmp_path / f"a.cbf{ending}"
    file.write_bytes(compress(packed(FRAME)))
    datasets = read(file)
    np.testing.assert_array_equal(datasets["image"].compute(), FRAME)
    np.testing.assert_array_equal(datasets["image"].compute(), fabio.open(str(file)).data)
    np.testing.assert_array_equal(datasets["mask"].compute(), FRAME < 0)
    geometry = unwrap(datasets["image"])[1].geometry
    assert geometry.beam_centre == (4.5, 6.25)
    assert geometry.pixel_size == (86e-6, 172e-6)
    assert geometry.distance == 0.351
    assert geometry.wavelength == pytest.approx(0.9686e-10)
    assert "Detector: PILATUS 100K" in datasets["image"].original_metadata["header"]


def test_without_a_beam_centre_there_is_no_geometry(tmp_path: Path) -> None:
    (tmp_path / "a.cbf").write_bytes(packed(FRAME, "# Wavelength 1 A"))
    assert unwrap(read(tmp_path / "a.cbf")["image"])[1].geometry is None


def test_unknown_lengths_stay_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.cbf").write_bytes(packed(FRAME, "# Beam_xy (6.25, 4.50) pixels\n# Wavelength 0.0 A\n# Detector_distance 0 m"))
    geometry = unwrap(read(tmp_path / "a.cbf")["image"])[1].geometry
    assert (geometry.distance, geometry.wavelength, geometry.pixel_size) == (None, None, None)


@pytest.mark.parametrize(("ending", "compress"), [("", bytes), (".bz2", bz2.compress)])
def test_folder_is_a_stack(tmp_path: Path, ending: str, compress: object) -> None:
    frames = np.stack([FRAME, FRAME + 7, FRAME * 2])
    for i, frame in enumerate(frames):
        (tmp_path / f"{i}.cbf{ending}").write_bytes(compress(packed(frame)))
    datasets = read(tmp_path)
    assert [axis.name for axis in datasets["image"]._axes.values()] == ["frame", "y", "x"]
    np.testing.assert_array_equal(datasets["image"].compute(), frames)
    np.testing.assert_array_equal(datasets["mask"].compute(), FRAME < 0)
    assert unwrap(datasets["image"])[1].geometry.beam_centre == (4.5, 6.25)
    with pytest.raises(ParameterError, match="geometry"):
        read(tmp_path, size=8, fit="crop")


def test_another_shape_in_the_stack(tmp_path: Path) -> None:
    for i, frame in enumerate([FRAME, FRAME[:9]]):
        (tmp_path / f"{i}.cbf").write_bytes(packed(frame))
        (tmp_path / f"{i}.cbf.gz").write_bytes(gzip.compress(packed(frame)))
    with pytest.raises(ReadError, match="1 of 11 x 13, 1 of 9 x 13"):
        read(tmp_path / "*.cbf")
    dataset = read(tmp_path / "*.cbf.gz")["image"]
    with pytest.raises(ReadError, match=r"1\.cbf\.gz"):  # found out when it is loaded
        dataset.compute()


def test_truncated(tmp_path: Path) -> None:
    file = tmp_path / "a.cbf"
    content = packed(FRAME)
    pixels = content.index(b"\x0c\x1a\x04\xd5") + 4
    file.write_bytes(content[: pixels + 100])
    with pytest.raises(ReadError, match=r"truncated: .* announced, 100 found"):
        read(file)["image"].compute()
    file.write_bytes(content[: pixels - 10])
    with pytest.raises(ReadError, match=r"a\.cbf"):
        read(file)
    for name, compress in (("b.cbf.gz", gzip.compress), ("b.cbf.bz2", bz2.compress)):
        (tmp_path / name).write_bytes(compress(content)[:300])
        with pytest.raises(ReadError, match=r"b\.cbf"):
            read(tmp_path / name)["image"].compute()


def test_other_compressions_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.cbf").write_bytes(packed(FRAME).replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED"))
    with pytest.raises(ReadError, match="byte offsets"):
        read(tmp_path / "a.cbf")


@pytest.mark.parametrize(("order", "name"), [("<", "little_endian"), (">", "big_endian")])
def test_smv(tmp_path: Path, order: str, name: str) -> None:
    frame = RNG.integers(0, 65535, (11, 13)).astype(f"{order}u2")
    header = f"{{\nHEADER_BYTES=  512;\nDIM=2;\nBYTE_ORDER={name};\nTYPE=unsigned_short;\nSIZE1=13;\nSIZE2=11;\nDISTANCE=531.85;\n}}\f"
    for i in range(3):
        (tmp_path / f"{i}.img").write_bytes(header.encode().ljust(512) + (frame + i).astype(frame.dtype).tobytes())
    dataset = read(tmp_path / "0.img")["image"]
    np.testing.assert_array_equal(dataset.compute(), frame)
    assert dataset.original_metadata["header"]["DISTANCE"] == "531.85"
    np.testing.assert_array_equal(read(tmp_path)["image"].compute(), [(frame + i).astype("u2") for i in range(3)])
    (tmp_path / "0.img").write_bytes(header.encode().ljust(512) + frame.tobytes()[:-1])
    with pytest.raises(ReadError, match="truncated"):
        read(tmp_path / "0.img")


@pytest.mark.shared
def test_real_frames(shared: Path) -> None:
    folder = shared / "diffraction/thaumatin_grid"
    datasets = read(folder)
    assert datasets["image"].shape == (10, 2527, 2463)
    assert unwrap(datasets["image"])[1].geometry.beam_centre == (1306.96, 1261.61)
    first = sorted(folder.glob("*.cbf.bz2"))[0]
    np.testing.assert_array_equal(datasets["image"][0].compute(), fabio.open(str(first)).data)
    for name in ("TIMEPIX_SU_512-stdgoni_0001.img", "simtbx_FormatSMVJHSim_001.img", "DLS_I03_smargon_0001.cbf.gz"):
        file = shared / "diffraction/formats" / name
        np.testing.assert_array_equal(read(file)["image"].compute(), fabio.open(str(file)).data)
