"""The server's log as text that no terminal obeys, and in which nobody writes lines but the server."""

import logging

from gunicorn.config import Config
from gunicorn.glogging import Logger

FORMAT = "%(asctime)s [%(levelname)s] %(message)s"
# Of one record: what a network printed, or a request held, may be without an end.
MOST_CHARACTERS = 20_000
CONTINUED = "    "


def start_logging() -> None:
    """Log to stderr, as every record of the server's own is to be read."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class PlainFormatter(logging.Formatter):
    """Writes what is no plain character by its number, and everything after a line's break further in than a record begins."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if len(text) > MOST_CHARACTERS:
            text = f"{text[:MOST_CHARACTERS]}… ({len(text) - MOST_CHARACTERS:,} characters more)"
        return f"\n{CONTINUED}".join(map(_plain, text.split("\n")))


def _plain(line: str) -> str:
    """Colours, cursor movements, returns and marks that turn the direction of writing are not printable."""
    return "".join(
        character if character.isprintable() or character == "\t" else ascii(character)[1:-1] for character in line
    )


class GunicornLogger(Logger):  # type: ignore[misc]
    """gunicorn's own records, which quote what was sent, in the same way."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(PlainFormatter(self.error_fmt, self.datefmt))
