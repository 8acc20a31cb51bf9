"""What the pages of `docs` and the README show is there, and is what the product begins with."""

import re
from pathlib import Path
from typing import get_args

import pytest

from jobs.models.generic_image import Framework
from jobs.networks.starter import starter_network

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("framework", get_args(Framework))
def test_the_tutorial_shows_the_network_that_a_new_model_begins_with(framework: Framework) -> None:
    assert starter_network((1, 28, 28), framework) in (REPOSITORY / "docs" / "autoencoder.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_and_page_that_is_linked_is_there(page: Path) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert linked
    assert [link for link in linked if not (page.parent / link).exists()] == []
