"""What the server logs of others' words cannot be taken for its own, and does nothing in a terminal."""

import io
import logging

import pytest

from webapp.logs import FORMAT, MOST_CHARACTERS, PlainFormatter


def logged(*words: object, error: Exception | None = None) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(PlainFormatter(FORMAT))
    record = logging.LogRecord("test", logging.WARNING, __file__, 1, "It said: %s", words, None)
    if error is not None:
        record.exc_info = (type(error), error, None)
    handler.emit(record)
    return out.getvalue()


@pytest.mark.parametrize(("words", "written"), [
    ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
    ("\x9b31m", r"\x9b31m"),
    ("gone\rfake", r"gone\rfake"),
    ("\x07\x08\x7f", r"\x07\x08\x7f"),
    ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
    ("\u2066\u200b\u2028", r"\u2066\u200b\u2028"),
    ("\udcff", r"\udcff"),
    ("déjà vu 😀\tend", "déjà vu 😀\tend"),
])  # fmt: skip
def test_what_a_terminal_would_obey_is_written_by_its_number(words: str, written: str) -> None:
    assert f"It said: {written}\n" in logged(words)


def test_a_line_that_others_wrote_is_no_record() -> None:
    text = logged(
        "end\n2026-01-01 00:00:00,000 [INFO] The password was changed.", error=ValueError("one\n2026 [INFO] two")
    )
    records = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(records) == 1
    assert "password" in text


def test_a_record_has_an_end() -> None:
    text = logged("x" * 10 * MOST_CHARACTERS)
    assert len(text) < 1.1 * MOST_CHARACTERS
    assert "characters more" in text
