"""Files that go with the request that brought them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webapp.services import services


@contextmanager
def passing_file() -> Iterator[Path]:
    """A place for one file, on the disk of the data directory, for as long as the request lasts."""
    path = services().settings.uploads_dir / secrets.token_hex(16)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
