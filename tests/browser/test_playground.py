"""Each panel of the playground, used as a person would."""

from __future__ import annotations

import re

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Visit
from tests.service.processes import server_process

pytestmark = pytest.mark.browser

PANELS = ("senses", "cloze", "naturalness", "tasks")


def same_sense(page: Page) -> tuple[int, int]:
    """What the panel Senses says: (occurrences whose nearest neighbour has their sense, all)."""
    same, everyone = re.findall(r"\d+", page.inner_text("#senses-summary"))
    return int(same), int(everyone)


def drag(page: Page, slider: str, value: float) -> None:
    """Set a slider as the keyboard does: to its end, then back in steps of its own."""
    page.focus(slider)
    page.keyboard.press("Home")
    for _ in range(round(value / 0.01)):
        page.keyboard.press("ArrowRight")


def heat(page: Page) -> list[list[float]]:
    """The table of cosines."""
    rows = page.locator("#senses-heatmap tbody tr").all()
    return [[float(cell) for cell in row.locator("td").all_inner_texts()] for row in rows]


def test_the_first_look_tells_one_word_from_itself(visit: Visit) -> None:
    page = visit.open()
    assert page.input_value("#senses-word") == "배"
    assert page.locator("#senses-list li").all_inner_texts()[0] == "아침부터 배가 고팠다. belly"
    assert page.locator("#senses-list mark").all_inner_texts() == ["배"] * 10
    same, everyone = same_sense(page)
    assert everyone == 10
    assert same > 5, "no better than a coin"


@pytest.mark.parametrize("example", ["눈", "bank", "spring"])
def test_examples_are_one_click_away(visit: Visit, example: str) -> None:
    page = visit.open()
    page.click(f"#senses-examples button:text-is('{example}')")
    visit.settled()
    same, everyone = same_sense(page)
    assert everyone == 10
    assert same > 5, "no better than a coin"


def test_a_slider_moves_the_mix(visit: Visit, address: str) -> None:
    page = visit.open(
        "#word=bank&text=The bank lent money.%0AThe bank of the river.%0AA bank raised its rates."
    )
    page.click("text=Layer 0 alone")
    assert heat(page) == [[1.0] * 3] * 3, "the same letters have one vector"
    drag(page, "#senses-layer-2", 1.0)
    assert page.inner_text("#senses-layer-0 + output") == "50 %"
    drag(page, "#senses-layer-0", 0.0)
    assert page.inner_text("#senses-layer-2 + output") == "100 %"
    sentences = ["The bank lent money.", "The bank of the river.", "A bank raised its rates."]
    spans = [[[s.index("bank"), s.index("bank") + 4]] for s in sentences]
    body = {"inputs": sentences, "spans": spans, "layer": "top", "normalize": True}
    embeddings = httpx.post(f"{address}/v1/embed", json=body).json()["embeddings"]
    rows = [embedding["vectors"][0] for embedding in embeddings]
    expected = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
    assert heat(page) == [[pytest.approx(value, abs=0.0051) for value in row] for row in expected]


def test_pointing_at_a_point_shows_its_sentence(visit: Visit) -> None:
    page = visit.open("#word=bank&text=The bank lent money.%0AThe bank of the river.")
    plot = page.locator("#senses-plot")
    box = plot.bounding_box()
    assert box is not None
    seen = set()
    for x in range(10, int(box["width"]) - 10, 10):  # two points lie on the first axis, which is half-way up
        plot.hover(position={"x": x, "y": box["height"] / 2})
        seen.add(page.inner_text("#senses-hovered"))
    assert seen == {"", "1. The bank lent money.", "2. The bank of the river."}


def test_a_link_brings_back_the_same_picture(visit: Visit, browser: Browser, address: str) -> None:
    page = visit.open("#word=bank&text=The bank lent money.%0AThe bank of the river. %23 river")
    drag(page, "#senses-layer-0", 0.25)
    drag(page, "#senses-gamma", 0.5)
    page.select_option("#language", "ko")
    shown = (page.inner_text("#senses-summary"), heat(page), page.inner_text("#senses-list"))
    link = page.url
    with browser.new_context() as other:
        again = Visit(other.new_page(), address)
        again.open(link.removeprefix(f"{address}/"))
        assert again.page.input_value("#senses-layer-0") == "0.25"
        assert again.page.input_value("#senses-gamma") == "0.5"
        assert (
            again.page.inner_text("#senses-summary"),
            heat(again.page),
            again.page.inner_text("#senses-list"),
        ) == shown
        assert again.page.get_attribute("html", "lang") == "ko"


def test_cloze_ranks_by_both_directions(visit: Visit, address: str) -> None:
    page = visit.open("#panel=cloze")
    page.fill("#cloze-text", "They ____ going to school every day.")
    page.fill("#cloze-candidates", "is, were ,was")
    page.click("#cloze-form button.main")
    visit.settled()
    body = {"text": "They ____ going to school every day.", "candidates": ["is", "were", "was"]}
    told = httpx.post(f"{address}/v1/cloze", json=body).json()["candidates"]
    rows = page.locator("#cloze-table tbody tr")
    assert rows.locator("th").all_inner_texts() == [candidate["text"] for candidate in told]
    shares = rows.locator("td:nth-child(2) .number").all_inner_texts()
    assert shares == [f"{100 * candidate['share']:.1f} %" for candidate in told]
    for column in (3, 4):
        column_shares = rows.locator(f"td:nth-child({column}) .number").all_inner_texts()
        assert sum(float(share.split()[0]) for share in column_shares) == pytest.approx(100, abs=0.2)


def test_cloze_proposes_without_candidates(visit: Visit) -> None:
    page = visit.open("#panel=cloze")
    page.fill("#cloze-candidates", "")
    page.click("#cloze-form button.main")
    page.wait_for_selector("#cloze-table tbody tr:nth-child(10)")
    assert page.locator("#cloze-table tbody tr").count() == 10


def test_naturalness_shows_each_token(visit: Visit, address: str) -> None:
    sentence = "The cat 🐈 sat."
    page = visit.open(f"#panel=naturalness&read={sentence}")
    score = httpx.post(f"{address}/v1/score", json={"inputs": [sentence]}).json()["scores"][0]
    item = page.locator("#naturalness-list li")
    assert item.locator("button").all_inner_texts() == [token["text"] for token in score["tokens"]]
    assert item.inner_text() == f"{sentence} perplexity {score['perplexity']:.1f}"
    page.click("#naturalness-list button:text-is('cat')")
    assert page.inner_text("#naturalness-token").startswith("“cat”: probability 0.")


def test_a_task_is_learned_and_tried(visit: Visit) -> None:
    page = visit.open("#panel=tasks")
    page.click("#tasks-learn")
    page.wait_for_selector("#error:not([hidden])")
    assert "expected sentences with their senses" in page.inner_text("#error").lower()
    page.click("#tab-senses")
    page.click("#senses-examples button:text-is('spring')")
    visit.settled()
    page.click("#tab-tasks")
    page.click("#tasks-learn")
    page.wait_for_selector("#tasks-form:not([hidden])")
    assert page.locator(".tasks .weights .number").count() == 3
    page.fill("#tasks-text", "The birds sang in early spring.")
    page.click("#tasks-form button.main")
    page.wait_for_selector("#tasks-result table")
    assert page.inner_text("#tasks-result strong") == "season"
    assert sorted(page.locator("#tasks-result th").all_inner_texts()) == ["coil", "season"]
    page.fill("#tasks-text", "The bank lent money.")
    page.fill("#tasks-word", "bank")
    page.click("#tasks-form button.main")
    page.wait_for_selector("#tasks-result p:has-text('was not among the examples')")


def test_what_goes_wrong_is_said_in_a_sentence(visit: Visit) -> None:
    page = visit.open()
    page.fill("#senses-text", "No such word here.\nNor here.")
    page.click("#senses-form button.main")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "Line 1: expected a word that begins with “배”, found none."
    page.click("#tab-cloze")
    visit.settled()
    page.fill("#cloze-text", "No blank.")
    page.click("#cloze-form button.main")
    page.wait_for_selector("#error:not([hidden])")
    assert "blank" in page.inner_text("#error")
    # The browser itself writes a failed request into its console.
    assert [line for line in visit.complaints if "422" not in line] == []
    visit.complaints.clear()


def test_panels_by_keyboard(visit: Visit) -> None:
    page = visit.open()
    page.focus("#tab-senses")
    for name in (*PANELS[1:], PANELS[0]):
        page.keyboard.press("ArrowRight")
        visit.settled()
        assert page.get_attribute(f"#tab-{name}", "aria-selected") == "true"
        assert page.is_visible(f"#panel-{name}")
        assert page.evaluate("document.activeElement.id") == f"tab-{name}"
    page.keyboard.press("ArrowLeft")
    assert page.is_visible("#panel-tasks")


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_for_axe_to_find(visit: Visit, language: str, scheme: str, width: int) -> None:
    page = visit.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 844})
    visit.open(f"#lang={language}")
    for name in PANELS:
        page.click(f"#tab-{name}")
        visit.settled()
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_attribute("html", "lang") == language


def test_a_key_is_asked_for_and_used(browser: Browser) -> None:
    key = "a-key-for-the-page"
    with server_process("--api-keys", key) as (_, client), browser.new_context() as context:
        visit = Visit(context.new_page(), str(client.base_url))
        page = visit.open()
        page.wait_for_selector("#key-form:not([hidden])")
        page.fill("#key", key)
        page.click("#key-form button")
        page.wait_for_selector("#senses-heatmap td")
        assert page.is_hidden("#key-form")
        assert key not in page.url
        assert [line for line in visit.complaints if "401" not in line] == []
