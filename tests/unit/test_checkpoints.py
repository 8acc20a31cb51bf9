"""Snapshots are whole, and are read without running anything in them."""

import io
import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from jobs.errors import UserError
from jobs.folder import JobFolder
from jobs.networks.contract import Network
from jobs.training.checkpoints import Position, load_snapshot, save_snapshot, set_random_state
from jobs.training.snapshot_files import newest_good_snapshot, newest_step, of_epoch, write_snapshot
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
    (into_a_folder, "snapshot_3.pt", "it cannot be read (Is a directory)"),
])  # fmt: skip
def test_a_damaged_snapshot_is_passed_over_with_a_warning(
    folder: JobFolder, damage: Callable[[Path], None], file: str, words: str
) -> None:
    save(folder, 14)
    save(folder, 23)
    newest = newest_good_snapshot(folder)
    assert (newest.snapshot, newest.damaged, newest_step(folder)) == (of_epoch(folder, 3), {}, 23)
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
    with pytest.raises(UserError, match=r"epoch 2 cannot be read \(its content is not what was written\)"):
        load_snapshot(folder, 2)


def test_a_snapshot_of_an_older_version_has_no_manifest_and_can_be_tested(folder: JobFolder) -> None:
    save(folder)
    of_epoch(folder, 2).manifest_path.unlink()
    assert load_snapshot(folder, 2)["seed"] == 5
