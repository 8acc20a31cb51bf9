"""Copies that mean harm: they are refused, and what was there stays as it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jobs.backup import Part, back_up, restore
from jobs.errors import UserError
from jobs.store import Store
from tests.unit.evil_archives import evil_zips, zip_of


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Part, Part]:
    """A list of jobs and one of accounts, with a row each."""
    data = tmp_path / "data"
    data.mkdir()
    Store(data / "layerscope.sqlite").close()
    for name, table in (("layerscope.sqlite", "kept"), ("accounts.sqlite", "users")):
        with closing(sqlite3.connect(data / name)) as connection:
            connection.executescript(f"CREATE TABLE {table} (name TEXT); INSERT INTO {table} VALUES ('ada')")
    return Part(data / "layerscope.sqlite", "kept"), Part(data / "accounts.sqlite", "users")


@pytest.mark.parametrize("what", evil_zips(Path("/outside"), "x"))
def test_a_copy_that_means_harm_changes_nothing(tmp_path: Path, parts: tuple[Part, Part], what: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    before = {part.database.name: part.database.read_bytes() for part in parts}
    make, sentence = evil_zips(outside, "layerscope.sqlite")[what]
    copy = tmp_path / "copy"
    copy.write_bytes(make(before))
    with pytest.raises(UserError, match="Nothing was changed") as refused:
        # A bomb of the real size would be more than a test should wait for.
        restore(copy, parts, most_bytes=2**25)
    assert sentence in str(refused.value)
    assert list(outside.iterdir()) == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before, (
        "nothing is left beside it"
    )


def test_what_else_is_in_a_copy_is_left_there(tmp_path: Path, parts: tuple[Part, Part]) -> None:
    before = {part.database.name: part.database.read_bytes() for part in parts}
    copy = tmp_path / "copy"
    copy.write_bytes(
        zip_of(*before.items(), ("jobs/20200101-000000-0000/spec.json", b"evil"), ("server.lock", b"evil"))
    )
    assert set(restore(copy, parts)) == {part.database for part in parts}
    kept = {path.name.partition(".before-restore")[0] for path in (tmp_path / "data").iterdir()}
    assert kept == set(before)


def test_a_copy_of_a_copy_is_the_same(tmp_path: Path, parts: tuple[Part, Part]) -> None:
    assert back_up(parts, tmp_path / "copy") == [1, 1]
    restore(tmp_path / "copy", parts)
    assert back_up(parts, tmp_path / "again") == [1, 1]
