"""`python -m tests.benchmarks`: measure, print the table, keep JSON."""

import argparse
import importlib
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest

from tests.benchmarks.bench import QUICK, REPOSITORY, Bench, Scale
from tests.benchmarks.figures import Figure, as_json, as_table, busy_percent, write_readme

# Module and title of each measurement, in the order of the table.
MEASUREMENTS = {
    "epoch_time": "Training on the CPU",
    "live_layers": "What watching costs the training",
    "live_delay": "From step to browser",
    "job_start": "From Create to the first point",
    "dataset_creation": "Making datasets",
    "server_start": "The server",
    "warm_prediction": "Test One",
    "home_page": "Home page",
    "long_curve": "A long curve",
    "gpu": "On a GPU",
}


def main() -> int:
    options = parse_options()
    # Whoever ends it wants the server and the temporary files gone, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scale = QUICK if options.quick else Scale()
    measured: dict[str, list[Figure]] = {}
    busy = busy_percent()
    with tempfile.TemporaryDirectory(prefix="layerscope-bench-", dir=options.scratch) as scratch:
        bench = Bench(Path(scratch), scale, options.data)
        try:
            for name in options.names or MEASUREMENTS:
                began = time.monotonic()
                measured[MEASUREMENTS[name]] = measure(name, bench)
                print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
                # After each: what was measured before a fault or a person's Ctrl+C is kept.
                options.output.write_text(as_json(measured, busy))
        finally:
            bench.close()
    busy = max(busy, busy_percent())
    options.output.write_text(as_json(measured, busy))
    table = as_table(measured, busy)
    print(table)
    if options.write_readme:
        write_readme(REPOSITORY / "README.md", table)
    return 0 if all(figures for figures in measured.values()) else 1


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of: {', '.join(MEASUREMENTS)}")
    parser.add_argument(
        "--data", type=Path, help="what `layerscope download-data mnist` wrote; else scikit-learn's digits"
    )
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="default: bench.json")
    parser.add_argument("--scratch", type=Path, help="where temporary files go")
    parser.add_argument("--quick", action="store_true", help="only see that all of it runs; the figures mean nothing")
    parser.add_argument("--write-readme", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASUREMENTS):
        parser.error(f"There is no {', '.join(sorted(unknown))}. There are: {', '.join(MEASUREMENTS)}.")
    options.data = options.data and options.data.resolve()
    return options


def measure(name: str, bench: Bench) -> list[Figure]:
    """The figures of one measurement; none, and the reason on the screen, when it failed."""
    try:
        figures: list[Figure] = importlib.import_module(f"tests.benchmarks.{name}").measure(bench)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  the others shall still be measured
        traceback.print_exc()
        return []
    return figures


if __name__ == "__main__":
    sys.exit(main())
