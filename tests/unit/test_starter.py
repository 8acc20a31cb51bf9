"""The starter network: for every shape of image, in both languages, and as the README shows it."""

from pathlib import Path
from textwrap import indent

import pytest

from jobs.models.generic_image import Framework
from jobs.networks.starter import starter_network

README = Path(__file__).parents[2] / "README.md"
IN_THE_WALK = 7 * " "


@pytest.mark.parametrize("framework", ["pytorch", "torch"])
def test_the_readme_shows_the_starter_network(framework: Framework) -> None:
    shown = indent(starter_network((1, 28, 28), framework), IN_THE_WALK)
    assert shown in README.read_text()


def test_the_starter_network_follows_the_shape_of_the_images() -> None:
    python, lua = starter_network((3, 32, 20)), starter_network((3, 32, 20), "torch")
    for text in (python, lua):
        assert "nn.Linear(1920, 300)" in text
        assert "nn.Linear(300, 1920)" in text
    assert "nn.Unflatten(1, (3, 32, 20))" in python
    assert "nn.View(3, 32, 20):setNumInputDims(1)" in lua
