"""How children are started: what they may know, what is theirs, and how they are ended."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jobs.children import ChildProcess, Launcher, child_environment
from jobs.containment.confinement import Needs
from jobs.orders import Order
from jobs.worker_identity import signal_group
from tests.conftest import until


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "spare")
    yield launcher
    launcher.close()


def program(tmp_path: Path, text: str) -> dict[str, str]:
    """The environment of a child that finds a module of this text as `program`."""
    lines = "".join(f"    {line}\n" for line in text.split("\n"))
    (tmp_path / "program.py").write_text(f"import os, sys\ndef main(arguments):\n{lines}    return 0\n")
    environment = child_environment(tmp_path, None)
    return environment | {"PYTHONPATH": os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])}


def order_for(tmp_path: Path, text: str) -> Order:
    return Order("program", (), tmp_path, program(tmp_path, text), needs=Needs(reads=[tmp_path]), wants_torch=False)


def start(order: Order, said: Path) -> ChildProcess:
    with said.open("wb") as out, Path(os.devnull).open("rb") as nothing:
        return Launcher().start(order, nothing.fileno(), out.fileno(), out.fileno())


def test_a_child_gets_no_secret_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the server")
    monkeypatch.setenv("HOME", "/root")
    environment = child_environment(tmp_path, None)
    assert "SECRET" not in environment
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["HOME"] == str(tmp_path)


@pytest.mark.parametrize(("device", "visible"), [("cpu", ""), ("gpu 0", "0"), ("gpu 3", "3")])
def test_a_child_sees_its_own_device_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    environment = child_environment(tmp_path, device)
    assert environment["CUDA_VISIBLE_DEVICES"] == visible
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert child_environment(tmp_path, None)["CUDA_VISIBLE_DEVICES"] == "0,1,2,3", "no device: as the server has it"


def test_a_child_writes_any_name_whatever_the_machine_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    order = order_for(tmp_path, "print('größe \\udcff')")
    assert start(order, tmp_path / "said").wait(60) == 0
    assert (tmp_path / "said").read_text() == "größe \\udcff\n"


def test_a_child_runs_in_its_folder_with_the_descriptors_that_were_kept_for_it(tmp_path: Path) -> None:
    text = "os.write(int(arguments[1]), f'{arguments[0]} {os.getcwd()}'.encode())"
    with (tmp_path / "kept").open("wb") as kept:
        order = replace(order_for(tmp_path, text), arguments=("hello",), kept=(kept.fileno(),))
        assert start(order, tmp_path / "said").wait(60) == 0
    assert (tmp_path / "kept").read_text() == f"hello {tmp_path}"


def test_a_signal_reaches_all_that_a_child_started_and_nobody_else(tmp_path: Path) -> None:
    text = "import time\nos.fork()\ntime.sleep(60)"
    environment, needs = program(tmp_path, text), Needs(reads=[tmp_path], starts_processes=True)
    child = start(Order("program", (), tmp_path, environment, needs=needs), tmp_path / "said")
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    (below,) = until(lambda: psutil.Process(child.pid).children(), 60, "the child has started another process")
    signal_group(child.pid, signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    until(lambda: not below.is_running() or below.status() == psutil.STATUS_ZOMBIE, 60, "what it had started is gone")


def test_what_is_gone_needs_no_signal(tmp_path: Path) -> None:
    child = start(order_for(tmp_path, ""), tmp_path / "said")
    assert child.wait(60) == 0
    signal_group(child.pid, signal.SIGTERM)


def test_a_child_that_has_begun_has_no_words_from_before(tmp_path: Path) -> None:
    child = start(order_for(tmp_path, "raise SystemExit('why')"), tmp_path / "said")
    assert child.wait(60) == 1
    assert child.words_before_order() is None
    assert (tmp_path / "said").read_text() == "why\n"


def test_what_a_child_said_before_it_began_is_a_fault_and_its_place(tmp_path: Path) -> None:
    order = order_for(tmp_path, "")
    (tmp_path / "sitecustomize.py").write_text(
        "raise SystemExit('\\n  here,  \\n there \\n\\nImportError: no \\udcff')"
    )
    child = start(order, tmp_path / "said")
    child.wait(60)
    assert child.words_before_order() == "here, there ImportError: no \\udcff"
    assert (tmp_path / "said").read_text() == ""


def test_no_spare_is_started_for_a_server_that_has_ended(tmp_path: Path, launcher: Launcher) -> None:
    launcher.close()
    launcher.prepare()
    assert launcher._next is None
    assert not (tmp_path / "spare").exists()


def test_a_server_without_room_for_a_spare_starts_children_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "spare").write_text("a file where the folder should be")
    launcher = Launcher(tmp_path / "spare")
    launcher._start_spare()
    order = order_for(tmp_path, "print('at work')")
    with (tmp_path / "said").open("wb") as said, Path(os.devnull).open("rb") as nothing:
        assert launcher.start(order, nothing.fileno(), said.fileno(), said.fileno()).wait(60) == 0
    assert (tmp_path / "said").read_text() == "at work\n"
    launcher.close()
