"""What every job is asked to do: the fields of its form, its JSON body and its `spec.json`, defined once.

A field's `title` is its label, its `description` the help beside it. Rules that hold "only if another field says so"
are field validators, which see the fields above theirs in `info.data`.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError


class FormFields(BaseModel):
    """Fields as a form or a JSON body gives them. Unknown ones are dropped: DIGITS's clients send some."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        str_strip_whitespace=True,
        validate_default=True,
        protected_namespaces=(),
        # A fault is told by the field's name, by whatever name of DIGITS's it was sent.
        loc_by_alias=False,
    )


class JobSpec(FormFields):
    """Base of every spec: what one job is asked to do."""

    name_field: ClassVar[str]
    kind: str

    @property
    def name(self) -> str:
        name: str = getattr(self, self.name_field)
        return name

    def paths(self) -> list[Path]:
        """The files and folders on the server that the form named: what the job's worker reads beside other jobs."""
        named = [name for name, field in type(self).model_fields.items() if _is_path(field)]
        return [Path(value) for name in named if (value := getattr(self, name))]

    def parent_id(self, jobs_dir: Path) -> str | None:
        """The job whose result this one reads, and without which it would break; None when it stands alone."""
        return None


def _is_path(field: FieldInfo) -> bool:
    """Whether the form asks here for a path on the server."""
    return isinstance(field.json_schema_extra, dict) and "path" in field.json_schema_extra


def _is_closed_to_nobody(real: Path) -> bool:
    return False


@dataclass(frozen=True)
class ClosedBut:
    """Says that folders are closed, but for what is open in them. No function: it goes to other processes."""

    closed: Sequence[Path]
    opened: Sequence[Path]

    def __call__(self, real: Path) -> bool:
        return _is_in(real, self.closed) and not _is_in(real, self.opened)


def _is_in(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


@dataclass(frozen=True)
class ServerPaths:
    """The folders of the server that forms may name. Handed to validation as its context, and to the job's worker.

    `is_closed` says of a path with every link followed that it is not for whoever asks. `never_whole` are folders with
    closed ones in them: who walks through them must not get all of it.
    """

    roots: Sequence[Path]
    is_closed: Callable[[Path], bool] = _is_closed_to_nobody
    never_whole: Sequence[Path] = ()

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        """How paths without links begin that lie in the roots; with a / at the end, so that /data-secret is not in /data."""
        return tuple(f"{root.resolve()}".rstrip("/") + "/" for root in self.roots)

    def allows(self, path: Path) -> bool:
        """Whether `path`, with every link followed, lies in one of the roots. What cannot be followed lies in none."""
        real = _real(path)
        return real is not None and self._hold(str(real)) and not self.is_closed(real)

    def holds_closed(self, path: Path) -> bool:
        """Whether a folder that `allows` lets pass is one to name a folder of, but not to be named itself."""
        real = _real(path)
        return real is not None and any(folder.resolve().is_relative_to(real) for folder in self.never_whole)

    def open(self, path: Path | str) -> BufferedReader:
        """The file of this path, to read; OSError for what is no plain file, lies in none of the roots, or is closed.

        Looks at what was opened: a link that somebody puts in its way at the same moment leads nowhere else.
        """
        # To open a pipe would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "it is no file", str(path))
            real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  quick
            if not self._hold(real) or self.is_closed(Path(real)):
                raise PermissionError(errno.EACCES, LEADS_OUT, str(path))
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb")

    def but_only(self, named: Iterable[Path]) -> "ServerPaths":
        """What a job may read that names these: of folders with closed ones in them no more than it names there itself. A link
        that lies elsewhere names nothing there.
        """
        closed = [folder.resolve() for folder in self.never_whole]
        opened = [
            place
            for path in named
            for place in self._places_as_written(path)
            if not any(folder.is_relative_to(place) for folder in closed)
        ]
        return replace(self, is_closed=ClosedBut(closed, opened))

    def _places_as_written(self, path: Path) -> Iterator[Path]:
        """Where a path lies in the folders that are never whole, if it is written so, with no link followed below them."""
        if ".." in path.parts:
            # Where that leads is a question of links.
            return
        for folder in self.never_whole:
            for way in (folder.absolute(), folder.resolve()):
                if path.is_relative_to(way):
                    yield folder.resolve() / path.relative_to(way)

    def _hold(self, real: str) -> bool:
        """Whether a path without links lies in one of the roots."""
        return f"{real}/".startswith(self._beginnings)


def _real(path: Path) -> Path | None:
    """The path with every link followed; None where it has links in a ring, or a character that no path can have."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return None


# Of a process that was told of no folders: what its user may read.
EVERYWHERE = ServerPaths((Path("/"),))
LEADS_OUT = "it leads out of the folders that this server may read"


def blank_is_none(value: Any) -> Any:
    """An empty form field means "not given"."""
    return None if isinstance(value, str) and not value.strip() else value


def server_path(value: str, info: ValidationInfo) -> Path:
    """The existing path that a form names, below the data roots.

    Without a `ServerPaths` in the context, as when a worker reads its `spec.json`, nothing is checked: the job itself
    meets the file and says what is wrong with it.
    """
    path = Path(value)
    if not isinstance(info.context, ServerPaths):
        return path
    if not path.is_absolute():
        raise PydanticCustomError("path", "The path is not absolute: it must start with /.")
    if not info.context.allows(path):
        roots = ", ".join(str(root) for root in info.context.roots)
        raise PydanticCustomError(
            "path",
            "This path lies outside the folders that this server may read ({roots}). "
            "Start the server with --data-root to add a folder.",
            {"roots": roots},
        )
    if info.context.holds_closed(path):
        raise PydanticCustomError("path", "The jobs of this server are in this folder. Name a folder of one of them.")
    return path


def is_there(look: Callable[[], bool]) -> bool:
    """What `path.is_dir` or the like says, with a sentence for a path that cannot be looked at."""
    try:
        return look()
    except OSError as error:
        raise PydanticCustomError(
            "path", "The path cannot be read: {reason}.", {"reason": error.strerror or str(error)}
        ) from error


def existing_folder(value: str, info: ValidationInfo) -> Path:
    path = server_path(value, info)
    if isinstance(info.context, ServerPaths) and not is_there(path.is_dir):
        raise PydanticCustomError("path", "Folder does not exist: {path}", {"path": str(path)})
    return path


def existing_file(value: str, info: ValidationInfo) -> Path:
    path = server_path(value, info)
    if isinstance(info.context, ServerPaths) and not is_there(path.is_file):
        raise PydanticCustomError("path", "File does not exist: {path}", {"path": str(path)})
    return path


def required_if(condition: bool, value: Any, message: str = "This field is required.") -> Any:
    """For field validators: refuse a blank `value` when `condition` holds."""
    if condition and value in (None, ""):
        raise PydanticCustomError("missing", "{message}", {"message": message})
    return value


def digits_as_number(value: Any) -> Any:
    """A form sends text; a choice between numbers needs the number."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


OptionalInt = Annotated[int | None, BeforeValidator(blank_is_none)]
OptionalFloat = Annotated[float | None, BeforeValidator(blank_is_none)]
JobName = Annotated[str, Field(min_length=1, max_length=200)]
GroupName = Annotated[str, Field(title="Group name", max_length=200)]
