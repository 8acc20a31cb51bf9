"""The tables of faults and of attacks name tests that there are."""

import re
from pathlib import Path

import tests.crash
import tests.web.test_attacks

TESTS = Path(__file__).parents[1]


def there_are() -> set[str]:
    """The name of every test."""
    texts = [path.read_text() for path in TESTS.glob("*/test_*.py")]
    return {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


def test_every_fault_of_the_table_has_its_test() -> None:
    table = tests.crash.__doc__ or ""
    named = set(re.findall(r"\btest_\w+", table))
    assert named - there_are() == set()
    rows = table.splitlines()[4:]
    assert all("test_" in row for row in rows if row.strip()), "no fault is without a test"


def test_every_attack_of_the_table_has_its_test() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \|$", tests.web.test_attacks.__doc__ or "", re.MULTILINE)[1:]
    assert len(rows) > 20
    for attack, where in rows:
        files = re.findall(r"`([a-z]+/)?(test_\w+\.py)`", where)
        named = set(re.findall(r"`(test_\w+)`", where))
        assert [file for folder, file in files if not (TESTS / (folder or "web/") / file).exists()] == [], attack
        assert named - there_are() == set(), attack
        assert files or named or "the tests of" in where, attack
