"""What people have written about a job since they asked for it. In its folder too, so that it outlives the list of jobs."""

import logging

from pydantic import BaseModel, ValidationError

from jobs.folder import JobFolder, write_json

log = logging.getLogger(__name__)


class Attributes(BaseModel):
    """Where there is no name, it is that of the form."""

    name: str | None = None
    notes: str = ""


def keep_attributes(folder: JobFolder, attributes: Attributes) -> None:
    """Write them before the list of jobs has them. Somebody may have removed the folder by hand: then there is no need."""
    if folder.path.exists():
        write_json(folder.attributes, attributes.model_dump())


def read_attributes(folder: JobFolder) -> Attributes:
    """What was kept last; nothing where nobody has written anything, or the file is damaged."""
    try:
        return Attributes.model_validate_json(folder.attributes.read_bytes())
    except FileNotFoundError:
        return Attributes()
    except ValidationError:
        log.exception("Name and notes of job %s cannot be read: they are those of its form.", folder.id)
        return Attributes()
