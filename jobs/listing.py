"""Which jobs a table of the home page shows, and in which order: as SQL, so that only the rows of one page are read."""

import re
import sqlite3
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from jobs.registry import job_kind
from jobs.statuses import ACTIVE, ENDS

Table = Literal["running", "models", "datasets"]
TABLES: tuple[Table, ...] = get_args(Table)

_ACTIVE = ", ".join(f"'{status}'" for status in ACTIVE)
_CONDITIONS: dict[Table, str] = {
    "running": f"status IN ({_ACTIVE})",
    "models": f"family = 'model' AND status NOT IN ({_ACTIVE})",
    "datasets": f"family = 'dataset' AND status NOT IN ({_ACTIVE})",
}
# What is not in the row of a job itself, for a row of a list and for its order.
# Seconds in which a worker was at it, from each beginning to what came next or to now, and no less than none where the
# clock was set back; NULL where none was. `which` says which beginnings count.
_ELAPSED = """(SELECT sum(max(0, coalesce(
    (SELECT time FROM status_changes AS after
     WHERE after.job_id = began.job_id AND after.rowid > began.rowid ORDER BY after.rowid LIMIT 1),
    (julianday('now') - 2440587.5) * 86400) - began.time))
  FROM status_changes AS began WHERE began.job_id = jobs.id AND began.status = 'Running' AND {which})"""
_ENDS = ", ".join(f"'{status}'" for status in ENDS)
_LAST_END = (
    "(SELECT max(ended.rowid) FROM status_changes AS ended "  # noqa: S608
    f"WHERE ended.job_id = jobs.id AND ended.status IN ({_ENDS}))"
)
ELAPSED = _ELAPSED.format(which="TRUE")
# What of it counts towards a time limit: all since the job was last at an end, over pauses and crashes.
ELAPSED_SINCE_END = _ELAPSED.format(which=f"began.rowid > coalesce({_LAST_END}, 0)")
# A private job is there for its owner only. Who asks as `:reader` is NULL where everybody may see everything.
READABLE = "(:reader IS NULL OR {jobs}.private = 0 OR {jobs}.owner = :reader)"
READERS = (
    "(SELECT count(*) FROM jobs AS child WHERE child.parent_id = jobs.id "  # noqa: S608
    f"AND {READABLE.format(jobs='child')})"
)

SORTS: dict[str, str] = {
    "name": "natural_order(name)",
    "title": "title_of_kind(kind)",
    "status": "status",
    "submitted": "created",
    "elapsed": ELAPSED,
    "refs": READERS,
    "progress": "json_extract(summary, '$.progress')",
    "seconds_left": "json_extract(summary, '$.seconds_left[1]')",
    "loss (train) last": """json_extract(summary, '$."loss (train)".last')""",
    "loss (val) last": """json_extract(summary, '$."loss (val)".last')""",
}


@dataclass(frozen=True)
class Listing:
    """A table as a person wants it. `words` must all be in what the row says; `sort` is a key of SORTS; `reader` is who
    asks."""

    table: Table
    words: str = ""
    sort: str = "submitted"
    descending: bool = True
    _: KW_ONLY
    reader: str | None

    @property
    def values(self) -> dict[str, str | None]:
        """What the SQL of this listing refers to by name."""
        return {"reader": self.reader, "words": " ".join(self.words.casefold().split())}

    def total(self) -> str:
        """SQL for the number of jobs in the table, filtered or not."""
        return f"SELECT count(*) FROM jobs WHERE {self._of_table()}"  # noqa: S608

    def matching(self) -> str:
        """SQL for the number of jobs that match."""
        return f"SELECT count(*) FROM jobs WHERE {self._condition()}"  # noqa: S608

    def ordered(self) -> str:
        """SQL for the ids and names of the jobs that match, in order; what has no value comes last."""
        if self.sort == "submitted":
            order = ""
        else:
            order = f"({SORTS[self.sort]}) IS NULL, {SORTS[self.sort]} {'DESC' if self.descending else 'ASC'}, "
        newest_first = self.sort != "submitted" or self.descending
        order += "created DESC, id DESC" if newest_first else "created, id"
        return f"SELECT id, name FROM jobs WHERE {self._condition()} ORDER BY {order}"  # noqa: S608

    def _of_table(self) -> str:
        return f"{_CONDITIONS[self.table]} AND {READABLE.format(jobs='jobs')}"

    def _condition(self) -> str:
        if not self.values["words"]:
            return self._of_table()
        texts = "name, group_name, title_of_kind(kind), status, notes, cause, id, owner"
        return f"{self._of_table()} AND holds_words(:words, {texts})"


def install_functions(connection: sqlite3.Connection) -> None:
    """Teach SQLite what lists need: Unicode without case, numbers inside names, and the kinds' titles."""
    connection.create_function("natural_order", 1, _natural_order, deterministic=True)
    connection.create_function("holds_words", -1, _holds_words, deterministic=True)
    connection.create_function("title_of_kind", 1, lambda kind: job_kind(kind).title, deterministic=True)


def _natural_order(name: str) -> str:
    """A key by which "run 2" comes before "Run 10"."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(20), name.casefold())


def _holds_words(words: str, *texts: str | None) -> bool:
    text = " ".join(filter(None, texts)).casefold()
    return all(word in text for word in words.split(" "))
