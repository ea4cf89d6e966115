"""Pages in a real browser, wide and narrow: they fit, fold, sort, print and can be read by all.

These tests need a Chromium and the extra `browser`; they are skipped without.
"""

import csv
import re
import shutil

import page_samples
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="likewise")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WIDE, NARROW = 1280, 400
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One page of each kind, as files, by name."""
    folder = tmp_path_factory.mktemp("pages")
    paths = {}
    for name, html in page_samples.pages().items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(html, encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # The sandbox needs a user other than root, which containers seldom have.
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def visit(browser, pages):
    """Opens a page at a width, and fails if it logs an error or asks for anything else."""
    troubles, contexts = [], []

    def open_page(name: str, width: int = WIDE, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: troubles.append(request.url))
        page.goto(pages[name].as_uri())
        troubles.remove(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not [text for text in troubles if not text.startswith("blob:")]


NAMES = page_samples.PAGES


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_overflows(visit, name, width):
    page = visit(name, width)
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        """width => [...document.querySelectorAll('body *')]
            .filter(part => !part.closest('.wide, svg') && part.checkVisibility()
                            && part.getBoundingClientRect().right > width + 1)
            .map(part => part.outerHTML.slice(0, 80))""",
        width,
    )
    assert not wide


@pytest.mark.parametrize("name", NAMES)
def test_every_plot_has_a_text(visit, name):
    page = visit(name)
    plots = page.locator("svg:not([aria-hidden=true]), img")
    assert plots.count()
    texts = plots.evaluate_all(
        "plots => plots.map(plot => plot.getAttribute('aria-label') || plot.alt || '')"
    )
    assert all(len(text) > 20 for text in texts)


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in NAMES), ("training", "dark")]
)
def test_axe_finds_nothing_serious(visit, name, scheme):
    page = visit(name, NARROW if scheme == "dark" else WIDE, color_scheme=scheme)
    # Sections are alike; axe would take long for all of them.
    page.evaluate(
        "[...document.querySelectorAll('details')].slice(0, 5).forEach(part => (part.open = true))"
    )
    found = axe.Axe().run(page).response["violations"]
    serious = {item["id"]: item["nodes"][0]["html"] for item in found if item["impact"] in SERIOUS}
    assert not serious


def test_sections_fold_and_links_unfold_them(visit):
    page = visit("evaluation")
    parts = page.locator("details")
    assert page.locator("details[open]").count() == 0
    summary = page.locator("details summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    target = page.locator('a[href^="#task-"]').first
    name = target.get_attribute("href")
    target.click()
    page.wait_for_selector(f"{name}[open]")
    button = page.get_by_role("button", name="Unfold all sections")
    button.click()
    assert page.locator("details[open]").count() == parts.count()
    page.get_by_role("button", name="Fold all sections").click()
    assert page.locator("details[open]").count() == 0


def column(page, number: int) -> list[str]:
    cells = page.locator(f"#main-scores tbody tr > :nth-child({number})")
    return cells.all_text_contents()


def test_sorting_sorts_and_keeps_what_is_not_defined_last(visit):
    page = visit("evaluation")
    page.evaluate("document.getElementById('main-scores').open = true")
    button = page.locator("#main-scores thead th:nth-child(3) button")

    def numbers() -> list[float]:
        texts = column(page, 3)
        known = [float(m.group()) for text in texts if (m := re.match(r"\d+(\.\d+)?", text))]
        assert "not defined" in texts
        assert all(not re.match(r"\d", text) for text in texts[len(known) :])
        return known

    button.focus()
    page.keyboard.press("Enter")
    assert numbers() == sorted(numbers(), reverse=True)
    assert page.locator("th[aria-sort=descending]").count() == 1
    button.click()
    assert numbers() == sorted(numbers())
    page.locator("#main-scores thead th:nth-child(1) button").click()
    assert column(page, 1) == sorted(column(page, 1))


def test_a_table_is_saved_as_csv(visit, tmp_path):
    page = visit("evaluation")
    page.evaluate("document.getElementById('main-scores').open = true")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the table main_scores as CSV").click()
    waiting.value.save_as(tmp_path / "table.csv")
    assert waiting.value.suggested_filename == "main_scores.csv"
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        head, first, *_ = csv.reader(file)
    model = page_samples.MODELS[0]
    assert head[:5] == ["task", "score", model, f"{model}, low", f"{model}, high"]
    value, low, high = (float(cell) for cell in first[2:5])
    assert low <= value <= high


def test_the_first_column_stays_when_a_table_is_scrolled(visit):
    page = visit("evaluation", NARROW)
    page.evaluate("document.getElementById('main-scores').open = true")
    frame = page.locator("#main-scores .wide")
    assert frame.evaluate("part => part.scrollWidth > part.clientWidth")
    first = page.locator("#main-scores tbody tr:first-child > :first-child")
    before = first.bounding_box()["x"]
    frame.evaluate("part => { part.scrollLeft = 150 }")
    assert first.bounding_box()["x"] == pytest.approx(before, abs=1)


def test_a_printed_page_is_unfolded_and_light(visit):
    page = visit("evaluation", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    hidden = page.locator("details .wide").first
    assert hidden.bounding_box()["height"] > 20
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"


def test_without_scripts_the_page_shows_the_same(visit):
    page = visit("evaluation", java_script_enabled=False)
    assert page.locator("th button").count() == 0
    page.locator("#main-scores summary").click()
    assert page.locator("#main-scores table").is_visible()
