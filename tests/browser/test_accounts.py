"""People with accounts at a browser: in, at work, and out again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PictureKeeper, told_that_it_hears
from tests.conftest import RunningServer, start_server, until
from tests.web.people import PASSWORD
from webapp.accounts import Accounts, Role

LONG_NAME = "someone-with-a-very-long-name.of-the-institute_1234567890"


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    accounts = Accounts(tmp_path_factory.mktemp("accounts") / "accounts.sqlite")
    for name in ("ada", "bob", LONG_NAME):
        accounts.add(name, PASSWORD, Role.MEMBER)
    yield accounts
    accounts.close()


@pytest.fixture(scope="module")
def house(accounts: Accounts, tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Iterator[RunningServer]:
    data_dir = tmp_path_factory.getbasetemp() / "accounts0"
    running = start_server(data_dir, digits.parent)
    yield running
    running.stop()


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def log_out(page: Page) -> None:
    page.locator("summary", has=page.locator(".who-name")).click()
    page.get_by_role("button", name="Log out").click()


def test_a_day_with_an_account(house: RunningServer, page: Page, browser: Browser, accounts: Accounts, digits: Path,
                               keep_picture: PictureKeeper) -> None:  # fmt: skip
    page.goto(f"{house.url}/datasets/images/classification/new")
    expect(page.get_by_role("heading", name="Login")).to_be_visible()
    log_in(page, "bob", "not my password")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    keep_picture(page, "login")
    log_in(page, "bob")
    # On to where one wanted to go.
    page.wait_for_url("**/datasets/images/classification/new")
    page.get_by_label("Training images").fill(str(digits))
    page.get_by_label("Dataset name").fill("My own")
    page.get_by_label("Private").check()
    page.get_by_role("button", name="Create").click()
    expect(page.locator('[data-status="Done"]')).to_be_visible(timeout=60_000)
    keep_picture(page, "private")

    elsewhere = browser.new_context()
    other = elsewhere.new_page()
    joined = told_that_it_hears(other)
    other.goto(house.url)
    log_in(other, LONG_NAME)
    expect(other.get_by_role("heading", name="Watch a network learn")).to_be_visible()
    page.get_by_role("checkbox", name="Private").uncheck()
    # Told live: the job is there now, and not theirs to change.
    expect(other.get_by_role("link", name="My own")).to_be_visible()
    expect(other.get_by_role("checkbox", name="Select My own")).to_be_disabled()
    joined.clear()
    other.get_by_role("link", name="My own").click()
    expect(other.get_by_text("It is bob’s: only bob and admins may change it.")).to_be_visible()
    expect(other.get_by_role("button", name="Delete job")).to_be_hidden()
    keep_picture(other, "of-another")

    lists = elsewhere.new_page()
    lists.goto(house.url)
    expect(lists.get_by_role("link", name="My own")).to_be_visible()
    until(lambda: joined, 30, "it hears of the job", wait=other.wait_for_timeout)
    page.get_by_role("checkbox", name="Private").press("Space")
    expect(other.get_by_role("alert")).to_contain_text("This job is private now: only its owner can see it.")
    expect(other.get_by_role("link", name="Clone job")).to_be_hidden()
    keep_picture(other, "private-now")
    expect(lists.get_by_role("link", name="My own")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_hidden()
    accounts.set_password(LONG_NAME, PASSWORD)
    expect(other.get_by_text("You are not logged in any more.")).to_be_visible()
    elsewhere.close()

    log_out(page)
    page.wait_for_url(re.compile(r"/login\?next="))
    page.go_back()
    expect(page.get_by_role("heading", name="Login")).to_be_visible()


def test_a_token_from_the_page_works_once_it_is_made_until_it_is_revoked(house: RunningServer, page: Page,
                                                                         keep_picture: PictureKeeper) -> None:  # fmt: skip
    page.goto(f"{house.url}/account")
    log_in(page, "ada")
    page.get_by_label("What is the next one for?").fill("nightly runs")
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    token = page.locator('[data-role="token"] code').first.inner_text()
    bearer = {"Authorization": f"Bearer {token}"}
    programs = page.context.browser.new_context(extra_http_headers=bearer)  # type: ignore[union-attr]
    assert programs.request.get(f"{house.url}/index.json").status == 200
    keep_picture(page, "token")
    page.set_viewport_size({"width": 390, "height": 800})
    inside = "all => all.every((table) => table.scrollWidth <= table.clientWidth)"
    assert page.locator(".table-scroll").evaluate_all(inside), "nothing lies beside the screen"
    page.get_by_role("button", name="Revoke the token for nightly runs").press("Enter")
    expect(page.get_by_text("The token was revoked.")).to_be_visible()
    assert programs.request.get(f"{house.url}/index.json").status == 401
    programs.close()
