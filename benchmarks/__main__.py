"""``python -m benchmarks [SUITE …]``: measure, and write table and plot of each suite."""

from __future__ import annotations

import argparse
import importlib
import time
import warnings

from benchmarks import machine, report
from benchmarks.harness import measure

SUITES = ("classify", "map_reduce", "storage", "learning", "scale", "training", "overhead", "peaks", "hits")
GPU_SUITES = ("classify_gpu",)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=(*SUITES, *GPU_SUITES, []), help=f"default: {', '.join(SUITES)}")
    parser.add_argument("--repeats", type=int, default=5, help="of each case, after one that does not count")
    parser.add_argument("--quick", action="store_true", help="fewer groups and less data; for a look, not for the record")
    parser.add_argument("--group", default="", help="measure only groups whose name holds this, and replace them in what is kept")
    parser.add_argument("--report", action="store_true", help="measure nothing; write tables and plots again")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.suites or SUITES:
        if not arguments.report:
            run(name, arguments.repeats, quick=arguments.quick, part=arguments.group)
    report.write()


def run(name: str, repeats: int, *, quick: bool, part: str = "") -> None:
    """Measure one suite, or the groups whose name holds ``part``, and keep the results."""
    suite = importlib.import_module(f"benchmarks.suites.{name}")
    results = []
    for group in suite.groups(quick=quick):
        if part not in group.name:
            continue
        start = time.perf_counter()
        print(f"\n{group.name}", flush=True)
        results.append(measure(group, repeats))
        print(report.text(results[-1]), f"({time.perf_counter() - start:.0f} s)", sep="\n", flush=True)
    if not quick:
        report.keep(name, suite.TITLE, machine.describe(), results, adds=bool(part))


if __name__ == "__main__":
    main()
