"""Looks into users' databases and pictures for pages, in processes of their own: what is made to do harm ends no server."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

from jobs.answers import MIB, AnswerLimits
from jobs.children import Launcher
from jobs.errors import BadDatabase, ChildEnded
from jobs.folder import JobFolder
from jobs.processes import raise_error_of
from jobs.warm import WarmProcess, WarmProcesses

WARM_EXPLORERS = 2
ANSWER_SECONDS = 60.0

# A page of a hundred records, whose keys have 511 bytes at most; and a picture as a browser gets it, in base64.
RECORDS = AnswerLimits(MIB, 100_000, "Ask for fewer records.")
PICTURE = AnswerLimits(96 * MIB, 1_000, "The picture is too large to be shown.")


class Explorations(WarmProcesses):
    """Answers what a dataset's databases hold. Raises the error that the process met."""

    def __init__(self, launcher: Launcher) -> None:
        super().__init__(WARM_EXPLORERS)
        self._launcher = launcher

    def records(
        self, dataset: JobFolder, database: Path, start: int, count: int, label: int | None
    ) -> list[dict[str, Any]]:
        """`index`, `key` and `label` of `count` records from the `start`-th on; with `label`, of those that carry it."""
        request = {"wish": "records", "database": str(database), "start": start, "count": count, "label": label}
        records: list[dict[str, Any]] = self._ask(dataset, request, RECORDS)["records"]
        return records

    def picture(self, dataset: JobFolder, database: Path, index: int) -> tuple[bytes, str]:
        """One record's picture and its media type. IndexError past the last record."""
        answer = self._ask(dataset, {"wish": "picture", "database": str(database), "index": index}, PICTURE)
        if answer["content"] is None:
            raise IndexError(f"The database has no record {index:,}.")
        return base64.b64decode(answer["content"]), answer["mimetype"]

    def check_picture(self, dataset: JobFolder, picture: Path) -> None:
        """BadImage when a picture that somebody sent cannot be read."""
        with self.in_turn(dataset.id, partial(self._start, dataset)) as warm, warm.copy_of(picture) as copy:
            answer = warm.process.ask({"wish": "check", "picture": str(copy)}, ANSWER_SECONDS, RECORDS)
        raise_error_of(answer)

    def _ask(self, dataset: JobFolder, request: dict[str, Any], limits: AnswerLimits) -> dict[str, Any]:
        try:
            with self.in_turn(dataset.id, partial(self._start, dataset)) as warm:
                answer = warm.process.ask(request, ANSWER_SECONDS, limits)
        except ChildEnded as error:
            raise BadDatabase(
                f"The database {request['database']} is damaged: reading it ended a process. Copy or make it again. {error}"
            ) from error
        raise_error_of(answer)
        return answer

    def _start(self, dataset: JobFolder) -> WarmProcess:
        """A process that may read this dataset, and its databases where they lie elsewhere."""
        splits = dataset.read_dataset()["splits"].values()
        elsewhere = [dataset.source(facts["images_db"]) for facts in splits if "images_db" in facts]
        reads = [dataset.path, *elsewhere]
        return WarmProcess(self._launcher, "jobs.explorer", (), reads, dataset.path / "explorer.log", wants_torch=False)
