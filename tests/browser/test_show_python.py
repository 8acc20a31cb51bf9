"""Show the Python: from a network in Lua to the same in Python, read, copied, gone on with and trained."""

import re

import pytest
from playwright.sync_api import Page, expect

from jobs.networks.starter import starter_network
from tests.browser import walk
from tests.browser.conftest import PictureKeeper
from tests.conftest import RunningServer, until

STARTER = starter_network((1, 28, 28))
OWN_CLASS = """\
local Half, parent = torch.class('nn.Half', 'nn.Module')

function Half:updateOutput(input)
    self.output = input * 0.5
    return self.output
end

function Half:updateGradInput(input, gradOutput)
    self.gradInput = gradOutput * 0.5
    return self.gradInput
end

return function(params)
    local model = nn.Sequential():add(nn.SpatialConvolution(1, 1, 3, 3, 1, 1, 1, 1)):add(nn.Half())
    return {model = model, loss = nn.MSECriterion(), labelHook = function(input) return input end}
end
"""


@pytest.fixture
def form(shared: RunningServer, generic: str, page: Page) -> Page:
    """The form of a new model, its tab Torch with the seed's network in it."""
    page.goto(f"{shared.url}/models/images/generic/new?dataset={generic}")
    expect(page.locator("form[data-editor=ready]")).to_be_visible()
    expect(page.get_by_role("button", name="Show the Python")).to_be_hidden()
    page.get_by_role("tab", name="Torch", exact=True).click()
    walk.paste_network(page, walk.LUA)
    return page


def show_the_python(page: Page) -> None:
    button = page.get_by_role("button", name="Show the Python")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The same network in Python")).to_be_focused(timeout=60_000)


def in_the_editor(page: Page) -> str:
    return page.locator("#custom_network").input_value()


def test_a_network_in_lua_goes_on_in_python_and_trains(
    shared: RunningServer, form: Page, keep_picture: PictureKeeper
) -> None:
    show_the_python(form)
    shown = form.locator('[data-role="python"]')
    expect(shown.get_by_text("Both were run")).to_contain_text("the same weights, outputs, loss and gradients")
    expect(shown.get_by_label("The network in Python, to read")).to_have_attribute("aria-readonly", "true")
    keep_picture(form, "shown")
    outdated = shown.get_by_text("The Lua or what it is for was changed since.")
    expect(outdated).to_be_hidden()
    form.get_by_label("Custom network, in Lua").press("x")
    expect(outdated).to_be_visible()
    form.keyboard.press("Control+z")
    expect(outdated).to_be_hidden()
    copy = shown.get_by_role("button", name="Copy")
    # It says so for a moment only.
    copy.evaluate("""button => {
        window.said = [];
        new MutationObserver(() => window.said.push(button.textContent)).observe(button, { childList: true });
    }""")
    copy.click()
    until(lambda: "Copied" in form.evaluate("window.said"), 30, "it is copied", wait=form.wait_for_timeout)
    python = str(form.evaluate("navigator.clipboard.readText()"))
    assert "nn.Linear(784, 300)" in python
    assert "def network(params):" in python

    shown.get_by_role("button", name="Continue in Python").click()
    expect(form.get_by_role("tab", name="PyTorch", exact=True)).to_have_attribute("aria-selected", "true")
    expect(form.get_by_label("Custom network, in Python")).to_be_focused()
    expect(shown).to_be_hidden()
    assert in_the_editor(form) == python
    form.keyboard.press("Control+z")
    assert in_the_editor(form) == STARTER, "one undo takes it back"
    form.keyboard.press("Control+y")
    assert in_the_editor(form) == python

    fields = {"model_name": "Once in Lua", "train_epochs": "100", "batch_size": "10", "random_seed": "1"}
    for field, value in fields.items():
        form.locator(f"#{field}").fill(value)
    form.get_by_role("button", name="Create").click()
    form.wait_for_url("**/models/2*")
    walk.wait_for_done(form)
    means = walk.epoch_means(shared, form.url.rsplit("/", 1)[1], 1, 100)
    assert means[100] < means[1] / 3, "it learns"
    form.get_by_role("link", name="Clone").click()
    expect(form.get_by_role("tab", name="PyTorch", exact=True)).to_have_attribute("aria-selected", "true")


def test_python_of_ones_own_is_replaced_only_after_a_yes(form: Page) -> None:
    form.get_by_role("tab", name="PyTorch", exact=True).click()
    walk.paste_network(form, "mine = 1")
    form.get_by_role("tab", name="Torch", exact=True).click()
    show_the_python(form)
    go_on = form.get_by_role("button", name="Continue in Python")
    go_on.click()
    dialog = form.get_by_role("dialog", name="Replace the network in the tab PyTorch?")
    dialog.get_by_role("button", name="Keep mine").click()
    expect(form.get_by_role("tab", name="Torch", exact=True)).to_have_attribute("aria-selected", "true")
    expect(go_on).to_be_focused()
    go_on.click()
    dialog.get_by_role("button", name="Replace it").click()
    expect(form.get_by_label("Custom network, in Python")).to_be_focused()
    assert "def network(params):" in in_the_editor(form)
    form.keyboard.press("Control+z")
    assert in_the_editor(form) == "mine = 1"


def test_what_has_no_python_is_told_with_its_line_of_the_lua(form: Page) -> None:
    walk.paste_network(form, OWN_CLASS)
    show_the_python(form)
    shown = form.locator('[data-role="python"]')
    expect(shown).to_contain_text("This Python does not do the same as the Lua in everything.")
    note = shown.get_by_role("listitem").filter(has_text=re.compile("write its forward by hand"))
    note.get_by_role("button", name=re.compile(r"^Line \d+$")).click()
    expect(form.get_by_label("Custom network, in Lua")).to_be_focused()
    line = str(form.evaluate("getSelection().toString()"))
    assert "Half" in line
    assert line in OWN_CLASS.splitlines()


def test_show_the_python_says_which_line_of_the_lua_is_wrong(form: Page) -> None:
    walk.paste_network(form, walk.LUA.replace("nn.Linear(50,300)", "nn.Linear(51,300)"))
    form.get_by_role("button", name="Show the Python").click()
    expect(form.locator('[data-role="python"]').get_by_role("alert")).to_contain_text("it takes 51", timeout=60_000)
    expect(form.locator(".cm-bad-line")).to_contain_text("nn.Linear(51,300)")


def test_show_the_python_of_a_network_that_never_ends_is_cancelled(form: Page) -> None:
    walk.paste_network(form, "while true do end")
    button = form.get_by_role("button", name="Show the Python")
    button.click()
    form.locator('[data-role="python"]').get_by_role("button", name="Cancel").click()
    expect(form.locator('[data-role="python"]')).to_contain_text("Cancelled")
    expect(button).to_be_focused()
    walk.paste_network(form, walk.LUA)
    show_the_python(form)
