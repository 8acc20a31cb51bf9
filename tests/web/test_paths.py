"""Server paths: completed as they are typed, and never outside the data roots."""

from pathlib import Path

import pytest

from jobs.specs import ServerPaths
from webapp.paths import suggestions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("root/pictures/cats", "root/.hidden", "root-secret", "outside"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root/pictures/list.txt").touch()
    (tmp_path / "root/way-out").symlink_to(tmp_path / "outside")
    return tmp_path / "root"


def test_folders_end_in_a_slash_and_hidden_ones_are_left_out(root: Path) -> None:
    assert suggestions(f"{root}/", ServerPaths([root])) == [f"{root}/pictures/"]
    assert suggestions(f"{root}/pictures/", ServerPaths([root])) == [
        f"{root}/pictures/cats/",
        f"{root}/pictures/list.txt",
    ]


def test_folders_are_found_behind_many_files(root: Path) -> None:
    for number in range(60):
        (root / f"pictures/a{number}.png").touch()
    paths = ServerPaths([root])
    assert len(suggestions(f"{root}/pictures/", paths)) == 50
    assert suggestions(f"{root}/pictures/", paths, folders_only=True) == [f"{root}/pictures/cats/"]


def test_hidden_folders_are_found_by_their_dot(root: Path) -> None:
    assert suggestions(f"{root}/.h", ServerPaths([root])) == [f"{root}/.hidden/"]


def test_the_root_is_offered_on_the_way_to_it(root: Path) -> None:
    assert suggestions("/", ServerPaths([root])) == [f"{root}/"]
    assert suggestions("", ServerPaths([root])) == [f"{root}/"]


@pytest.mark.parametrize("query", ["../outside/", "-secret/", "/../outside/", "/way-out/", "/pictures/../../outside/"])
def test_nothing_outside_the_roots_is_listed(root: Path, query: str) -> None:
    assert suggestions(f"{root}{query}", ServerPaths([root])) == []


def test_a_sibling_whose_name_begins_like_a_root_is_outside(root: Path) -> None:
    paths = ServerPaths([root])
    assert paths.allows(root / "pictures")
    assert not paths.allows(root.with_name("root-secret"))
    assert not paths.allows(root / "way-out")
