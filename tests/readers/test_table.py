"""Tables of labelled images: names of columns, several scorers, and every way in which a table can be bad."""

from __future__ import annotations

import logging
import math
from collections import Counter
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_images import save

import pycroclass as pc
from pycroclass.errors import ReadError
from pycroclass.readers.table import _majority, _typed
from pycroclass.replay import Verdict


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, name in enumerate(["a.png", "plates/b.png", "plates/c.jpg"]):
        save(tmp_path / name, number)
    return tmp_path


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_columns_go_with_the_images(images: Path) -> None:
    path = table(images, "Path,label,plate,well,score\nplates/c.jpg,hit,007,1,0.5\na.png,,008,2,\nplates/b.png,miss,007,3,1.25\n")
    found = pc.read(path)
    image = found["image"]
    assert image.compute()[:, 0, 0].tolist() == [2, 0, 1]
    assert image.metadata["files"] == ["plates/c.jpg", "a.png", "plates/b.png"]
    assert image.metadata["classes"] == ["hit", "miss"]
    assert image.metadata["labels"] == found["label"].compute().tolist() == [0, -1, 1]
    assert pc.column(image, "plate").tolist() == ["007", "008", "007"]
    assert pc.column(image, "well").tolist() == [1, 2, 3]
    assert math.isnan(pc.column(image, "score")[1])
    assert image.title == "labels"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_delimiters_and_what_excel_writes(images: Path, delimiter: str, start: str) -> None:
    rows = [["file name", "class", "note"], ["a.png", "hit", '"a, b; c\td"'], ["plates\\b.png", "miss", ""]]
    path = table(images, start + "".join(delimiter.join(row) + "\r\n" for row in rows) + "\r\n")
    image = pc.read(path)["image"]
    assert image.metadata["items"] == {"note": ["a, b; c\td", ""]}
    assert image.compute()[:, 0, 0].tolist() == [0, 1]


def test_parquet_as_csv(images: Path) -> None:
    frame = pandas.DataFrame(
        {
            "image_path": ["a.png", "plates/b.png", str(images / "plates/c.jpg")],
            "label": pandas.Categorical(["hit", None, "miss"]),
            "plate": ["007", "008", None],
            "dose": [1, None, 3],
            "when": pandas.to_datetime(["2026-01-02", "2026-01-03", "2026-01-04"]),
        },
        index=[5, 6, 7],
    )
    frame.to_parquet(images / "labels.parquet")
    image = pc.read(images / "labels.parquet")["image"]
    assert image.compute()[:, 0, 0].tolist() == [0, 1, 2]
    assert image.metadata["labels"] == [0, -1, 1]
    assert list(image.metadata["items"]) == ["plate", "dose", "when"]
    assert image.metadata["items"]["plate"] == ["007", "008", ""]
    assert pc.column(image, "dose")[[0, 2]].tolist() == [1, 3]
    assert pc.column(image, "when")[0].startswith("2026-01-02")


def test_numbers_as_labels(images: Path) -> None:
    path = images / "labels.parquet"
    pandas.DataFrame({"path": ["a.png", "plates/b.png", "plates/c.jpg"], "label": [1, 0, None]}).to_parquet(path)  # 1.0, as pandas does
    assert pc.read(path)["image"].metadata["classes"] == ["0", "1"]
    assert pc.read(path, classes=["miss", "hit"])["label"].compute().tolist() == [1, 0, -1]


def test_several_scorers(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        "path,label,scorer,plate,seconds",
        "a.png,hit,anna,A,3",
        "a.png,hit,ben,A,5",
        "a.png,maybe,cleo,A,1",
        "plates/b.png,hit,anna,B,2",
        "plates/b.png,Miss,ben,B,2",
        "plates/c.jpg,miss,anna,B,4",
        "plates/c.jpg,hit,anna,B,9",
        "plates/c.jpg,miss,ben,B,9",
    ]
    with caplog.at_level(logging.WARNING):
        image = pc.read(table(images, "\n".join(rows)))["image"]
    assert image.metadata["classes"] == ["hit", "maybe", "miss"]
    assert image.metadata["labels"] == [0, -1, 2]
    assert "3 of 3 images were scored several times" in caplog.text
    assert "1 tie and are left unlabelled: plates/b.png (1 hit, 1 miss)" in caplog.text
    items = image.metadata["items"]
    assert items["plate"] == ["A", "B", "B"]
    scores = {name: values for name, values in items.items() if name.startswith("label by")}
    assert scores == {"label by anna": [0, 0, 2], "label by anna 2": [-1, -1, 0], "label by ben": [0, 2, 2], "label by cleo": [1, -1, -1]}
    assert items["seconds by anna"] == [3, 2, 4]
    assert items["seconds by cleo"][0] == 1
    assert math.isnan(items["seconds by cleo"][1])


def test_scores_without_scorers(images: Path) -> None:
    image = pc.read(table(images, "path,label\na.png,hit\na.png,hit\na.png,miss\n./plates/../plates/b.png,miss\nplates/b.png,miss\n"))
    assert image["label"].compute().tolist() == [0, 1]
    assert image["image"].metadata["items"]["label by scorer 3"] == [1, -1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 2)), min_size=1, max_size=20))
def test_majority_is_what_most_say(scores: list[tuple[int, int]]) -> None:
    rows: dict[str, list[int]] = {}
    for row, (image, _) in enumerate(scores):
        rows.setdefault(str(image), []).append(row)
    found = _majority(Path("t"), "abc", [score for _, score in scores], rows)
    for of, label in zip(rows.values(), found, strict=True):
        votes = Counter(scores[row][1] for row in of if scores[row][1] >= 0)
        most = [k for k, n in votes.items() if n == max(votes.values())]
        assert label == (most[0] if len(most) == 1 else -1)


@given(st.lists(st.one_of(st.text("0123456789.-e ", max_size=5), st.integers().map(str), st.floats(allow_nan=False).map(str)), max_size=4))
def test_numbers_lose_nothing(texts: list[str]) -> None:
    for text, value in zip(texts, _typed(texts), strict=True):
        assert ("" if value is None else str(value)) == text


def test_no_labels_at_all(images: Path) -> None:
    found = pc.read(table(images, "path,plate\na.png,A\n"))
    assert list(found) == ["image"]
    assert found["image"].metadata["items"] == {"plate": ["A"]}


def test_replay(images: Path) -> None:
    image = pc.read(table(images, "path,label\nplates/c.jpg,hit\na.png,miss\n"), classes=["miss", "hit"])["image"]
    out = pc.write({"out": pc.run(pc.Cast("float32"), image)}, images / "out.h5")
    assert pc.replay(out)[0].verdict is Verdict.IDENTICAL
    save(images / "a.png", 9)
    assert pc.replay(out)[0].verdict is Verdict.SOURCE_CHANGED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,hit\n", "no column with the paths of images.*It has id, label"),
        ("path,label\n", "has no rows"),
        ("path,label\na.png,hit,more\n", "has 3 values in row 2, wanted 2"),
        ("path,path\na.png,a.png\n", "two columns of one name"),
        ("path,label\nx.png,hit\na.png,miss\ny.png,hit\n", r"lists 2 of 3 images that are not there: x.png \(row 2\), y.png \(row 4\)"),
        ("path,label\n,hit\n", "no path in row 2"),
        ('path,label\n"a.png,hit\n', "is no table: unexpected end of data"),
        ("path,label\na.png,hit\nlabels.csv,hit\n", "do not make one stack"),
        ("path,label\nplates,hit\n", "not there: plates"),
        ("\n\n", "cannot be read as CSV"),
    ],
)
def test_bad_tables(images: Path, text: str, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        pc.read(table(images, text))


def test_unknown_labels_are_counted(images: Path) -> None:
    path = table(images, "path,label\na.png,hit\nplates/b.png,hti\n")
    with pytest.raises(ReadError, match=r"labels\.csv: the labels 'hti' \(1\) are none of the classes hit, miss"):
        pc.read(path, classes=["hit", "miss"])


def test_not_utf8_and_no_parquet(images: Path) -> None:
    (images / "labels.csv").write_bytes(b"path,label\na.png,\xff\n")
    with pytest.raises(ReadError, match="cannot be read as CSV: UnicodeDecodeError"):
        pc.read(images / "labels.csv")
    (images / "labels.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ReadError, match="cannot be read as Parquet"):
        pc.read(images / "labels.parquet")
    (images / "text.parquet").write_text("path,label")
    with pytest.raises(ReadError, match="named like Parquet"):
        pc.read(images / "text.parquet")


@pytest.mark.shared
def test_real_table_without_paths(shared: Path) -> None:
    with pytest.raises(ReadError, match="It has id, modality_auto"):
        pc.read(shared / "dsb2018_nuclei/index.csv")
