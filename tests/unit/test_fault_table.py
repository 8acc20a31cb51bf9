"""The table of faults names tests that there are."""

import re
from pathlib import Path

import tests.crash


def test_every_fault_of_the_table_has_its_test() -> None:
    table = tests.crash.__doc__ or ""
    named = set(re.findall(r"\btest_\w+", table))
    texts = [path.read_text() for path in Path(__file__).parents[1].glob("*/test_*.py")]
    there_are = {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    assert named - there_are == set()
    rows = table.splitlines()[4:]
    assert all("test_" in row for row in rows if row.strip()), "no fault is without a test"
