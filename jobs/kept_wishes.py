"""Why a job was to stop, in its folder too: one that rests must not begin by itself when the list of jobs is lost."""

import json
import logging

from jobs.folder import JobFolder, read_whole, write_json
from jobs.statuses import Wish
from jobs.summaries import Summary

log = logging.getLogger(__name__)


def keep_wish(folder: JobFolder, wish: Wish) -> None:
    """A disk that is full or gone keeps nobody from ending a job: then the list alone knows."""
    try:
        write_json(folder.wish, wish)
    except OSError as error:
        log.warning("The wish to stop job %s stands in the list of jobs and not in its folder: %s.", folder.id, error)


def forget_wish(folder: JobFolder) -> None:
    """The job goes on."""
    try:
        folder.wish.unlink(missing_ok=True)
    except OSError as error:
        log.warning("The wish to stop job %s, which goes on, cannot be taken out of its folder: %s.", folder.id, error)


def in_words(wish: Wish | None, time_limit: float | None, summary: Summary) -> str | None:
    """Why a job was to stop that a person did not stop."""
    if wish is not Wish.TIME_LIMIT:
        return None
    reached = f"It reached its time limit of {time_limit:g} {'hour' if time_limit == 1 else 'hours'}."
    return f"{reached} Resume lets it go on from there for as long again." if summary.get("snapshots") else reached


def read_wish(folder: JobFolder) -> Wish | None:
    """None where nothing was wished, or something else is in the file's place."""
    try:
        return Wish(json.loads(read_whole(folder.wish)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
