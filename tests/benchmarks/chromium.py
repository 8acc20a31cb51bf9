"""A real browser page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import FLAGS


@contextmanager
def chromium_page(script: str = "") -> Iterator[Page]:
    """An empty page of the system's Chromium, or of the one that Playwright installed; `script` runs before any other."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        if script:
            page.add_init_script(script)
        yield page
        browser.close()


def seconds_until_shown(page: Page, url: str, condition: str) -> float:
    """From the beginning of the navigation to the first frame drawn after `condition` holds in the page."""
    page.goto(url)
    milliseconds: float = page.evaluate(
        f"""() => new Promise((done) => {{
            const look = () => {{
                if ({condition}) requestAnimationFrame(() => done(performance.now()));
                else requestAnimationFrame(look);
            }};
            look();
        }})"""
    )
    return milliseconds / 1000
