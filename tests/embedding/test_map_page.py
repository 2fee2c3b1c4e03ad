"""The map as a page: it holds all items, loads nothing, and in a browser shows and selects what is pointed at."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import sidpy
from collections_of_images import pictures, stack

import pycroclass as pc
from pycroclass.embedding import ImageMap, map_images, write_map
from pycroclass.errors import DataError, WriteError

BROWSER: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE: Final = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe src="map.html" style="border:0;width:{width}px;height:800px"></iframe><pre id="found"></pre><script>
addEventListener("load", () => {{
  const frame = document.querySelector("iframe"), page = frame.contentDocument, view = frame.contentWindow;
  const canvas = page.getElementById("map"), box = canvas.getBoundingClientRect();
  const numbers = page.getElementById("numbers"), found = {{}};
  const send = (kind, x, y, target = canvas) => target.dispatchEvent(
    new view.PointerEvent(kind, {{clientX: box.left + x, clientY: box.top + y, bubbles: true}}));
  send("pointerdown", 1, 1);
  for (const [x, y] of [[box.width / 2, 1], [box.width / 2, box.height - 1], [1, box.height - 1]]) send("pointermove", x, y);
  send("pointerup", 1, box.height - 1, view);
  found.left = numbers.value;
  found.tiles = page.querySelectorAll("#strip div").length;
  page.getElementById("clear").click();
  found.cleared = numbers.value + page.getElementById("count").textContent;
  page.querySelector("button[data-cluster='1']").click();
  found.cluster = numbers.value;
  numbers.value = "3, 5 and 9999";
  numbers.dispatchEvent(new view.Event("input", {{bubbles: true}}));
  found.typed = page.getElementById("count").textContent;
  const data = JSON.parse(page.getElementById("data").textContent);
  const most = Math.max(...data.x), high = Math.max(...data.y), scale = 0.92 * Math.min(box.width / most, box.height / high);
  send("pointermove", box.width / 2 + (data.x[0] - most / 2) * scale, box.height / 2 + (high / 2 - data.y[0]) * scale);
  found.tip = page.getElementById("facts").textContent;
  found.picture = page.getElementById("picture").style.backgroundImage.slice(0, 20);
  found.fetched = view.performance.getEntriesByType("resource").map((r) => r.name).filter((name) => !name.startsWith("data:"));
  found.width = page.documentElement.scrollWidth;
  found.bold = page.querySelectorAll("b").length;
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""
IMAGES, _ = pictures(45)
NAMES: Final = {1: "spots </script><b>bold</b> & more"}


@pytest.fixture(scope="module")
def images() -> sidpy.Dataset:
    return stack(IMAGES, files=[f"<b>{i}</b>.png" for i in range(45)])


@pytest.fixture(scope="module")
def found(images: sidpy.Dataset) -> ImageMap:
    return map_images(images, clustering=pc.KMeans(3, seed=0), layout=pc.TSNE(max_iterations=250))


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data: dict[str, Any] = json.loads(text)
    return data


def test_page_holds_all_and_loads_nothing(found: ImageMap, images: sidpy.Dataset, tmp_path: Path) -> None:
    page = write_map(found, images, tmp_path / "map.html", names=NAMES).read_text("utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert "<b>" not in page
    data = data_of(page)
    assert data["label"] == found.labels.tolist()
    assert data["name"][7] == "<b>7</b>.png"
    assert [cluster["size"] for cluster in data["clusters"]] == list(found.sizes.values())
    places = found.coordinates
    scale = np.ptp(places, axis=0).max()
    np.testing.assert_allclose(data["x"], (places[:, 0] - places[:, 0].min()) / scale, atol=1e-4)
    assert data["pictured"] == list(range(45))
    assert len(data["sheets"]) == 1


def test_of_many_items_some_have_a_picture(found: ImageMap, images: sidpy.Dataset, tmp_path: Path) -> None:
    page = write_map(found, images, tmp_path / "map.html", n_pictures=10).read_text("utf-8")
    assert len(set(data_of(page)["pictured"])) == 10
    assert len(data_of(page)["x"]) == 45
    assert "of which 10 have a picture here" in page


def test_what_cannot_be_written(found: ImageMap, images: sidpy.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "map.html"
    path.write_text("mine")
    with pytest.raises(WriteError, match="overwrite=True"):
        write_map(found, images, path)
    assert path.read_text() == "mine"
    with pytest.raises(DataError, match="the map is of 45 items, the dataset has 40"):
        write_map(found, pc.take(images, np.arange(40)), path, overwrite=True)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(found: ImageMap, images: sidpy.Dataset, tmp_path: Path, width: int) -> None:
    write_map(found, images, tmp_path / "map.html", names=NAMES)
    (tmp_path / "probe.html").write_text(PROBE.format(width=width))
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--virtual-time-budget=10000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path / 'probe.html'}"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    text = re.search(r'<pre id="found">(.+?)</pre>', page, re.DOTALL)
    assert text, page[-2000:]
    seen = json.loads(html.unescape(text[1]))
    x = found.coordinates[:, 0]
    left = np.flatnonzero(x < (x.min() + x.max()) / 2)
    assert seen["left"] == ", ".join(map(str, left.tolist()))
    assert seen["tiles"] == len(left)
    assert seen["cleared"] == "0"
    assert seen["cluster"] == ", ".join(map(str, np.flatnonzero(found.labels == 1).tolist()))
    assert seen["typed"] == "2"
    assert seen["tip"].split("\n")[:2] == ["item 0", "<b>0</b>.png"]
    assert seen["picture"].startswith('url("data:image/jpeg'[:20])
    assert seen["fetched"] == []
    assert seen["width"] <= width
    assert seen["bold"] == 0
