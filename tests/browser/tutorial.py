"""The walk of docs/autoencoder.md on MNIST: takes its pictures and writes its table. `make tutorial DATA=FOLDER`."""

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, ViewportSize, expect, sync_playwright

from tests.browser import walk
from tests.browser.conftest import FLAGS
from tests.conftest import RunningServer, end_jobs, start_server, until

DOCS = Path(__file__).parents[2] / "docs"
TABLE_BEGIN, TABLE_END = "<!-- figures: written by make tutorial -->", "<!-- end of figures -->"
EPOCHS = (1, 10, 11, 30)
# What the page shows of one of the languages; the rest looks alike in both.
PICTURES = {"dataset-form", "pytorch-network", "pytorch-layers", "pytorch-training", "pytorch-loss", "pytorch-test-one",
            "torch-network", "torch-python"}  # fmt: skip
# A training of which there is something to see: ten epochs of 704 steps.
POINTS_TO_SEE = 7_040
# So tall that no bar that stays in sight covers a part of what is taken.
WINDOW: ViewportSize = {"width": 1400, "height": 2400}


@dataclass(frozen=True)
class Figures:
    """What one training gave."""

    language: walk.Language
    first_loss: float
    means: dict[int, float]
    seconds: float
    correlation: str


class Tutorial:
    """The pages of the walk, in one browser."""

    def __init__(self, browser: Browser, server: RunningServer, mnist: Path) -> None:
        self._server = server
        self._mnist = mnist
        context = browser.new_context(viewport=WINDOW, color_scheme="light")
        context.set_default_timeout(30_000)
        self._page = context.new_page()

    def run(self) -> list[Figures]:
        self._make_datasets()
        return [self._train(language) for language in walk.LANGUAGES]

    def _make_datasets(self) -> None:
        page = self._page
        # In the picture a folder that may be anybody's.
        walk.fill_classification_form(page, self._server, Path("/data/mnist/train"))
        page.keyboard.press("Escape")
        self._keep(page.locator("form .columns"), "dataset-form")
        walk.make_classification_dataset(page, self._server, self._mnist / "train")
        walk.make_generic_dataset(page, validation=False)

    def _train(self, language: walk.Language) -> Figures:
        page = self._page
        name = language.tab.lower()
        walk.fill_model_form(page, language)
        self._keep(page.locator('[data-role="network"]'), f"{name}-network")
        self._keep(page.locator('[data-role="network-check"]'), f"{name}-layers")
        if language.tab == "Torch":
            self._show_python(f"{name}-python")
        page.get_by_role("button", name="Create").click()
        began = time.monotonic()
        page.wait_for_url("**/models/2*")
        until(lambda: walk.points(page) > POINTS_TO_SEE, 120, "the curve has come far", wait=page.wait_for_timeout)
        page.get_by_text("Every layer", exact=True).click()
        self._keep(page.locator('[data-role="live-layers"]'), f"{name}-training")
        walk.wait_for_done(page)
        seconds = time.monotonic() - began
        self._keep(page.locator('[data-role="curves"]'), f"{name}-loss")
        job_id = page.url.rsplit("/", 1)[1]
        losses, means = walk.train_losses(self._server, job_id), walk.epoch_means(self._server, job_id, *EPOCHS)
        return Figures(language, losses[0], means, seconds, self._test_one(language))

    def _test_one(self, language: walk.Language) -> str:
        """The correlation of a digit that was never trained on with what comes out."""
        digit = min((self._mnist / "test" / "2").iterdir())
        prediction = walk.press_test_one(self._page, digit)
        walk.check_prediction(prediction, language, digit)
        prediction.set_viewport_size({"width": 1500, "height": 1000})
        self._keep(prediction.locator(".pictures"), f"{language.tab.lower()}-test-one")
        correlation = prediction.locator('[data-role="correlation"]').inner_text()
        prediction.close()
        return correlation

    def _show_python(self, name: str) -> None:
        page = self._page
        page.get_by_role("button", name="Show the Python").click()
        expect(page.get_by_role("button", name="Continue in Python")).to_be_visible(timeout=60_000)
        self._keep(page.locator('[data-role="python"]'), name)

    def _keep(self, seen: Locator, name: str) -> None:
        if name in PICTURES:
            seen.screenshot(path=DOCS / "images" / "autoencoder" / f"{name}.png")


def table_of(trainings: list[Figures]) -> str:
    """The figures side by side, as Markdown."""
    rows = {
        "loss of the first batch": [f"{one.first_loss:,.0f}" for one in trainings],
        **{
            f"mean training loss of epoch {epoch}": [f"{one.means[epoch]:,.0f}" for one in trainings]
            for epoch in EPOCHS
        },
        f"from Create to Done, on {os.cpu_count()} CPU cores": [f"{one.seconds:.0f} s" for one in trainings],
        "correlation of the reconstruction with the normalized image": [one.correlation for one in trainings],
    }
    head = ["", *(one.language.tab for one in trainings)]
    lines = [head, ["---"] * len(head), *([name, *values] for name, values in rows.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_table(page: Path, table: str) -> None:
    """Put the table where the page has the last one."""
    before, begin, rest = page.read_text().partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the table: the lines {TABLE_BEGIN} and {TABLE_END}.")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.tutorial", description=__doc__)
    parser.add_argument("data", type=Path, help="what `layerscope download-data mnist` wrote")
    mnist = parser.parse_args().data.resolve()
    with tempfile.TemporaryDirectory(prefix="layerscope-tutorial-") as scratch, sync_playwright() as playwright:
        server = start_server(Path(scratch) / "data", mnist)
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            table = table_of(Tutorial(browser, server, mnist).run())
            browser.close()
        finally:
            end_jobs(server)
            server.stop()
    print(table)
    write_table(DOCS / "autoencoder.md", table)


if __name__ == "__main__":
    main()
