"""The pinned image: which picture a training shows to its network again and again. A person picks it, the server writes it."""

import json
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.errors import UserError
from jobs.folder import JobFolder, read_whole, write_json, write_whole

SplitName = Literal["train", "val"]

# The server's threads write to one temporary file, and the uploaded picture of the former pin goes once.
_pinning = threading.Lock()


class Pin(BaseModel):
    """An image of the dataset, by split and place, or an uploaded `file` in the job's folder and what the person called it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: SplitName | None = None
    index: int | None = None
    file: str | None = Field(default=None, pattern=r"^pinned_[0-9a-f]{16}$")
    name: str | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Pin":
        if (self.split is None) != (self.index is None) or (self.split is None) == (self.file is None):
            raise ValueError("a pin names a split and an index, or a file")
        return self

    @property
    def image(self) -> dict[str, Any]:
        """What a person calls it: `split` and `index`, or the `name` of the picture that was sent."""
        return self.model_dump(exclude_none=True, exclude={"file"})


def read_pin(folder: JobFolder) -> Pin | None:
    """The pin that was chosen last; None while nobody has chosen one. UserError when its file is damaged."""
    try:
        return Pin.model_validate_json(read_whole(folder.pin))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError("Which image is pinned cannot be read: its file is damaged. Pin an image anew.") from error


def pin_image(folder: JobFolder, split: SplitName, index: int) -> Pin:
    """Pin an image of the dataset."""
    return _pin(folder, Pin(split=split, index=index))


def pin_upload(folder: JobFolder, content: bytes, name: str) -> Pin:
    """Pin a picture that the person sent. It stays in the job's folder until another one is pinned."""
    # A name of its own, so that a worker that reads the former one never meets half of this one.
    file = f"pinned_{secrets.token_hex(8)}"
    write_whole(folder.path / file, content)
    try:
        return _pin(folder, Pin(file=file, name=name))
    except BaseException:
        (folder.path / file).unlink(missing_ok=True)
        raise


def _pin(folder: JobFolder, pin: Pin) -> Pin:
    with _pinning:
        before = None
        # A damaged one is replaced like any other.
        with suppress(UserError):
            before = read_pin(folder)
        write_json(folder.pin, json.loads(pin.model_dump_json(exclude_none=True)))
        if before is not None and before.file is not None:
            pinned_file(folder, before).unlink(missing_ok=True)
    return pin


def pinned_file(folder: JobFolder, pin: Pin) -> Path:
    """Where an uploaded picture lies."""
    assert pin.file is not None
    return folder.path / pin.file
