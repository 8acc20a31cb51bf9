"""What the pages of `docs` and the README show is there, and is what the product begins with."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from jobs.models.generic_image import Framework
from jobs.networks.starter import starter_network
from webapp.cli import main

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("framework", get_args(Framework))
def test_the_tutorial_shows_the_network_that_a_new_model_begins_with(framework: Framework) -> None:
    assert starter_network((1, 28, 28), framework) in (REPOSITORY / "docs" / "autoencoder.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_and_page_that_is_linked_is_there(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert linked
    assert [link for link in linked if not (page.parent / link).exists()] == []


def commands(group: click.Group, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command of the command line, with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


def test_every_option_and_setting_of_the_command_line_stands_in_the_readme() -> None:
    readme = README.read_text()
    missing = []
    for name, command in commands(main):
        for option in command.params:
            if isinstance(option, click.Option):
                words = [*option.opts, *([option.envvar] if isinstance(option.envvar, str) else [])]
                missing += [f"{name}: {word}" for word in words if not re.search(rf"`[^`]*{word}\b", readme)]
    assert missing == []


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"])
def test_every_file_and_module_that_a_document_names_is_there(document: str) -> None:
    """In the code map the first of a cell has its folder; where `my_kind` is, somebody has yet to make it."""
    named = re.findall(
        r"`((?:jobs|webapp|tests|templates|static|docs)[./][\w./]+)`", (REPOSITORY / document).read_text()
    )
    assert named
    assert [name for name in named if "my_kind" not in name and not is_there(name)] == []


def is_there(name: str) -> bool:
    """A path, a module, or what a module defines."""
    path = REPOSITORY / (name if "/" in name else name.replace(".", "/"))
    if path.exists() or path.with_suffix(".py").exists():
        return True
    module, defined = path.parent.with_suffix(".py"), path.name
    return (
        module.exists()
        and re.search(rf"^(def|class) {defined}\b|^{defined} ?[:=]", module.read_text(), re.M) is not None
    )
