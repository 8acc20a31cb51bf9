"""The list of jobs at every length: none, one, a few, and ten thousand."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect

from tests.browser.conftest import PictureKeeper, held_requests
from tests.conftest import RunningServer, save_digits, start_server, until
from tests.past_jobs import write_past_jobs
from tests.web import payloads
from webapp.config import Settings

PAST_JOBS = 10_000
MODELS = PAST_JOBS * 4 // 5


def server_with(data_dir: Path, jobs: int, *data_roots: Path) -> RunningServer:
    write_past_jobs(Settings(data_dir, ()), jobs)
    return start_server(data_dir, *data_roots)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that knows ten thousand jobs."""
    running = server_with(tmp_path_factory.mktemp("busy"), PAST_JOBS)
    yield running
    running.stop()


def table(page: Page, name: str = "models") -> Locator:
    return page.locator(f'[data-table="{name}"]')


def first_name(page: Page) -> Locator:
    return table(page).locator("tbody td.name a").first


def test_ten_thousand_jobs_are_there_as_soon_as_some(busy: RunningServer, tmp_path: Path, page: Page) -> None:
    """How soon that is, `tests/benchmarks/home_page.py` measures; here other tests may be at work."""
    some = server_with(tmp_path, 200)
    waits: dict[str, list[float]] = {some.url: [], busy.url: []}
    # The quickest of some visits is one with the scripts in the browser's cache.
    for url in 6 * tuple(waits):
        page.goto(url)
        waits[url].append(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"))
        assert page.locator("tbody tr").count() == 50, "the rows are drawn by then"
    some.stop()
    assert min(waits[busy.url]) < 4 * min(waits[some.url]), waits


def test_pages_order_and_filter_are_kept_by_a_reload_and_the_way_back(busy: RunningServer, page: Page) -> None:
    page.goto(busy.url)
    table(page).get_by_role("button", name="Name").click()
    expect(first_name(page)).to_have_text("Autoencoder with a 50-node code 1")
    forward, back = (table(page).get_by_role("button", name=f"{which} page") for which in ("Next", "Previous"))
    expect(back).to_have_attribute("aria-disabled", "true")
    forward.press("Enter")
    expect(table(page).locator('[data-role="range"]')).to_have_text("26–50 of 8,000")
    expect(forward).to_be_focused()
    # Each click counts, however long the server takes.
    held = held_requests(page, "**/tables.json*")
    for button in (forward, forward, back):
        button.click()
    until(lambda: held, 30, "the server is asked", wait=page.wait_for_timeout)[0].continue_()
    page.unroute("**/tables.json*")
    expect(table(page).locator('[data-role="range"]')).to_have_text("51–75 of 8,000")
    back.press("Enter")
    expect(table(page).locator('[data-role="range"]')).to_have_text("26–50 of 8,000")
    second = first_name(page).inner_text()
    page.reload()
    expect(first_name(page)).to_have_text(second)
    page.goto(f"{busy.url}/datasets/images/generic/new")
    page.go_back()
    expect(first_name(page)).to_have_text(second)
    page.get_by_label("Filter jobs").fill("überblick 9996")
    expect(table(page).locator('[data-role="count"]')).to_have_text("1 of 8,000")
    expect(table(page, "datasets").locator('[data-role="nothing"]')).to_have_text("No job here matches the filter.")
    page.reload()
    expect(first_name(page)).to_have_text("ÜBERBLICK 9996")
    page.get_by_label("Filter jobs").fill("")
    expect(table(page).locator('[data-role="count"]')).to_have_text("8,000")


def test_what_is_loaded_while_somebody_types_is_what_the_address_says(busy: RunningServer, page: Page) -> None:
    """Else a reload would show something else than what was on the page."""
    # What the page reads by itself when its socket is there is over.
    with page.expect_response("**/tables.json*"):
        page.goto(busy.url)
    # In one breath: typing, and a glance at the page that reads it anew before the typing is over.
    typed_and_looked = """box => {
        box.value = "überblick 9996";
        box.dispatchEvent(new Event("input", { bubbles: true }));
        document.dispatchEvent(new Event("visibilitychange"));
        return location.search;
    }"""
    with page.expect_request("**/tables.json*") as loaded:
        address = page.get_by_label("Filter jobs").evaluate(typed_and_looked)
    assert urlsplit(loaded.value.url).query == address.removeprefix("?")
    expect(table(page).locator('[data-role="count"]')).to_have_text("1 of 8,000")
    assert parse_qs(urlsplit(page.url).query) == {"filter": ["überblick 9996"]}


def test_a_selection_says_what_it_takes_in(busy: RunningServer, page: Page) -> None:
    page.goto(busy.url)
    models = table(page)
    selected = models.locator('[data-role="selected"]')
    models.get_by_label("Select the 25 models on this page").check()
    expect(selected).to_have_text("25 selected")
    models.get_by_role("button", name="Next page").click()
    expect(selected).to_have_text("25 selected, 25 of them on other pages")
    models.locator("tbody input").nth(0).check()
    models.locator("tbody input").nth(4).click(modifiers=["Shift"])
    expect(selected).to_have_text("30 selected, 25 of them on other pages")
    models.get_by_label("Select the 25 models on this page").check()
    every = models.get_by_role("button", name="Select all 8,000")
    remove = models.get_by_role("button", name="Delete")
    held = held_requests(page, "**/names.json*")
    every.click()
    expect(remove).to_be_disabled()
    # Who wants to see others meanwhile has selected none of them.
    page.get_by_label("Filter jobs").fill("9996")
    expect(models.locator('[data-role="count"]')).to_have_text("1 of 8,000")
    until(lambda: held, 30, "the server is asked", wait=page.wait_for_timeout)
    with page.expect_response("**/names.json*"):
        held[0].continue_()
    page.unroute("**/names.json*")
    expect(models.locator('[data-bulk="delete"]')).not_to_have_attribute("aria-disabled", "true")
    expect(models.locator('[data-role="bulk"]')).to_be_hidden()
    page.get_by_label("Filter jobs").fill("")
    expect(models.locator('[data-role="count"]')).to_have_text("8,000")
    models.get_by_label("Select the 25 models on this page").check()
    every.click()
    expect(selected).to_have_text("8,000 selected, 7,975 of them on other pages")
    remove.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Delete 8,000 jobs?")
    expect(dialog.locator("li").last).to_have_text("and 7,993 more")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_label("Filter jobs").fill("9996")
    expect(models.locator('[data-role="bulk"]')).to_be_hidden()


def test_all_that_match_are_deleted_and_what_is_refused_is_told(
    tmp_path: Path, page: Page, keep_picture: PictureKeeper
) -> None:
    server = server_with(tmp_path, 200)
    page.goto(server.url)
    models, datasets = table(page), table(page, "datasets")
    datasets.locator('[data-role="pick-page"]').check()
    datasets.get_by_role("button", name="Select all 40").click()
    datasets.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("4 jobs depend on it")
    expect(dialog).to_contain_text("And 35 more.")
    expect(dialog.get_by_role("button", name="Delete")).to_be_hidden()
    keep_picture(page, "refused")
    page.keyboard.press("Escape")
    expect(datasets.get_by_role("button", name="Delete")).to_be_focused()
    page.get_by_label("Filter jobs").fill("baseline")
    expect(models.locator('[data-role="count"]')).to_contain_text(" of 160")
    matching = int(models.locator('[data-role="count"]').inner_text().split()[0])
    models.locator('[data-role="pick-page"]').check()
    models.get_by_role("button", name=f"Select all {matching} that match").click()
    models.get_by_role("button", name="Delete").click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(models.locator('[data-role="count"]')).to_have_text(f"0 of {160 - matching}", timeout=30_000)
    refused = page.locator('[data-role="error"]')
    expect(refused).to_be_hidden()
    left = requests.get(f"{server.url}/completed_jobs.json", timeout=60).json()["models"]
    assert len(left) == 160 - matching
    assert not any("baseline" in row["name"] for row in left)

    # Their datasets can go now, the others cannot.
    page.get_by_label("Filter jobs").fill("")
    expect(datasets.locator('[data-role="count"]')).to_have_text("40")
    datasets.locator('[data-role="pick-page"]').check()
    datasets.get_by_role("button", name="Select all 40").click()
    datasets.get_by_role("button", name="Delete").click()
    expect(dialog).to_contain_text("And 27 more.")
    keep_picture(page, "refused-in-part")
    listed = requests.get(f"{server.url}/completed_jobs.json", timeout=60).json()["datasets"]
    already = next(row["id"] for row in listed if "baseline" in row["name"])
    requests.delete(f"{server.url}/jobs/{already}", timeout=60)
    dialog.get_by_role("button", name="Delete the other 8").click()
    expect(refused).to_contain_text("Job not found.")
    expect(datasets.locator('[data-role="count"]')).to_have_text("32")
    server.stop()


def test_a_job_goes_its_way_before_ones_eyes(tmp_path: Path, page: Page) -> None:
    """Entered, run and ended elsewhere: the open list shows each, and asks the server nothing while the job goes on."""
    many = save_digits(tmp_path / "digits", 1500)
    server = server_with(tmp_path / "data", 3, many)
    broken: list[WebSocket] = []

    def note(socket: WebSocket) -> None:
        broken.append(socket)

    page.on("websocket", lambda socket: socket.on("close", note))
    page.goto(server.url)
    expect(page.locator("tbody tr")).to_have_count(3)
    form = payloads.classification(many, dataset_name="Watched", resize_width="1024", resize_height="1024")
    requests.post(f"{server.url}/datasets/images/classification.json", data=form, timeout=60)
    running = table(page, "running")
    expect(running.locator("[data-status=Running]")).to_be_visible()
    bar = running.locator("progress")

    def bar_passes(percent: float) -> None:
        until(lambda: float(bar.get_attribute("value") or 0) > percent, 60, "the bar moves", wait=page.wait_for_timeout)

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for percent in (4, 10, 16):
        # What is told of the start itself is read until then, the last of it a moment later by the page's clock.
        bar_passes(percent)
        page.evaluate("new Promise(done => setTimeout(done, 500))")
        asked.clear()
        broken.clear()
        bar_passes(percent + 2)
        # A page or a server that stood still has lost the connection, and then reads what it may have missed.
        if not broken:
            break
    assert asked == []

    # A row that changes between pressing and releasing is the same row.
    link = running.get_by_role("link", name="Watched").bounding_box()
    assert link is not None
    page.mouse.move(link["x"] + 5, link["y"] + 5)
    page.mouse.down()
    bar_passes(float(bar.get_attribute("value") or 0))
    page.mouse.up()
    page.wait_for_url("**/datasets/2*")
    page.go_back()
    running.get_by_label("Select Watched").check()
    running.get_by_role("button", name="Abort").click()
    page.get_by_role("dialog").get_by_role("button", name="Abort", exact=True).click()
    expect(table(page, "datasets").locator("tr", has_text="Watched").locator("[data-status=Aborted]")).to_be_visible()
    expect(running).to_be_hidden()
    server.stop()


@pytest.mark.parametrize("jobs", [0, 1, 3, 200])
def test_every_length_fits_every_screen(
    tmp_path: Path, browser: Browser, keep_picture: PictureKeeper, jobs: int
) -> None:
    ids = write_past_jobs(Settings(tmp_path, ()), jobs)
    server = start_server(tmp_path)
    for job_id in ids[-1:]:
        name = {"job_name": "<b>Bold</b> & a name " + "that-does-not-break" * 8}
        requests.put(f"{server.url}/jobs/{job_id}", data=name, timeout=60)
    for width, colours in ((360, "light"), (768, "dark"), (1400, "light"), (1920, "dark")):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)  # type: ignore[arg-type]
        page.goto(server.url)
        if jobs:
            expect(page.locator("tbody tr").first).to_be_visible()
            page.locator('[data-role="pick-page"]:visible').first.check()
        else:
            expect(page.get_by_role("button", name="Try it")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, jobs)
        if width == 360:
            inside = "all => all.every((table) => table.scrollWidth <= table.clientWidth)"
            assert page.locator(".table-scroll").evaluate_all(inside), "nothing lies beside the screen"
        keep_picture(page, f"{jobs}-{width}-{colours}")
        page.close()
    server.stop()
