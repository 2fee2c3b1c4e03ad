"""Small files in the layouts of Nanonis, written here, through the readers of SciFiReaders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pycroclass.readers import read

GRID = """Grid dim="4 x 4"
Grid settings=1E-8;2E-8;8E-9;4E-9;0E+0
Sweep Signal="Bias (V)"
Fixed parameters="Sweep Start;Sweep End"
Experiment parameters="X (m);Y (m);Z (m);Z offset (m);Settling time (s);Integration time (s);Z-Ctrl hold;Final Z (m)"
# Parameters (4 byte)=10
Experiment size (bytes)=40
Points=5
Channels="Current (A);LockinX (V)"
Experiment=Experiment
Date="01.01.2020 10:00:00"
User=
:HEADER_END:
"""
SCAN = """:NANONIS_VERSION:
2
:REC_DATE:
 01.01.2020
:REC_TIME:
10:00:00
:ACQ_TIME:
       1.0
:SCAN_PIXELS:
       3       3
:SCAN_TIME:
             1.0E+0             1.0E+0
:SCAN_RANGE:
           6.0E-9           3.0E-9
:SCAN_OFFSET:
             0.0E+0         0.0E+0
:SCAN_ANGLE:
            0.0E+0
:SCAN_DIR:
down
:BIAS:
            1.0E-1
:DATA_INFO:
\tChannel\tName\tUnit\tDirection\tCalibration\tOffset
\t14\tZ\tm\tboth\t1.0E+0\t0.0E+0

:SCANIT_END:
"""


def test_grid(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 20), ">f4")
    pixels[..., :2] = -1, 1
    pixels[..., 10:15] = np.arange(16).reshape(4, 4, 1)
    path = tmp_path / "grid.3ds"
    path.write_bytes(GRID.replace("\n", "\r\n").encode() + pixels.tobytes())
    datasets = read(path)
    current = datasets["Current (A)"]
    y, x, bias = (current._axes[i] for i in range(3))
    assert list(datasets) == ["Current (A)", "LockinX (V)"]
    np.testing.assert_allclose(y.values, np.arange(4) * 1e-9)
    np.testing.assert_allclose(x.values, np.arange(4) * 2e-9)
    np.testing.assert_allclose(bias.values, [-1, -0.5, 0, 0.5, 1])
    assert (y.units, x.units, bias.units, current.units) == ("m", "m", "V", "A")
    np.testing.assert_array_equal(current.compute()[..., 3], np.arange(16).reshape(4, 4))


def test_scan(tmp_path: Path) -> None:
    frames = np.arange(18, dtype=">f4").reshape(2, 3, 3)
    path = tmp_path / "scan.sxm"
    path.write_bytes(SCAN.encode() + b"\n\n\x1a\x04" + frames.tobytes())
    datasets = read(path)
    assert list(datasets) == ["Z [forward] (m)", "Z [backward] (m)"]
    forward = datasets["Z [forward] (m)"]
    y, x = (forward._axes[i] for i in range(2))
    np.testing.assert_allclose(y.values, np.arange(3) * 1e-9)
    np.testing.assert_allclose(x.values, np.arange(3) * 2e-9)
    assert (y.name, x.name, y.units, forward.units) == ("y", "x", "m", "m")


@pytest.mark.parametrize("column", ["Z rel (m)", "Bias calc (V)"])
def test_table(tmp_path: Path, column: str) -> None:
    path = tmp_path / "spectrum.dat"
    path.write_text(f"Experiment\tspectroscopy\t\n\n[DATA]\n{column}\tCurrent (A)\tCurrent (A) [filt]\n0\t1\t2\n1\t3\t4\n2\t5\t6\n")
    datasets = read(path)
    assert list(datasets) == ["Current (A)", "Current (A) [filt]"]
    dataset = datasets["Current (A) [filt]"]
    assert dataset._axes[0].name == column.split(" (")[0]
    assert (dataset.quantity, dataset.units, dataset._axes[0].units) == ("Current [filt]", "A", column[-2])
    np.testing.assert_array_equal(dataset.compute(), [2, 4, 6])
