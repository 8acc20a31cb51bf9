"""A real Chromium for the tests of this folder."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, expect, sync_playwright

from tests.conftest import RunningServer, end_jobs, save_digits, start_server

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Where a test does not say how soon something is promised. Two test files at a time share the cores with trainings.
MOST_MILLISECONDS = 30_000
expect.set_options(timeout=MOST_MILLISECONDS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, or the one that Playwright installed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(MOST_MILLISECONDS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that fails its test when a script of ours does."""
    page = context.new_page()

    def on_error(error: object) -> None:
        raise AssertionError(f"A script failed: {error}")

    def on_console(message: ConsoleMessage) -> None:
        for fault in ("Content Security Policy", "This event cannot be shown"):
            assert fault not in message.text, message.text

    page.on("pageerror", on_error)
    page.on("console", on_console)
    return page


@pytest.fixture
def keep_picture(request: pytest.FixtureRequest) -> "PictureKeeper":
    return PictureKeeper(request.node.name)


class PictureKeeper:
    """Keeps screenshots in the folder that LAYERSCOPE_SCREENSHOTS names, for people to look at."""

    def __init__(self, test: str) -> None:
        folder = os.environ.get("LAYERSCOPE_SCREENSHOTS")
        self._folder = Path(folder) if folder else None
        self._test = test.split("[", maxsplit=1)[0].removeprefix("test_")

    def __call__(self, seen: Page | Locator, name: str) -> None:
        """Keep a whole page, or one part of it."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._test}-{name}.png"
        if isinstance(seen, Page):
            seen.screenshot(path=path, full_page=True)
        else:
            seen.screenshot(path=path)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 200 digits, alone in a folder that forms may name."""
    return save_digits(tmp_path_factory.mktemp("pages") / "digits", 200)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Iterator[RunningServer]:
    """One server for tests that leave each other's jobs alone."""
    running = start_server(tmp_path_factory.mktemp("shared"), digits.parent)
    yield running
    end_jobs(running)
    running.stop()


@pytest.fixture(scope="module")
def dataset(shared: RunningServer, digits: Path) -> str:
    """A classification dataset that is done."""
    return make_dataset(shared, digits, "Digits")


@pytest.fixture(scope="module")
def generic(shared: RunningServer, dataset: str) -> str:
    """A generic dataset of it, which models can read."""
    return make_generic(shared, dataset)


def told_that_it_hears(page: Page) -> list[str]:
    """What the server answers when a document of this page joins a room: Socket.IO's acknowledgement."""
    answers: list[str] = []

    def note(frame: str | bytes) -> None:
        if str(frame).startswith("43/jobs,"):
            answers.append(str(frame))

    page.on("websocket", lambda socket: socket.on("framereceived", note))
    return answers


def held_requests(page: Page, address: str | re.Pattern[str]) -> list[Route]:
    """The requests of a page for an address, which are held back until they are let go on or given up, as they come."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(address, hold)
    return held


def stays_inside(page: Page, dialog: Locator) -> None:
    """Fails where Tab leads from an open dialog to what lies under it."""
    for _ in range(8):
        page.keyboard.press("Tab")
        inside = "dialog => dialog.contains(document.activeElement) || document.activeElement === document.body"
        assert dialog.evaluate(inside), "Tab leaves the dialog"


def post(server: RunningServer, path: str, fields: dict[str, str | int]) -> str:
    """Make a job of the form; its id."""
    answer = requests.post(f"{server.url}/{path}.json", data=fields, timeout=60)
    assert answer.ok, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def make_dataset(server: RunningServer, digits: Path, name: str) -> str:
    fields: dict[str, str | int] = {"dataset_name": name, "folder_train": str(digits)}
    size: dict[str, str | int] = {"resize_channels": 1, "resize_width": 28, "resize_height": 28}
    job_id = post(server, "datasets/images/classification", fields | size)
    assert server.wait_for_job(job_id)["status"] == "Done"
    return job_id


def make_generic(server: RunningServer, dataset: str) -> str:
    folder = server.data_dir / "jobs" / dataset
    databases = {f"prebuilt_{split}_images": str(folder / f"{split}_db") for split in ("train", "val")}
    mean = {"prebuilt_mean_file": str(folder / "mean.binaryproto")}
    job_id = post(server, "datasets/images/generic", {"dataset_name": "Generic", **databases, **mean})
    assert server.wait_for_job(job_id)["status"] == "Done"
    return job_id
