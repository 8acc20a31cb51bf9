"""Snapshots are whole, and are read without running anything in them."""

import errno
import io
import json
import os
import pickle
import random
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from jobs.errors import UserError
from jobs.folder import JobFolder
from jobs.networks.contract import Network
from jobs.training.checkpoints import Position, load_snapshot, save_snapshot, set_random_state
from jobs.training.snapshot_files import (
    newest_good_snapshot,
    newest_step,
    newest_whole,
    of_epoch,
    passing,
    remove_half_snapshots,
    write_snapshot,
)
from jobs.training.solvers import make_optimizer


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def save(folder: JobFolder, step: int = 14) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = make_optimizer("SGD", model.parameters(), 0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    position = Position(step, 10, 30)
    save_snapshot(of_epoch(folder, position.epoch), Network(model), optimizer, position, {"lr_policy": "step"}, seed=5)
    return model


def test_snapshot_holds_all_that_a_training_is(folder):
    model = save(folder)
    assert folder.snapshot_epochs() == [2]
    drawn = [torch.rand(1).item(), random.random(), np.random.random(), np.random.randn()]
    content = load_snapshot(folder, 2)
    assert torch.equal(content["model"]["weight"], model.weight)
    assert content["optimizer"]["state"][0]["momentum_buffer"].shape == (2, 3)
    assert content["schedule"] == {"lr_policy": "step"}
    assert content["position"]["epochs_done"] == 1.4
    assert content["seed"] == 5
    set_random_state(content["random_state"])
    assert [torch.rand(1).item(), random.random(), np.random.random(), np.random.randn()] == drawn


def test_last_step_of_an_epoch_belongs_to_it():
    assert [Position(step, 10, 30).epoch for step in (0, 1, 10, 11, 30)] == [0, 1, 1, 2, 3]


def test_writing_leaves_no_halves(folder):
    save(folder)
    assert {path.name for path in folder.snapshots.iterdir()} == {"snapshot_2.pt", "snapshot_2.json"}


def test_absent_snapshot_says_which_there_are(folder):
    save(folder)
    with pytest.raises(UserError, match=r"no snapshot of epoch 7\. There are: 2\."):
        load_snapshot(folder, 7)


def test_damaged_snapshot_is_a_sentence(folder):
    save(folder)
    folder.snapshot(2).write_bytes(folder.snapshot(2).read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read"):
        load_snapshot(folder, 2)


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_code_in_a_snapshot_is_not_run(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save(folder)
    content = io.BytesIO()
    torch.save({"model": Bomb()}, content)
    write_snapshot(of_epoch(folder, 2), content.getvalue(), 14)
    with pytest.raises(UserError, match="cannot be read"):
        load_snapshot(folder, 2)
    folder.snapshot(3).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="cannot be read"):
        load_snapshot(folder, 3)
    assert not Path("exploded").exists()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(("damage", "file", "words"), [
    (truncate, "snapshot_3.pt", "it has 500 bytes, and "),
    (flip_a_bit, "snapshot_3.pt", "its content is not what was written"),
    (Path.unlink, "snapshot_3.json", "its manifest is missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:40]), "snapshot_3.json", "its manifest cannot be read"),
    (lambda path: path.write_text("[1, 2]"), "snapshot_3.json", "its manifest cannot be read"),
    (lambda path: path.write_text(json.dumps({"epoch": None})), "snapshot_3.json", "its manifest cannot be read"),
    (lambda path: path.write_text('{"epoch": 1e999}'), "snapshot_3.json", "its manifest cannot be read"),
    (lambda path: path.write_text("[" * 9999), "snapshot_3.json", "its manifest cannot be read"),
    (lambda path: os.truncate(path, 2**40), "snapshot_3.json", "its manifest cannot be read"),
    (into_a_folder, "snapshot_3.json", "its manifest cannot be read"),
    (into_a_folder, "snapshot_3.pt", "it cannot be read (it is no file)"),
])  # fmt: skip
def test_a_damaged_snapshot_is_passed_over_with_a_warning(
    folder: JobFolder, damage: Callable[[Path], None], file: str, words: str
) -> None:
    save(folder, 20)
    save(folder, 30)
    newest = newest_good_snapshot(folder)
    assert (newest.snapshot, newest.damaged, newest_step(folder)) == (of_epoch(folder, 3), {}, 30)
    damage(folder.snapshots / file)
    newest = newest_good_snapshot(folder)
    assert newest.snapshot == of_epoch(folder, 2)
    assert list(newest.damaged) == [of_epoch(folder, 3)]
    assert newest.damaged[of_epoch(folder, 3)].startswith(f"The snapshot of epoch 3 is damaged: {words}")


@pytest.mark.parametrize("name", ["snapshot_²", "snapshot_٣", "snapshot_03", "passing_²_3", "passing_3_03"])
def test_what_has_the_name_of_no_snapshot_is_none(folder: JobFolder, name: str) -> None:
    save(folder)
    (folder.snapshots / f"{name}.pt").touch()
    assert folder.snapshot_epochs() == [2]
    assert newest_good_snapshot(folder).damaged == {}
    assert newest_step(folder) == 14


def test_without_a_good_snapshot_there_is_none_to_go_on_from(folder: JobFolder) -> None:
    assert newest_good_snapshot(folder).snapshot is None
    save(folder)
    assert newest_step(folder) == 14
    truncate(folder.snapshot(2))
    newest = newest_good_snapshot(folder)
    assert newest.snapshot is None
    assert list(newest.damaged) == [of_epoch(folder, 2)]


def test_one_flipped_bit_of_the_weights_is_seen_when_a_snapshot_is_loaded(folder: JobFolder) -> None:
    save(folder)
    flip_a_bit(folder.snapshot(2))
    with pytest.raises(
        UserError, match=r"snapshot after 1\.4 epochs cannot be read \(its content is not what was written\)"
    ):
        load_snapshot(folder, 2)


def test_a_snapshot_of_an_older_version_has_no_manifest_and_can_be_tested(folder: JobFolder) -> None:
    save(folder)
    of_epoch(folder, 2).manifest_path.unlink()
    assert load_snapshot(folder, 2)["seed"] == 5


def is_change(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether Python is to open a file for writing or a folder, which is made to last, or to rename or remove something."""
    if event == "open":
        flags = arguments[2]
        assert isinstance(flags, int)
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY))
    return event in ("os.rename", "os.remove")


def dies_before_change(number: int, work: Callable[[], None]) -> bool:
    """Do it in a process that is killed before a change, when it has made so many; whether it was."""
    child = os.fork()
    if not child:
        left = iter(range(number))

        def count_down(event: str, arguments: tuple[object, ...]) -> None:
            if is_change(event, arguments) and next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count_down)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("step", [17, 14], ids=["further on", "the same step, and its validation"])
def test_whenever_a_worker_dies_while_it_replaces_a_snapshot_there_is_a_good_one(tmp_path: Path, step: int) -> None:
    found = set()
    for number in count():
        folder = JobFolder(tmp_path / str(number))
        folder.path.mkdir()
        write_snapshot(of_epoch(folder, 2), b"paused", 14, epochs_done=1.4)
        has_died = dies_before_change(
            number, lambda folder=folder: write_snapshot(of_epoch(folder, 2), b"later", step, epochs_done=step / 10)
        )
        newest, whole = newest_good_snapshot(folder).snapshot, newest_whole(folder)
        assert newest is not None
        content = newest.path.read_bytes()
        found.add((newest.path.name, content))
        assert newest_step(folder) == (step if content == b"later" else 14), "what Resume is allowed by"
        assert whole is not None
        assert whole.taken_after == (step / 10 if content == b"later" else 1.4)
        if not has_died:
            break
        # The next worker removes what is in its way, and comes to the same place.
        told = remove_half_snapshots(folder)
        assert told == ([] if folder.snapshot(2).exists() else [2])
        for damaged in newest_good_snapshot(folder).damaged:
            assert damaged == of_epoch(folder, 2), "the one that is not finished, and no other"
            damaged.set_aside()
        write_snapshot(of_epoch(folder, 2), b"later", step)
        assert newest_good_snapshot(folder).snapshot == of_epoch(folder, 2)
        assert passing(folder, 2, 14).fault_on_disk() is None or content == b"later"
        assert not list(folder.snapshots.glob(".*"))
    assert number > 6
    assert found == {("snapshot_2.pt", b"paused"), ("passing_2_14.pt", b"paused"), ("snapshot_2.pt", b"later")}


def fails_at_change(number: int, folder: JobFolder) -> bool:
    """Replace the snapshot in a process whose disk fails once, at the change of this number, and try it again; whether it
    failed."""
    child = os.fork()
    if not child:
        left = iter(range(number))
        failed = []

        def fail_once(event: str, arguments: tuple[object, ...]) -> None:
            if not failed and is_change(event, arguments) and next(left, None) is None:
                failed.append(event)
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        sys.addaudithook(fail_once)
        try:
            write_snapshot(of_epoch(folder, 2), b"later!", 17)
        except OSError:
            os._exit(2 if newest_good_snapshot(folder).snapshot is None else 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code < 2, "there is a good one"
    return code == 1


def test_on_a_disk_that_fails_at_any_place_the_snapshot_of_a_pause_is_not_lost(tmp_path: Path) -> None:
    for number in count():
        folder = JobFolder(tmp_path / str(number))
        folder.path.mkdir()
        write_snapshot(of_epoch(folder, 2), b"paused", 14)
        has_failed = fails_at_change(number, folder)
        # Tried again, and once more in vain, at whatever place.
        for again in range(number + 1):
            fails_at_change(again, folder)
        write_snapshot(of_epoch(folder, 2), b"later!", 17)
        assert newest_good_snapshot(folder).snapshot == of_epoch(folder, 2)
        assert passing(folder, 2, 14).fault_on_disk() is None
        if not has_failed and number > 6:
            break


def test_a_snapshot_of_a_pause_stays_as_a_passing_one_with_what_was_known_of_it(folder: JobFolder) -> None:
    write_snapshot(of_epoch(folder, 2), b"paused", 14, training_loss=0.5, epochs_done=1.4)
    before = of_epoch(folder, 2).manifest()
    write_snapshot(of_epoch(folder, 2), b"done", 20)
    assert folder.snapshot(2).read_bytes() == b"done"
    kept = passing(folder, 2, 14)
    assert (kept.path.read_bytes(), kept.manifest(), kept.fault_on_disk()) == (b"paused", before, None)


def without_manifest(path: Path) -> None:
    path.with_suffix(".json").unlink()


@pytest.mark.parametrize("damage", [truncate, without_manifest])
def test_a_damaged_snapshot_or_one_of_an_older_version_is_replaced(
    folder: JobFolder, damage: Callable[[Path], None]
) -> None:
    save(folder)
    damage(folder.snapshot(2))
    write_snapshot(of_epoch(folder, 2), b"done", 20)
    assert {path.name for path in folder.snapshots.iterdir()} == {"snapshot_2.pt", "snapshot_2.json"}
