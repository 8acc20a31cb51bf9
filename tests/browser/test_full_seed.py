"""The seed at full size: 45,002 real MNIST images, 30 epochs, default options. `make seed DATA=FOLDER` runs it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser import walk
from tests.browser.conftest import PictureKeeper
from tests.conftest import RunningServer, start_server

MNIST = os.environ.get("LAYERSCOPE_MNIST")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = start_server(tmp_path / "data", Path(str(MNIST)))
    yield running
    running.stop()


@pytest.mark.skipif(MNIST is None, reason="LAYERSCOPE_MNIST names no folder with the output of download-data")
@pytest.mark.parametrize("language", walk.LANGUAGES, ids=lambda language: language.tab)
def test_thirty_epochs_of_the_seed_on_mnist(
    server: RunningServer, page: Page, keep_picture: PictureKeeper, language: walk.Language
) -> None:
    walk.make_classification_dataset(page, server, Path(str(MNIST)) / "train")
    walk.make_generic_dataset(page, validation=False)
    began = time.monotonic()
    job_id = walk.create_model(page, language)
    walk.wait_for_done(page, 900)
    print(f"\nfrom Visualize to Done: {time.monotonic() - began:.0f} s")

    means = walk.epoch_means(server, job_id, 1, 6, 10, 11, 30)
    first = walk.train_losses(server, job_id)[0]
    print(f"loss of the first batch: {first:,.0f}")
    print("mean training loss:", ", ".join(f"epoch {epoch}: {mean:,.0f}" for epoch, mean in means.items()))
    assert 3_800 < first < 4_800
    assert 365 < means[30] < 405
    assert means[10] - means[11] > 30, "the step of the learning rate shows"

    digit = min((Path(str(MNIST)) / "test" / "2").iterdir())
    prediction = walk.press_test_one(page, digit)
    walk.check_prediction(prediction, language, digit)
    print("correlation of the reconstruction:", prediction.locator('[data-role="correlation"]').inner_text())
    keep_picture(page, f"{language.tab}-trained")
    keep_picture(page.locator('[data-role="curves"]'), f"{language.tab}-curve")
    prediction.set_viewport_size({"width": 1500, "height": 1000})
    keep_picture(prediction.locator(".pictures"), f"{language.tab}-pictures")
    keep_picture(prediction, f"{language.tab}-prediction")
