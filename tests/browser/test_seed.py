"""The seed, whole, as a person does it: from a folder of images to a reconstructed digit."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from jobs.folder import JobFolder
from tests.browser import walk
from tests.browser.conftest import PictureKeeper
from tests.browser.test_faults import signal_worker
from tests.conftest import RunningServer, save_digits, until

EPOCHS = 70


@pytest.fixture(scope="module")
def training_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("training"), 1400)


@pytest.fixture(scope="module")
def unseen_digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A digit that is in no dataset: the last that scikit-learn has."""
    folder = save_digits(tmp_path_factory.mktemp("all"), 1797)
    return max(folder.rglob("*.png"), key=lambda path: path.name)


@contextmanager
def held_still(server: RunningServer, job_id: str) -> Iterator[None]:
    """The job's worker takes no step, however long a browser takes."""
    folder = JobFolder(server.data_dir / "jobs" / job_id)
    signal_worker(folder, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_worker(folder, signal.SIGCONT)


@pytest.mark.parametrize("language", walk.LANGUAGES, ids=lambda language: language.tab)
def test_the_seed_from_folder_to_reconstruction(
    server: RunningServer, context: BrowserContext, page: Page, training_digits: Path, unseen_digit: Path,
    keep_picture: PictureKeeper, language: walk.Language,
) -> None:  # fmt: skip
    walk.make_classification_dataset(page, server, training_digits)
    keep_picture(page, f"{language.tab}-dataset")
    walk.make_generic_dataset(page)
    job_id = walk.create_model(page, language, train_epochs=str(EPOCHS), random_seed="1", batch_size="10")

    # In mid-training, which holds still for the pages' sake: a reload, a second tab and a cut connection.
    until(lambda: len(walk.train_losses(server, job_id)) > 5, 60, "it learns", wait=page.wait_for_timeout)
    with held_still(server, job_id):
        until(lambda: walk.points(page) > 5, 60, "the curve moves", wait=page.wait_for_timeout)
        page.reload()
        second = context.new_page()
        second.goto(page.url)
        tabs = (page, second)
        until(lambda: min(map(walk.points, tabs)) > 5, 60, "both tabs draw", wait=page.wait_for_timeout)
        context.set_offline(True)
        expect(page.locator("#connection")).to_be_visible()
        keep_picture(page, f"{language.tab}-training")
    before = len(walk.train_losses(server, job_id))
    until(lambda: len(walk.train_losses(server, job_id)) > before, 60, "it goes on without them")
    with held_still(server, job_id):
        context.set_offline(False)
        expect(page.locator("#connection")).to_be_hidden()
        assert server.status(job_id)["status"] == "Running", "all of this happened in mid-training"

    walk.wait_for_done(page)
    walk.wait_for_done(second)
    losses = walk.train_losses(server, job_id)
    assert losses[-1] < losses[0] / 3, "the loss fell"
    for tab in tabs:
        until(lambda tab=tab: walk.points(tab) == len(losses), 30, "every point is there", wait=page.wait_for_timeout)
    curve = walk.curve_as_table(page, EPOCHS)
    assert walk.curve_as_table(second, EPOCHS) == curve
    page.reload()
    until(lambda: walk.points(page) == len(losses), 30, "and again after a reload", wait=page.wait_for_timeout)
    assert walk.curve_as_table(page, EPOCHS) == curve
    keep_picture(page, f"{language.tab}-trained")

    prediction = walk.press_test_one(page, unseen_digit)
    walk.check_prediction(prediction, language, unseen_digit)
    keep_picture(prediction, f"{language.tab}-prediction")


def test_one_click_from_an_empty_home_page_to_a_moving_curve(
    server: RunningServer, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(server.url)
    keep_picture(page, "empty")
    page.get_by_role("button", name="Try it with handwritten digits").click()
    page.wait_for_url("**/models/2*", timeout=60_000)
    until(lambda: walk.points(page) > 3, 90, "the curve moves", wait=page.wait_for_timeout)
    page.goto(server.url)
    expect(page.get_by_text("Handwritten digits, generic")).to_be_visible()
    keep_picture(page, "home")
