"""The pages as a person at the keyboard meets them: forms, lists, words, and a line that drops."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, Response, expect

from jobs.networks.starter import starter_network
from jobs.resources import DATASET_JOBS_AT_ONCE
from tests.browser import walk
from tests.browser.conftest import PictureKeeper, held_requests, make_dataset, post, stays_inside, told_that_it_hears
from tests.browser.contrast import faint_texts
from tests.browser.walk import paste_network, points, train_losses
from tests.conftest import RunningServer, save_digits, start_server, until

LONG_NAME = "<b>Bold</b> & a name " + "that-does-not-break" * 8
SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def dataset(shared: RunningServer, digits: Path) -> str:
    """A classification dataset with a name that is hard to show."""
    return make_dataset(shared, digits, LONG_NAME)


def make_model(server: RunningServer, dataset: str, epochs: int, network: str = starter_network(SHAPE)) -> str:
    fields: dict[str, str | int] = {"model_name": "Model", "dataset": dataset, "train_epochs": epochs, "batch_size": 2}
    rare: dict[str, str | int] = {"snapshot_interval": 0, "val_interval": 50, "learning_rate": "0.0001"}
    return post(server, "models/images/generic", fields | rare | {"custom_network": network})


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def tab_to(page: Page, element: Locator) -> None:
    for _ in range(20):
        page.keyboard.press("Tab")
        if element.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"Twenty times Tab do not lead to {element}")


def test_a_dataset_by_keyboard_alone(shared: RunningServer, page: Page, digits: Path) -> None:
    keys = page.keyboard
    page.goto(shared.url)
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    tab_to(page, page.get_by_text("New dataset", exact=True))
    keys.press("Enter")
    tab_to(page, page.get_by_role("link", name="Classification").first)
    keys.press("Enter")
    page.wait_for_url("**/images/classification/new")
    tab_to(page, page.locator("#folder_train"))
    # The way down: the root of the data, then what lies in it.
    keys.type(str(digits.parent)[:-2])
    for folder in (digits.parent, digits):
        expect(page.get_by_role("option", name=f"{folder}/")).to_be_visible()
        keys.press("ArrowDown")
        keys.press("Enter")
    expect(page.locator("#folder_train")).to_have_value(f"{digits}/")
    keys.press("Escape")
    for field, value in (("resize_width", "28"), ("resize_height", "28"), ("dataset_name", "By keyboard")):
        tab_to(page, page.locator(f"#{field}"))
        keys.type(value)
    keys.press("Enter")
    page.wait_for_url("**/datasets/2*")
    expect(page.get_by_role("heading", name="By keyboard")).to_be_visible()
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)


def test_a_form_with_errors_keeps_what_was_typed(shared: RunningServer, page: Page) -> None:
    page.goto(f"{shared.url}/datasets/images/classification/new")
    page.locator("#folder_train").fill("/nowhere/at/all")
    page.locator("#resize_width").fill("-4")
    page.get_by_role("button", name="Create").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link", name="Width").click()
    expect(page.locator("#resize_width")).to_be_focused()
    expect(page.locator("#resize_width")).to_have_value("-4")
    expect(page.locator("#resize_width-error")).to_contain_text("at least 1")
    expect(page.locator("#folder_train")).to_have_value("/nowhere/at/all")


def test_the_theme_is_remembered(shared: RunningServer, page: Page) -> None:
    page.goto(shared.url)
    page.get_by_role("button", name="Dark").click()
    page.goto(f"{shared.url}/datasets/images/generic/new")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")


def test_visualize_says_which_line_is_wrong(shared: RunningServer, generic: str, page: Page) -> None:
    page.goto(f"{shared.url}/models/images/generic/new?dataset={generic}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    wrong = starter_network(SHAPE).replace("nn.Linear(50, 300)", "nn.Linear(51, 300)")
    paste_network(page, wrong)
    page.get_by_role("button", name="Visualize").click()
    alert = page.locator('[data-role="network-check"]').get_by_role("alert")
    expect(alert).to_contain_text("got 50 values an image, it takes 51", timeout=60_000)
    expect(alert).to_contain_text("line 6")
    expect(page.locator(".cm-bad-line")).to_contain_text("nn.Linear(51, 300)")
    page.locator("#model_name").fill("Fails")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/models/2*")
    expect(page.locator('[data-status="Error"]')).to_be_visible(timeout=60_000)
    expect(page.locator('[data-role="cause"]')).to_contain_text("it takes 51")
    expect(page.locator("#line-6.bad-line")).to_be_visible()


def test_visualize_says_when_the_form_is_not_any_more_what_it_shows(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/models/images/generic/new?dataset={generic}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    page.get_by_role("button", name="Visualize").click()
    panel = page.locator('[data-role="network-check"]')
    expect(panel.get_by_text("501,834")).to_be_visible(timeout=60_000)
    outdated = panel.get_by_text("was changed since.")
    expect(outdated).to_be_hidden()
    page.get_by_label("Custom network, in Python").press("x")
    expect(outdated).to_be_visible()
    keep_picture(page, "outdated")
    page.keyboard.press("Control+z")
    expect(outdated).to_be_hidden()
    page.locator("#crop_size").fill("20")
    expect(outdated).to_be_visible()


def test_who_has_waited_long_enough_cancels_visualize(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/models/images/generic/new?framework=torch&dataset={generic}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    paste_network(page, "while true do end")
    visualize = page.get_by_role("button", name="Visualize")
    visualize.click()
    panel = page.locator('[data-role="network-check"]')
    until(lambda: checks_a_network(shared), 60, "the network is tried", wait=page.wait_for_timeout)
    expect(panel.get_by_role("timer")).to_have_text(re.compile(r"^[1-9]\d* s$"))
    expect(visualize).to_be_disabled()
    keep_picture(page, "waiting")
    with page.expect_response("**/models/end-check") as ending:
        panel.get_by_role("button", name="Cancel").click()
    assert ending.value.json() == {"ended": True}
    expect(panel).to_have_text(re.compile(r"^Cancelled after \d+ s\.$"))
    expect(visualize).to_be_enabled()
    expect(visualize).to_be_focused()
    visualize.click()
    expect(panel.get_by_role("button", name="Cancel")).to_be_visible()
    with page.expect_response("**/models/end-check"):
        choose_tab(page, "ArrowLeft", "PyTorch")
    expect(visualize).to_be_enabled()
    expect(panel).to_be_hidden()
    choose_tab(page, "ArrowRight", "Torch")

    page.get_by_label("Pretrained weights (.t7)").fill("/nowhere/snapshot.t7")
    paste_network(page, starter_network(SHAPE, "torch"))
    visualize.click()
    expect(panel.get_by_role("alert")).to_have_text(
        re.compile("^Pretrained weights: This path lies outside the folders")
    )
    page.get_by_label("Pretrained weights (.t7)").fill("")
    visualize.click()
    expect(panel).to_contain_text("501,834 learned parameters", timeout=60_000)


def choose_tab(page: Page, key: str, name: str) -> None:
    """From one tab to the other by keyboard."""
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press(key)
    tab = page.get_by_role("tab", name=name, exact=True)
    expect(tab).to_be_focused()
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab", selected=True)).to_have_count(1)
    expect(page.get_by_role("tabpanel", name=name, exact=True)).to_be_visible()


def test_each_framework_has_its_tab_and_its_text(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/models/images/generic/new?dataset={generic}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    text = page.locator(".cm-content")
    weights = page.get_by_label("Pretrained weights (.t7)")
    expect(weights).to_be_hidden()
    expect(text).to_have_attribute("data-language", "python")
    paste_network(page, "mine = 1")

    choose_tab(page, "ArrowRight", "Torch")
    expect(text).to_contain_text("nn.View(1, 28, 28):setNumInputDims(1)")
    expect(text).to_have_attribute("data-language", "lua")
    expect(page.get_by_label("Custom network, in Lua")).to_be_visible()
    expect(page.get_by_text("Torch7, in Lua: return a function")).to_be_visible()
    expect(weights).to_be_enabled()
    words = [text.locator("span").get_by_text(word, exact=True).first for word in ("local", "300", "-- the code")]
    colours = {colour_of(part) for part in (text, *words)}
    assert len(colours) == 4, "keywords, numbers and comments each have their colour"
    page.get_by_role("button", name="Visualize").click()
    printed = page.get_by_label("The network as Torch prints it")
    expect(printed).to_contain_text("(3): nn.Linear(784 -> 300)", timeout=60_000)
    keep_picture(page, "lua")
    text.click()
    page.keyboard.press("Control+z")
    expect(text).to_contain_text("nn.View(1, 28, 28):setNumInputDims(1)")
    page.keyboard.press("Control+End")
    page.keyboard.type("-- mine too")

    choose_tab(page, "Home", "PyTorch")
    expect(text).to_have_text("mine = 1")
    expect(weights).to_be_disabled()
    expect(printed).to_be_hidden()
    choose_tab(page, "ArrowLeft", "Torch")
    expect(text).to_contain_text("-- mine too")

    page.locator("#train_epochs").fill("0")
    page.locator("#model_name").fill("In Lua")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("at least 1")
    expect(page.get_by_role("tab", name="Torch", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    expect(text).to_have_attribute("data-language", "lua")
    expect(text).to_contain_text("-- mine too")
    choose_tab(page, "ArrowLeft", "PyTorch")
    expect(text).to_have_text("mine = 1")
    choose_tab(page, "ArrowRight", "Torch")
    expect(text).to_contain_text("-- mine too")
    page.get_by_role("button", name="Starter network").click()
    expect(text).not_to_contain_text("-- mine too")
    expect(text).to_contain_text("nn.View(1, 28, 28):setNumInputDims(1)")
    text.click()
    page.keyboard.press("Control+z")
    expect(text).to_contain_text("-- mine too")


def test_what_needs_the_editor_waits_for_it(shared: RunningServer, generic: str, page: Page) -> None:
    held = held_requests(page, re.compile(r"/editor-[^/]*\.js"))
    page.goto(f"{shared.url}/models/images/generic/new?dataset={generic}")
    visualize, starter = (page.get_by_role("button", name=name) for name in ("Visualize", "Starter network"))
    until(lambda: held, 60, "the editor is asked for", wait=page.wait_for_timeout)
    for button in (visualize, starter):
        expect(button).to_be_disabled()
    for route in held:
        route.continue_()
    visualize.click()
    expect(page.locator('[data-role="network-check"]')).to_contain_text("501,834", timeout=60_000)
    expect(starter).to_be_enabled()


def test_a_text_in_the_wrong_tab_is_told_where_it_belongs(
    shared: RunningServer, generic: str, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/models/images/generic/new?dataset={generic}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    hint = page.locator('[data-role="language-hint"]')
    expect(hint).to_have_text("")
    paste_network(page, walk.LUA)
    expect(hint).to_have_text("This looks like Lua: choose the tab Torch.")
    keep_picture(page, "lua")
    page.locator("#model_name").fill("Lua as Python")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("invalid syntax")
    expect(hint).to_have_text("This looks like Lua: choose the tab Torch.")
    choose_tab(page, "ArrowRight", "Torch")
    expect(hint).to_have_text("")
    paste_network(page, walk.PYTHON)
    expect(hint).to_have_text("This looks like Python: choose the tab PyTorch.")
    paste_network(page, walk.LUA)
    expect(hint).to_have_text("")


def checks_a_network(server: RunningServer) -> bool:
    """Whether a process of the server works in the folder of a check."""

    def folder_of(process: psutil.Process) -> str:
        try:
            return process.cwd()
        except psutil.Error:
            return ""  # it has just ended, or lets nobody look

    children = psutil.Process(server.process.pid).children(recursive=True)
    return any("layerscope-check-" in folder_of(child) for child in children)


def colour_of(shown: Locator) -> str:
    return str(shown.evaluate("element => getComputedStyle(element).color"))


def test_rename_notes_and_a_refused_deletion(
    shared: RunningServer, generic: str, dataset: str, page: Page, keep_picture: PictureKeeper
) -> None:
    page.goto(f"{shared.url}/datasets/{dataset}")
    page.get_by_role("button", name="Rename this job").click()
    page.get_by_label("Name", exact=True).fill(f"{LONG_NAME} again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{LONG_NAME} again")
    page.get_by_role("button", name="Edit the notes").click()
    page.get_by_label("Notes", exact=True).fill("<i>first</i>\nsecond")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".note-text")).to_have_text("<i>first</i>\nsecond")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{LONG_NAME} again")
    expect(page.locator(".note-text")).to_have_text("<i>first</i>\nsecond")

    delete = page.get_by_role("button", name="Delete job")
    delete.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text('1 job depends on it: "Generic". Delete those first.')
    expect(dialog).not_to_contain_text("goes for good", use_inner_text=True)
    expect(dialog.get_by_role("button", name="Delete")).to_be_hidden()
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    keep_picture(page, "refused")
    stays_inside(page, dialog)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(delete).to_be_focused()
    expect(delete).to_be_enabled()
    assert shared.status(dataset)["status"] == "Done"


def test_a_job_that_runs_is_stopped_and_deleted(shared: RunningServer, generic: str, page: Page) -> None:
    job_id = make_model(shared, generic, 100_000)
    page.goto(f"{shared.url}/models/{job_id}")
    until(lambda: points(page) > 0, 60, "it learns", wait=page.wait_for_timeout)
    page.get_by_role("button", name="Delete job").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It is stopped first.")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url(f"{shared.url}/")
    assert requests.get(f"{shared.url}/jobs/{job_id}/events", timeout=60).status_code == 404


def zeros_and_ones(folder: Path, count: int) -> Path:
    """Of so many digits those of two classes, as class folders."""
    for pictures in save_digits(folder, count).iterdir():
        if pictures.name not in ("0", "1"):
            shutil.rmtree(pictures)
    return folder


@pytest.fixture
def long_dataset(shared: RunningServer, digits: Path) -> Iterator[str]:
    """A dataset that is being made, for as long as the test likes: its four training images are ready soon."""
    few, many = (zeros_and_ones(digits.parent / name, count) for name, count in (("few", 20), ("many", 400)))
    folders: dict[str, str | int] = {"folder_train": str(few), "has_val_folder": 1, "folder_val": str(many)}
    large: dict[str, str | int] = {"resize_channels": 1, "resize_width": 4096, "resize_height": 4096}
    job_id = post(shared, "datasets/images/classification", {"dataset_name": "Long"} | folders | large)
    yield job_id
    requests.post(f"{shared.url}/jobs/{job_id}/abort", timeout=60)
    requests.delete(f"{shared.url}/jobs/{job_id}", timeout=60)


def test_a_dataset_that_is_being_made_is_stopped_and_deleted(
    shared: RunningServer, long_dataset: str, page: Page
) -> None:
    page.goto(f"{shared.url}/datasets/{long_dataset}")
    expect(page.locator('[data-status="Running"]')).to_be_visible()
    page.get_by_role("button", name="Delete job").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url(f"{shared.url}/")
    assert requests.get(f"{shared.url}/jobs/{long_dataset}/events", timeout=60).status_code == 404


def test_what_somebody_writes_stays_when_the_dataset_ends(shared: RunningServer, long_dataset: str, page: Page) -> None:
    page.goto(f"{shared.url}/datasets/{long_dataset}")
    rows = page.locator('[data-role="database-rows"] tr')
    expect(rows).to_have_text([re.compile("^Training4")], timeout=120_000)
    page.get_by_role("button", name="Edit the notes").click()
    notes = page.get_by_label("Notes", exact=True)
    notes.fill("Half a")
    requests.post(f"{shared.url}/jobs/{long_dataset}/abort", timeout=60)
    expect(page.locator('[data-status="Aborted"]')).to_be_visible()
    # What only the server knows of a dataset that has ended.
    expect(page.locator('[data-role="size"]')).to_have_text(re.compile(r"\d"))
    expect(rows).to_have_text([re.compile("^Training4")])
    notes.press_sequentially(" sentence.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".note-text")).to_have_text("Half a sentence.")
    page.reload()
    expect(rows).to_have_text([re.compile("^Training4")])


def knows_late_answers(server: RunningServer, job_id: str, page: Page) -> None:
    """The page of a job that waits is told of a new name, and then gets an answer of before that."""
    name = page.get_by_role("heading", level=1)
    renamed = f"{name.inner_text()} by one"
    held = held_requests(page, "**/events?*")
    # It asks for news when it is looked at again.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    late = until(lambda: held, 60, "it asks", wait=page.wait_for_timeout)[0]
    answer = late.fetch()
    requests.put(f"{server.url}/jobs/{job_id}", data={"job_name": renamed}, timeout=60)
    expect(name).to_have_text(renamed)
    answers: list[Response] = []
    page.on("response", lambda response: "/events?" in response.url and answers.append(response))
    late.fulfill(response=answer)
    page.unroute("**/events?*")
    until(lambda: len(answers) >= 2, 60, "it asks once more", wait=page.wait_for_timeout)
    expect(name).to_have_text(renamed)


def test_a_dataset_that_a_model_waits_for_is_not_stopped_to_be_deleted(
    shared: RunningServer, dataset: str, digits: Path, page: Page
) -> None:
    large: dict[str, str | int] = {"folder_train": str(digits), "resize_width": 4096, "resize_height": 4096}
    busy = [
        post(shared, "datasets/images/classification", {"dataset_name": f"Busy {number}", **large})
        for number in range(DATASET_JOBS_AT_ONCE)
    ]
    images = {"prebuilt_train_images": str(shared.data_dir / "jobs" / dataset / "train_db")}
    generic = post(shared, "datasets/images/generic", {"dataset_name": "Awaited", **images})
    joined = told_that_it_hears(page)
    page.goto(f"{shared.url}/datasets/{generic}")
    until(lambda: joined, 30, "it hears of the job", wait=page.wait_for_timeout)
    knows_late_answers(shared, generic, page)
    page.get_by_role("button", name="Delete job").click()
    yes = page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True)
    expect(yes).to_be_visible()
    # While the person thinks about it.
    model = make_model(shared, generic, 1)
    held = held_requests(page, "**/abort")
    yes.press("Enter")
    waiting = page.get_by_role("button", name="Deleting…")
    expect(waiting).to_have_attribute("aria-busy", "true")
    expect(waiting).to_be_disabled()
    until(lambda: held, 60, "the server is asked", wait=page.wait_for_timeout)[0].continue_()
    expect(page.locator('[data-role="action-error"]')).to_have_text(
        'Cannot delete "Awaited by one" because 1 job depends on it: "Model". Delete those first.'
    )
    expect(page.get_by_role("button", name="Delete job")).to_be_enabled()
    expect(page.get_by_role("button", name="Delete job")).to_be_focused()
    assert [shared.status(job_id)["status"] for job_id in (generic, model)] == ["Waiting", "Waiting"]
    for job_id in (model, generic, *busy):
        requests.post(f"{shared.url}/jobs/{job_id}/abort", timeout=60)
        shared.wait_for_job(job_id, wait=page.wait_for_timeout)


def test_home_filters_sorts_and_deletes(shared: RunningServer, generic: str, digits: Path, page: Page) -> None:
    doomed = make_dataset(shared, digits, "Zebra")
    page.goto(shared.url)
    rows = page.locator('[data-table="datasets"] tbody tr')
    expect(rows.filter(has_text="<b>Bold</b>")).to_have_count(1)
    sort = page.locator('[data-table="datasets"]').get_by_role("button", name="Name")
    sort.click()
    names = rows.locator("td.name a")
    until(lambda: names.all_inner_texts() == sorted(names.all_inner_texts(), key=str.casefold), 60, "sorted by name",
          wait=page.wait_for_timeout)  # fmt: skip
    sort.click()
    expect(names.first).to_have_text("Zebra")
    page.get_by_placeholder("Filter by name").fill("zeb done")
    expect(rows).to_have_count(1)
    page.get_by_label("Select Zebra").check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(rows).to_have_count(0)
    assert requests.get(f"{shared.url}/jobs/{doomed}/events", timeout=60).status_code == 404


def test_narrow_pages_do_not_scroll_sideways_and_are_readable_in_both_themes(
    shared: RunningServer, generic: str, dataset: str, browser: Browser
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, reduced_motion="reduce")
    page = context.new_page()
    forms = [
        f"{kind}/new" for kind in ("datasets/images/classification", "datasets/images/generic", "models/images/generic")
    ]
    explore = f"datasets/images/classification/explore?job_id={dataset}&db=train"
    for path in ("", *forms, f"datasets/{dataset}", f"datasets/{generic}", explore, "jobs/none"):
        page.goto(f"{shared.url}/{path}")
        page.wait_for_load_state("networkidle" if path in forms else "load")
        assert no_sideways_scroll(page), path
        for colours in ("light", "dark"):
            page.emulate_media(color_scheme=colours)  # type: ignore[arg-type]
            expect(page.locator("html")).to_have_attribute("data-theme", colours)
            assert faint_texts(page) == [], (path, colours)
    context.close()


def test_a_server_that_comes_back_in_mid_training(
    shared: RunningServer, generic: str, digits: Path, page: Page
) -> None:
    """The banner says that the line is down; the curve goes on, and has every point when the job ends."""
    job_id = make_model(shared, generic, 2500)
    page.goto(f"{shared.url}/models/{job_id}")
    until(lambda: points(page) > 5, 60, "the curve moves", wait=page.wait_for_timeout)
    shared.stop()
    banner = page.get_by_role("status").filter(has_text=re.compile("Reconnecting"))
    expect(banner).to_be_visible(timeout=20_000)
    before = points(page)
    restart(shared, digits.parent)
    expect(banner).to_be_hidden(timeout=30_000)
    until(lambda: points(page) > before, 30, "the curve goes on", wait=page.wait_for_timeout)
    requests.post(f"{shared.url}/jobs/{job_id}/abort", timeout=60)
    expect(page.locator('[data-status="Aborted"]')).to_be_visible(timeout=30_000)
    told = len(train_losses(shared, job_id))
    until(lambda: points(page) == told, 20, "every point is there", wait=page.wait_for_timeout)
    page.reload()
    until(lambda: points(page) == told, 20, "and again after a reload", wait=page.wait_for_timeout)


def restart(server: RunningServer, *data_roots: Path) -> None:
    """The same address and data directory, as after a person's Ctrl+C and arrow up."""
    server.process = start_server(server.data_dir, *data_roots, port=urlsplit(server.url).port or 0).process
