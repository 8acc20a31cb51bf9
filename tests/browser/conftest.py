"""A real Chromium for the tests of this folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


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
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that fails its test when a script of ours does."""
    page = context.new_page()

    def on_error(error: object) -> None:
        raise AssertionError(f"A script failed: {error}")

    def on_console(message: ConsoleMessage) -> None:
        assert "Content Security Policy" not in message.text, message.text

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
