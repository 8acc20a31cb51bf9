"""Logs that grow without end."""

import os
from pathlib import Path

from jobs.logs import cut_log


def test_a_log_that_is_too_long_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("ab", buffering=0) as worker:
        worker.write(b"".join(b"line %d\n" % number for number in range(10_000)))
        assert cut_log(log, longest=50_000, beginning=1000, end=1000)
        worker.write(b"goes on\n")
        text = log.read_text()
        assert text.startswith("line 0\nline 1\n")
        assert "[What came in between was cut" in text
        assert text.endswith("\nline 9998\nline 9999\ngoes on\n")
        assert len(text) < 2200
        assert not cut_log(log, longest=50_000), "it is short now"
        worker.write(b"y" * 60_000)
        assert cut_log(log, longest=50_000, beginning=1000, end=1000)
        assert log.read_text().startswith("line 0\n")


def test_what_was_put_in_the_place_of_a_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 1000)
    (tmp_path / "link").symlink_to("long")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing"):
        assert not cut_log(tmp_path / name, longest=10, beginning=1, end=1)
    assert (tmp_path / "long").stat().st_size == 1000
