"""Tables keep every column exactly, and other programs read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_data import chosen

from pycroclass.errors import ParameterError, ReadError, WriteError
from pycroclass.selection import FrameSelection, read_table, write_table

FIXED = ("file", "dataset", "index", "event", "score", "decision", "reason")
ENDINGS = pytest.mark.parametrize("ending", [".csv", ".parquet"])


def check(found: FrameSelection, wanted: FrameSelection) -> None:
    for name in FIXED:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert found.more.keys() == wanted.more.keys()
    for name, values in wanted.more.items():
        assert found.more[name].dtype.kind == values.dtype.kind
        np.testing.assert_array_equal(found.more[name], values)
    assert found.about == wanted.about


text = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@ENDINGS
@settings(max_examples=60)
@given(data=st.data())
def test_any_selection_comes_back(tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 5))
    each = [data.draw(st.sampled_from(["hit", "miss", "uncertain"])) for _ in range(n)]
    names = [data.draw(text) for _ in range(n)]
    floats = [data.draw(st.floats(width=64)) for _ in range(n)]
    selection = chosen(
        ['/data/a#b, "c".h5'] * n,
        list(range(n)),
        each,
        more={"name": np.array(names, np.str_), "flux": np.array(floats), "n": np.arange(n, dtype=np.uint8), "good": np.arange(n) > 1},
        about={"veto": {"note": '# a\n"b"', "threshold": 0.1}},
    )
    path = write_table(selection, tmp_path_factory.mktemp("any") / f"a{ending}")
    check(read_table(path), selection)


def test_pandas_reads_both(some: FrameSelection, tmp_path: Path) -> None:
    write_table(some, tmp_path / "a.csv")
    write_table(some, tmp_path / "a.parquet")
    for table in (pd.read_csv(tmp_path / "a.csv", comment="#", keep_default_na=False), pd.read_parquet(tmp_path / "a.parquet")):
        assert list(table) == list(FIXED)
        assert table["file"].tolist() == some.file.tolist()
        assert table["score"].tolist() == some.score.tolist()
        assert table["reason"].tolist() == some.reason.tolist()
    line = (tmp_path / "a.csv").read_text().splitlines()[0]
    for record in (line.removeprefix("# "), pq.read_schema(tmp_path / "a.parquet").metadata[b"pycroclass"]):
        assert json.loads(record)["about"] == some.about


def test_a_table_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("index,file,run\n4,runs/a.h5,007\n7,/data/b.h5,008\n")
    found = read_table(path)
    assert found.file.tolist() == [str(tmp_path / "runs" / "a.h5"), "/data/b.h5"]
    assert found.index.tolist() == [4, 7]
    assert found.is_kept.all()
    assert found.about == {"only_kept": True}
    path.write_text("file,index,decision,score\na.h5,0,hit,0.5\na.h5,1,miss,\n")
    found = read_table(path)
    assert found.reason.tolist() == ["listed", ""]
    assert np.isnan(found.score[1])
    assert found.about == {}


def test_tables_that_cannot_be_read(some: FrameSelection, tmp_path: Path) -> None:
    for ending, content in ((".csv", b"a,b\n1,2\n"), (".parquet", b"PAR1 no table")):
        path = tmp_path / f"a{ending}"
        with pytest.raises(ReadError, match="cannot read the table"):
            read_table(path)
        path.write_bytes(content)
        with pytest.raises(ReadError, match="has no column file and index" if ending == ".csv" else "is no table"):
            read_table(path)
    (tmp_path / "b.csv").write_text("file,index,decision\na.h5,0,maybe\n")
    with pytest.raises(ReadError, match="wanted decisions among"):
        read_table(tmp_path / "b.csv")
    for function in (lambda: read_table(tmp_path / "a.txt"), lambda: write_table(some, tmp_path / "a.txt")):
        with pytest.raises(ParameterError, match=r"a table ends in .csv or .parquet, got a.txt"):
            function()


@ENDINGS
def test_nothing_is_overwritten_unasked(some: FrameSelection, tmp_path: Path, ending: str) -> None:
    path = write_table(some, tmp_path / f"a{ending}")
    before = path.read_bytes()
    with pytest.raises(WriteError, match="exists already"):
        write_table(some.take([0]), path)
    assert path.read_bytes() == before
    write_table(some.take([0]), path, overwrite=True)
    assert len(read_table(path)) == 1
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []
