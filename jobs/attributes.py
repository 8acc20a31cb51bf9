"""What people say of a job beside its form: name, notes, and whose it is. In its folder too, so that it outlives the list."""

import logging

from pydantic import BaseModel

from jobs.folder import JobFolder, read_whole, write_json

log = logging.getLogger(__name__)


class Attributes(BaseModel):
    """Where there is no name, it is that of the form. The owner is who made the job."""

    name: str | None = None
    notes: str = ""
    owner: str | None = None
    private: bool = False


def keep_attributes(folder: JobFolder, attributes: Attributes) -> None:
    """Write them before the list of jobs has them. Somebody may have removed the folder by hand: then there is no need."""
    if folder.path.exists():
        write_json(folder.attributes, attributes.model_dump())


def read_attributes(folder: JobFolder) -> Attributes:
    """What was kept last; nothing where nobody has said anything. Where the file is damaged nobody knows for whom the job is,
    and where people log in it is for none of them."""
    try:
        return Attributes.model_validate_json(read_whole(folder.attributes))
    except FileNotFoundError:
        return Attributes()
    except ValueError:
        log.exception(
            "Owner, name and notes of job %s cannot be read. It is private; its name is that of its form.", folder.id
        )
        return Attributes(private=True)
