"""Results as JSON for each machine, as tables, and as plots; the documentation takes its numbers from here alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from benchmarks import machine
from benchmarks.environments import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "reference" / "benchmarks-table.md"
IMAGES = ROOT / "docs" / "images"
_COLOURS = {"ours": "#c44e00", "peer": "#8fa3b5", "limit": "#4c9a6a"}
_ORDER = ("classify", "classify_gpu", "map_reduce", "storage", "learning", "scale", "training", "overhead", "peaks", "hits")


def keep(suite: str, title: str, described: dict[str, Any], results: Sequence[dict[str, Any]], *, adds: bool = False) -> None:
    """Write ``results/<machine>-<suite>.json``; where it ``adds``, other groups stay as they were measured before."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{described['name']}-{suite}.json"
    before = json.loads(path.read_text())["results"] if adds and path.exists() else []
    groups = {result["name"]: result for result in (*before, *results)}
    content = {"suite": suite, "title": title, "date": time.strftime("%Y-%m-%d"), "machine": described, "results": list(groups.values())}
    path.write_text(json.dumps(content, indent=1) + "\n")


def write() -> None:
    """Table and plot of each suite that was measured on this machine, and the page of the documentation."""
    found = {path: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    chosen = {content["suite"]: (path, content) for path, content in found.items() if content["machine"].get("name") == machine.name()}
    sections = []
    for suite in sorted(chosen, key=_ORDER.index):
        path, content = chosen[suite]
        table = markdown(content)
        path.with_suffix(".md").write_text(table)
        _plot(content, path.with_suffix(".png"))
        image = IMAGES / f"benchmark-{suite}.png"
        image.write_bytes(path.with_suffix(".png").read_bytes())
        sections.append(f"{table}\n```{{image}} ../images/{image.name}\n:alt: {content['title']}\n```\n")
    if sections:
        PAGE.write_text("\n".join(sections))


def text(result: dict[str, Any]) -> str:
    """One group for the terminal."""
    lines = []
    for case in result["cases"]:
        if "missing" in case:
            lines.append(f"  {case['name']:34} {case['missing']}")
        else:
            numbers = f"{1e3 * case['median']:9.1f} ms  {case['rate']:9.4g} {result['unit']}/s"
            lines.append(f"  {case['name']:34} {numbers}  {_ratio(case):>20}  {case['busy_cores']:4.1f} cores {case['peak_mb']:6} MB")
    if result["of_limit"]:
        lines.append(f"  part of the limit reached: {_spread(result['of_limit'])}")
    if result["disturbed"]:
        lines.append(f"  DISTURBED: others used {result['foreign_cores']} cores meanwhile")
    return "\n".join(lines)


def markdown(content: dict[str, Any]) -> str:
    """All groups of a suite, with what they ran on."""
    return "\n".join([f"## {content['title']}", "", _setting(content), "", *_tables(content["results"])])


def _setting(content: dict[str, Any]) -> str:
    m = content["machine"]
    versions = ", ".join(f"{name} {m['versions'][name]}" for name in ("python", "torch", "numpy", "dask", "h5py") if name in m["versions"])
    device = "" if m["device"] == "none" else f", {m['device']}"
    return f"{m['processor']}, {m['cores']} cores, {m['memory_gb']} GB{device}; {versions}; {content['date']}."


def _tables(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    for result in results:
        unit = result["unit"]
        yield f"### {result['name']}"
        yield ""
        yield f"| | {unit}/s | ms per {unit} | time, ours = 1 | cores busy | peak memory, MB |"
        yield "|---|---|---|---|---|---|"
        for case in result["cases"]:
            name = f"**{case['name']}**" if case["role"] == "ours" else f"*{case['name']}*" if case["role"] == "limit" else case["name"]
            if "missing" in case:
                yield f"| {name} | {case['missing'].replace('|', '/')} | | | | |"
            else:
                each = f"{1e3 / case['rate']:.3g} | {_ratio(case)} | {case['busy_cores']:.1f} | {case['peak_mb']}"
                yield f"| {name} | {case['rate']:.3g} | {each} |"
        yield ""
        if result["of_limit"]:
            parts = " + ".join(case["name"] for case in result["cases"] if case["role"] == "limit")
            how = parts if result["limit"] == "sum" else f"the slowest of {parts}"
            yield f"Part of the limit ({how}) that is reached: {_spread(result['of_limit'])}."
            yield ""
        if result["disturbed"]:
            yield f"Disturbed: others used {result['foreign_cores']} cores meanwhile."
            yield ""


def _ratio(case: dict[str, Any]) -> str:
    return _spread(case["ratio"]) if case.get("ratio") else ""


def _spread(values: dict[str, float]) -> str:
    return f"{values['median']:.2f} ({values['low']:.2f}–{values['high']:.2f})"


def _plot(content: dict[str, Any], path: Path) -> None:
    """Bars of the time, ours = 1, one panel for each group."""
    results = [result for result in content["results"] if any(case.get("ratio") for case in result["cases"])]
    heights = [0.45 + 0.26 * len(result["cases"]) for result in results]
    figure, panels = plt.subplots(len(results), figsize=(8, sum(heights) + 0.6), height_ratios=heights, layout="constrained", squeeze=False)
    for panel, result in zip(panels[:, 0], results, strict=True):
        cases = [case for case in result["cases"] if case.get("ratio")][::-1]
        ratios = [case["ratio"] for case in cases]
        spread = [[r["median"] - r["low"] for r in ratios], [r["high"] - r["median"] for r in ratios]]
        panel.barh(
            [case["name"] for case in cases],
            [ratio["median"] for ratio in ratios],
            xerr=spread,
            color=[_COLOURS[case["role"]] for case in cases],
            error_kw={"elinewidth": 0.8, "ecolor": "#444444"},
        )
        panel.axvline(1, color=_COLOURS["ours"], lw=0.8, ls="--")
        panel.set_title(result["name"], fontsize=9, loc="left")
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel("time, pycroclass = 1 (short is fast)", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
