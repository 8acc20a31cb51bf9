"""How children are started: what they may know, what is theirs, and how they are ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobs.children import ChildProcess, Launcher, Order, child_environment, signal_group, start_process
from tests.conftest import until


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "spare")
    yield launcher
    launcher.close()


def program(tmp_path: Path, text: str) -> dict[str, str]:
    """The environment of a child that finds a module of this text as `program`."""
    (tmp_path / "program.py").write_text(text)
    return child_environment(tmp_path, None) | {"PYTHONPATH": str(tmp_path)}


def start(order: Order, said: Path) -> ChildProcess:
    with said.open("wb") as out, Path(os.devnull).open("rb") as nothing:
        return start_process(order, nothing.fileno(), out.fileno(), out.fileno())


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
    order = Order("program", (), tmp_path, program(tmp_path, "print('größe \\udcff')"))
    assert start(order, tmp_path / "said").wait(20) == 0
    assert (tmp_path / "said").read_text() == "größe \\udcff\n"


def test_a_child_runs_in_its_folder_with_the_descriptors_that_were_kept_for_it(tmp_path: Path) -> None:
    text = "import os, sys\nos.write(int(sys.argv[2]), f'{sys.argv[1]} {os.getcwd()}'.encode())"
    with (tmp_path / "kept").open("wb") as kept:
        order = Order("program", ("hello",), tmp_path, program(tmp_path, text), (kept.fileno(),))
        assert start(order, tmp_path / "said").wait(20) == 0
    assert (tmp_path / "kept").read_text() == f"hello {tmp_path}"


def test_a_signal_reaches_all_that_a_child_started_and_nobody_else(tmp_path: Path) -> None:
    text = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    child = start(Order("program", (), tmp_path, program(tmp_path, text)), tmp_path / "said")
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    (below,) = until(lambda: psutil.Process(child.pid).children(), 20, "the child has started another process")
    signal_group(child.pid, signal.SIGKILL)
    assert child.wait(20) == -signal.SIGKILL
    until(lambda: not below.is_running() or below.status() == psutil.STATUS_ZOMBIE, 20, "what it had started is gone")


def test_what_is_gone_needs_no_signal(tmp_path: Path) -> None:
    child = start(Order("program", (), tmp_path, program(tmp_path, "")), tmp_path / "said")
    assert child.wait(20) == 0
    signal_group(child.pid, signal.SIGTERM)


def test_a_child_that_was_no_spare_has_no_words_from_before(tmp_path: Path) -> None:
    child = start(Order("program", (), tmp_path, program(tmp_path, "raise SystemExit('why')")), tmp_path / "said")
    assert child.wait(20) == 1
    assert child.words_before_order() is None


def test_what_a_spare_said_last_is_a_fault_and_its_place(tmp_path: Path) -> None:
    child = start(Order("program", (), tmp_path, program(tmp_path, "")), tmp_path / "said")
    child.wait(20)
    child.said_as_spare = tmp_path / "spare.log"
    child.said_as_spare.write_bytes(b"a warning\n\n  File x, line 3\n    import y\nImportError: no \xff\n\n")
    assert child.words_before_order() == "File x, line 3 import y ImportError: no \ufffd"
    child.said_as_spare.unlink()
    assert child.words_before_order() is None, "it took its order"


def test_no_spare_is_started_for_a_server_that_has_ended(tmp_path: Path, launcher: Launcher) -> None:
    launcher.close()
    launcher.prepare()
    assert launcher._next is None
    assert not (tmp_path / "spare").exists()


def test_a_server_without_room_for_a_spare_starts_children_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "spare").write_text("a file where the folder should be")
    launcher = Launcher(tmp_path / "spare")
    launcher._start_spare()
    order = Order("program", (), tmp_path, program(tmp_path, "print('at work')"))
    with (tmp_path / "said").open("wb") as said, Path(os.devnull).open("rb") as nothing:
        assert launcher.start(order, nothing.fileno(), said.fileno(), said.fileno()).wait(20) == 0
    assert (tmp_path / "said").read_text() == "at work\n"
    launcher.close()


def test_logs_of_spares_that_died_are_gone_with_the_next_server(tmp_path: Path) -> None:
    (tmp_path / "spare").mkdir()
    (tmp_path / "spare" / "spare-old.log").write_text("of an earlier server")
    Launcher(tmp_path / "spare").close()
    assert list((tmp_path / "spare").iterdir()) == []
