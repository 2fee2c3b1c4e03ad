"""The report in a real browser, from disk: nothing is fetched, nothing is missing, nothing sticks out, on a laptop and on a phone."""

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
from classified import bundle, evaluation, images

from pycroclass.evaluation import OperatingPoint
from pycroclass.reporting import report

BROWSER: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE: Final = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe src="report.html" style="border:0;width:{width}px;height:{height}px"></iframe><pre id="found"></pre><script>
addEventListener("load", () => {{
  const frame = document.querySelector("iframe"), page = frame.contentDocument, view = frame.contentWindow;
  const box = (e) => e.getBoundingClientRect();
  const scrolls = (e) => e && (/auto|scroll/.test(view.getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const seen = (e) => e.offsetParent !== null && box(e).width > 0;
  document.getElementById("found").textContent = JSON.stringify({{
    width: page.documentElement.scrollWidth,
    broken: [...page.images].filter((i) => !i.complete || !i.naturalWidth).map((i) => i.alt),
    flat: [...page.images].filter((i) => box(i).height < 20).map((i) => i.alt),
    fetched: view.performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:")),
    outside: [...page.querySelectorAll("main *, header *")].filter(
      (e) => seen(e) && box(e).right > {width} + 1 && !scrolls(e)).map((e) => e.outerHTML.slice(0, 80)),
    small: [...page.querySelectorAll("p, td, th, dd, dt, li, figcaption, small")].filter(
      (e) => seen(e) && parseFloat(view.getComputedStyle(e).fontSize) < 12.9).map((e) => e.outerHTML.slice(0, 80)),
    lost: [...page.querySelectorAll("nav a")].map((a) => a.hash.slice(1)).filter((id) => !page.getElementById(id)),
    figures: [...page.querySelectorAll(".picture img")].map((i) => Math.round(box(i).width)),
    columns: view.getComputedStyle(page.querySelector(".tiles")).gridTemplateColumns.split(" ").length,
    pairs: [...page.querySelectorAll(".pair")].map((p) => [...p.children].map((i) => [box(i).width, box(i).height].map(Math.round))),
  }});
}});
</script>"""

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def look(folder: Path, width: int, height: int = 900) -> dict[str, Any]:
    """What a browser with a window of that size makes of ``report.html``."""
    (folder / "probe.html").write_text(PROBE.format(width=width, height=height))
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--virtual-time-budget=10000", f"--user-data-dir={folder / 'profile'}", "--dump-dom", f"file://{folder / 'probe.html'}"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="found">(.+?)</pre>', page, re.DOTALL)
    assert found, page[-2000:]
    content: dict[str, Any] = json.loads(html.unescape(found[1]))
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    names = ("clear", "crystal, or what a person who was in a hurry took for one", "precipitate<b>")
    data = images()
    data.metadata["classes"] = list(names)
    data.metadata["files"] = [f"a_very_long_folder_name_without_a_space/drop_{i:09}.png" for i in range(90)]
    seen = evaluation(names).at([OperatingPoint("clear", 0.3, "sensitivity 0.98, conformal")])
    report(seen, folder / "report.html", bundle=bundle(names), dataset=data)
    return folder


@pytest.mark.parametrize("width", [360, 390, 820, 1280])
def test_fits_every_width(folder: Path, width: int) -> None:
    found = look(folder, width)
    assert found["broken"] == []
    assert found["flat"] == []
    assert found["fetched"] == []
    assert found["outside"] == []
    assert found["lost"] == []
    assert found["small"] == []
    assert found["width"] <= width
    assert min(found["figures"]) >= min(320, width - 40)  # as drawn, so that letters are not shrunk
    assert found["columns"] == 1 if width < 500 else found["columns"] >= 3
    sizes = np.array(found["pairs"])
    assert (abs(sizes[:, 0] - sizes[:, 1]) <= 1).all()  # item and Grad-CAM are of one size, and square as the item is
    assert (abs(sizes[..., 0] - sizes[..., 1]) <= 1).all()


def test_the_probe_sees_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    bad = '<main id="main"><p style="width:700px;font-size:9px">wide</p><img src="data:image/png;base64,AA" alt="broken">'
    (tmp_path / "report.html").write_text(page.replace('<main id="main">', bad), encoding="utf-8")
    found = look(tmp_path, 390)
    assert found["broken"] == ["broken"]
    assert found["width"] > 390
    assert found["outside"][0].startswith("<p style")
    assert found["small"][0].startswith("<p style")
