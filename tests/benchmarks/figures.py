"""Figures with their aims, as JSON and as a table of the README."""

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import psutil

from jobs.storage.cores import available_cores

SECONDS_OF_REST = 3.0
# More than this, and threads that wait for each other make any figure come out.
BUSY_PERCENT = 5.0
README_BEGIN, README_END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Aim:
    limit: float
    kind: Literal["at most", "at least"]

    def is_met_by(self, value: float) -> bool:
        return value <= self.limit if self.kind == "at most" else value >= self.limit


def at_most(limit: float) -> Aim:
    return Aim(limit, "at most")


def at_least(limit: float) -> Aim:
    return Aim(limit, "at least")


@dataclass(frozen=True)
class Figure:
    """The median of what was measured. Without samples it was not measured, and the note says why."""

    name: str
    unit: str
    samples: Sequence[float] = ()
    aim: Aim | None = None
    note: str = ""

    @property
    def value(self) -> float | None:
        return statistics.median(self.samples) if self.samples else None

    @property
    def is_met(self) -> bool | None:
        return None if self.aim is None or self.value is None else self.aim.is_met_by(self.value)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "aim": f"{self.aim.kind} {self.aim.limit:g}" if self.aim else None,
            "met": self.is_met,
            "samples": [round(sample, 6) for sample in self.samples],
            "note": self.note,
        }

    def as_row(self) -> list[str]:
        name = f"{self.name} ({self.note})" if self.note and self.samples else self.name
        if self.value is None:
            return [name, f"not measured: {self.note}" if self.note else "not measured", "", self._aim_in_words(), ""]
        several = len(self.samples) > 1
        least, most = (in_words(end, self.unit) for end in (min(self.samples), max(self.samples)))
        met = {None: "", True: "yes", False: "**missed**"}[self.is_met]
        spread = f"{least} to {most}" if several else ""
        return [name, in_words(self.value, self.unit), spread, self._aim_in_words(), met]

    def _aim_in_words(self) -> str:
        return f"{self.aim.kind} {in_words(self.aim.limit, self.unit)}" if self.aim else ""


def in_words(value: float, unit: str) -> str:
    """A number with three digits that count, and its unit."""
    if unit == "s" and 0 < value < 1:
        return in_words(1000 * value, "ms")
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{shown} {unit}".rstrip()


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round: only what ran in the same minute can be compared."""
    return [one / other for one, other in zip(over, under, strict=True)]


def busy_percent() -> float:
    """How busy the processors are with what is none of ours. To be asked while the bench itself rests."""
    return float(psutil.cpu_percent(SECONDS_OF_REST))


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": next(models, platform.processor()),
        "cores": available_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def machine_in_words(facts: dict[str, Any]) -> str:
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB of memory, "
        f"Python {facts['python']}, torch {facts['torch']}"
    )


def as_json(figures: dict[str, list[Figure]], busy: float) -> str:
    """`busy` is how busy the machine was without the bench, in per cent."""
    groups = {title: [figure.as_json() for figure in group] for title, group in figures.items()}
    content = {"machine": machine(), "busy_percent": busy, "figures": groups}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def as_table(figures: dict[str, list[Figure]], busy: float) -> str:
    """Markdown; a heading row for each group."""
    rows = [["", "median", "least to most", "aim", "met"], ["---"] * 5]
    for title, group in figures.items():
        rows.append([f"**{title}**", "", "", "", ""])
        rows += [figure.as_row() for figure in group]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    warning = f" Others kept it {busy:.0f} % busy: these figures are noise." if busy > BUSY_PERCENT else ""
    return f"Measured on: {machine_in_words(machine())}.{warning}\n\n{table}\n"


def write_readme(readme: Path, table: str) -> None:
    """Put the table where README has the last one."""
    text = readme.read_text()
    before, begin, rest = text.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        raise SystemExit(f"{readme} has no place for the table: the lines {README_BEGIN} and {README_END}.")
    readme.write_text(f"{before}{begin}\n\n{table}\n{end}{after}")
