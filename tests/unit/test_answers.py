"""What a child may answer: one line to each question, and no more than was set aside for it."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.answers import AnswerLimits
from jobs.children import Launcher
from jobs.errors import (
    BadDatabase,
    BadImage,
    ChildEnded,
    EnvironmentFault,
    LayerscopeError,
    TrainingDiverged,
    UserError,
    name_for_server,
)
from jobs.predictions import NetworkChecks
from jobs.processes import LineProcess, part_of, raise_error_of
from jobs.storage.datum import BadDatum
from tests.conftest import until

LIMITS = AnswerLimits(2**20, 10_000, "Ask for less.")
SECONDS = 30.0
# How a child begins that talks to the server: `say` says anything at any time, `asked` is the next question.
BEGINNING = """
import json, os, sys, time
def say(**answer): os.write(1, json.dumps(answer).encode() + b"\\n")
def asked(): return json.loads(sys.stdin.readline())
"""
Start = Callable[[str], LineProcess]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a child that does what a text says."""
    processes: list[LineProcess] = []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with (tmp_path / "log").open("w+b") as log:

        def start(text: str) -> LineProcess:
            lines = "".join(f"    {line}\n" for line in text.strip().split("\n"))
            (tmp_path / "program.py").write_text(f"{BEGINNING}\ndef main(arguments):\n{lines}    return 0\n")
            process = LineProcess(Launcher(), "program", (), tmp_path, log, [tmp_path], wants_torch=False)
            processes.append(process)
            return process

        yield start
        for process in processes:
            process.end()


def ask(process: LineProcess, seconds: float = SECONDS, **request: Any) -> dict[str, Any]:
    return process.ask(request, seconds, LIMITS)


def test_each_question_gets_its_answer(start: Start) -> None:
    process = start("for _ in range(3):\n    request = asked()\n    say(id=request['id'], it=request['what'])")
    assert [ask(process, what=what) for what in "abc"] == [{"it": what} for what in "abc"]
    with pytest.raises(ChildEnded):
        ask(process, what="d")


def test_an_answer_ahead_of_its_question_is_handed_to_nobody(start: Start, tmp_path: Path) -> None:
    """As a network's own thread may say one, for the picture that somebody else brings next; it can guess the number."""
    waits = "while not os.path.exists('heard'):\n    time.sleep(0.01)"
    says = "say(id=2, it='forged')\nopen('said', 'w')"
    process = start(f"say(id=asked()['id'])\n{waits}\n{says}\nasked()\ntime.sleep(600)")
    assert ask(process) == {}
    (tmp_path / "heard").touch()
    until((tmp_path / "said").exists, 60, "it has said more")
    with pytest.raises(EnvironmentFault, match="before it was asked"):
        ask(process)
    assert not process.alive


@pytest.mark.parametrize("says", ["say(id=asked()['id'] - 1)", "asked(); say(it=1)", "asked(); os.write(1, b'[]\\n')"])
def test_the_answer_to_another_question_is_none(start: Start, says: str) -> None:
    process = start(f"{says}\ntime.sleep(600)")
    with pytest.raises(EnvironmentFault, match="no answer to what it was asked"):
        ask(process)
    assert not process.alive


FAR_TOO_MUCH = {
    "a line without an end": ("while True: os.write(1, b'x' * 60000)", "longer than 1 MiB"),
    "lines without an end": ("while True: os.write(1, b'{}\\n' * 20000)", "more than it was asked"),
    "many empty lists": ("os.write(1, b'[' + b'[],' * 10000 + b'[]]\\n')", "more than 10,000 values"),
    "many numbers": ("os.write(1, b'[' + b'1,' * 10000 + b'1]\\n')", "more than 10,000 values"),
    "many objects": ("os.write(1, b'[' + b'{\"a\":1},' * 2000 + b'1]\\n')", "more than 10,000 values"),
}


@pytest.mark.parametrize("what", FAR_TOO_MUCH)
def test_nobody_fills_the_memory_of_the_server(start: Start, what: str) -> None:
    says, sentence = FAR_TOO_MUCH[what]
    process = start(f"asked()\n{says}\ntime.sleep(600)")
    with pytest.raises(EnvironmentFault, match=sentence):
        ask(process)
    assert not process.alive


def test_an_answer_as_large_as_it_may_be_is_read(start: Start) -> None:
    process = start("say(id=asked()['id'], picture='x' * 1000000, values=[1.5] * 9000)")
    answer = ask(process)
    assert (len(answer["picture"]), len(answer["values"])) == (1_000_000, 9000)


def test_a_child_that_reads_nothing_keeps_nobody_waiting(start: Start) -> None:
    process = start("time.sleep(600)")
    with pytest.raises(EnvironmentFault, match="no answer within 1 s"):
        ask(process, 1, text="x" * 2**20)
    assert not process.alive


def test_a_child_that_says_a_little_all_the_time_keeps_nobody_waiting(start: Start) -> None:
    process = start("asked()\nwhile True: os.write(1, b' ')")
    with pytest.raises(EnvironmentFault, match=r"no answer within 1 s|longer than 1 MiB"):
        ask(process, 1)
    assert not process.alive


def test_who_waits_for_a_child_that_somebody_ends_learns_of_it(start: Start, tmp_path: Path) -> None:
    process = start("asked()\nopen('asked', 'w')\ntime.sleep(600)")
    ended: list[Exception] = []

    def wait() -> None:
        try:
            ask(process)
        except EnvironmentFault as error:
            ended.append(error)

    asker = threading.Thread(target=wait)
    asker.start()
    until((tmp_path / "asked").exists, 60, "it was asked")
    process.end()
    asker.join(10)
    assert isinstance(ended[0], ChildEnded)
    with pytest.raises(ChildEnded):
        ask(process)


@pytest.mark.parametrize(
    "error",
    [
        {"type": "LoginNeeded", "message": "Log in."},
        {"type": "Refused", "message": "Not yours."},
        {"type": "NoSuchJob", "message": "Gone."},
        {"type": "TrainingDiverged", "message": "No step."},
        {"type": ["UserError"], "message": {}},
        {"message": "Nameless."},
        "Nothing else.",
        [],
    ],
)
def test_a_child_raises_no_error_that_is_the_servers_own(error: Any) -> None:
    with pytest.raises(LayerscopeError) as raised:
        raise_error_of(json.loads(json.dumps({"error": error})))
    assert type(raised.value) is LayerscopeError


@pytest.mark.parametrize(("met", "told"), [
    (BadDatum("No picture."), BadDatabase),
    (TrainingDiverged("NaN.", 3), UserError),
    (BadImage("No picture."), BadImage),
])  # fmt: skip
def test_an_error_that_only_a_child_knows_is_told_as_what_it_is_a_kind_of(met: LayerscopeError, told: type) -> None:
    """The server imports nothing that opens databases, and must not call a damaged record a fault of its own."""
    with pytest.raises(told) as raised:
        raise_error_of({"error": {"type": name_for_server(met), "message": str(met)}})
    assert type(raised.value) is told


def test_an_answer_without_what_was_asked_for_is_told() -> None:
    assert part_of({"prediction": {}}, "prediction") == {}
    with pytest.raises(UserError, match="No snapshot"):
        part_of({"error": {"type": "UserError", "message": "No snapshot."}}, "prediction")
    with pytest.raises(EnvironmentFault, match="without what it was asked for, the prediction"):
        part_of({}, "prediction")


def test_checks_wait_for_their_turn_and_can_be_ended_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who presses Visualize a hundred times starts no hundred processes."""
    monkeypatch.setattr("jobs.predictions.CHECK_SECONDS", 280.0)
    checks = NetworkChecks(Launcher(), most=1, patience=280.0)
    faults: dict[str, str] = {}

    def check(name: str) -> None:
        scratch = tmp_path / name
        scratch.mkdir()
        try:
            checks.check({"text": "open('at work', 'w')\nwhile True: pass", "image_shape": [1, 28, 28]}, scratch, name)
        except (UserError, EnvironmentFault) as error:
            faults[name] = f"{type(error).__name__}: {error}"

    askers = {name: threading.Thread(target=check, args=[name]) for name in ("first", "waits", "ended")}
    askers["first"].start()
    until((tmp_path / "first" / "at work").exists, 60, "the first is tried")
    askers["ended"].start()
    until(lambda: checks.knows("ended"), 60, "it waits for its turn")
    assert checks.end("ended")
    checks._patience = 1.0
    askers["waits"].start()
    for name in ("ended", "waits"):
        askers[name].join(60)
    assert faults["ended"].startswith("UserError: The check was ended before")
    assert faults["waits"].startswith("EnvironmentFault: The server is trying 1 other networks")
    assert not (tmp_path / "waits" / "check.log").exists()
    assert checks.end("first")
    for asker in askers.values():
        asker.join(30)
    assert faults["first"].startswith("UserError: The check was ended before")


def test_a_check_that_is_ended_before_it_is_asked_for_is_not_begun(tmp_path: Path) -> None:
    """A person presses Cancel at once, and the second of two requests is read first."""
    checks = NetworkChecks(Launcher())
    assert not checks.end("cancelled at once")
    with pytest.raises(UserError, match="The check was ended before"):
        checks.check({"text": "", "image_shape": [1, 28, 28]}, tmp_path, "cancelled at once")
    assert not (tmp_path / "check.log").exists()
