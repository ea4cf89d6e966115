"""The documentation builds strictly as a site that fetches nothing and links to nothing strange."""

import html.parser
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from docs_blocks import PAGES, ROOT

from clef_jax import command_line

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")

EXTERNAL = (
    r"https://(arxiv\.org/abs|doi\.org)/",  # papers
    r"https://physionet\.org/(files|content)/",  # data sets
    r"https://github\.com/microsoft/aurorabp-sample-data",
    r"https://(creativecommons\.org|www\.apache\.org|physionet\.org/about)/licenses/",  # licences
    r"https://(keepachangelog\.com/en/|semver\.org/spec/)",  # forms of the changelog and versions
)
"""Where pages may link to."""
LARGEST_SITE_BYTES = 20_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "JAX_PLATFORMS": "cpu"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Found(html.parser.HTMLParser):
    """What a page loads, what it links to, and its images without a text."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.silent_images: list[str] = []
        self.classes: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.classes |= set(values.get("class", "").split())
        if tag in ("a", "form"):
            self.links.append(values.get("href") or values.get("action", ""))
            return
        self.loaded += [
            values[name] for name in ("src", "srcset", "href", "data") if name in values
        ]
        if tag == "img" and not values.get("alt"):
            self.silent_images.append(values["src"])


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Found]:
    return {path.relative_to(site).as_posix(): Found(path) for path in site.rglob("*.html")}


def is_elsewhere(address: str) -> bool:
    return re.match(r"([a-z][a-z+.-]*:)?//", address) is not None


def test_pages_load_nothing_from_elsewhere(site, pages):
    loaded = {(name, address) for name, page in pages.items() for address in page.loaded}
    assert loaded
    assert not {pair for pair in loaded if is_elsewhere(pair[1])}
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text())
    # The theme's script would fetch these for diagrams and for repositories.
    classes = {name for page in pages.values() for name in page.classes}
    assert not {"mermaid", "md-source__repository"} & classes


def test_pages_link_only_to_papers_data_sets_and_licences(pages):
    links = {(name, link) for name, page in pages.items() for link in page.links}
    elsewhere = {pair for pair in links if is_elsewhere(pair[1])}
    assert elsewhere
    assert not {pair for pair in elsewhere if not re.match("|".join(EXTERNAL), pair[1])}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_sources_link_only_to_papers_data_sets_and_licences(page):
    links = re.findall(r"\]\((https?://[^)\s]+)\)", page.read_text())
    assert not [link for link in links if not re.match("|".join(EXTERNAL), link)]


def test_every_page_and_command_is_on_the_site(site, pages):
    assert {f"reference/commands/{name}.html" for name in command_line.summaries()} <= set(pages)
    converting = (site / "reference" / "commands" / "convert.html").read_text()
    assert "usage: clef-jax convert to-onnx" in converting
    docs = ROOT / "docs"
    places = {path.relative_to(docs).with_suffix(".html").as_posix() for path in docs.rglob("*.md")}
    assert places - {"README.html"} <= set(pages)
    navigation = (site / "index.html").read_text()
    assert not [place for place in sorted(places - {"README.html"}) if place not in navigation]


def test_reference_of_python_has_the_public_names(site):
    text = (site / "reference" / "python.html").read_text()
    names = re.findall(
        r"^::: (clef_jax\.\S+)$", (ROOT / "docs/reference/python.md").read_text(), re.M
    )
    assert len(names) > 25
    assert not [name for name in names if f'id="{name}"' not in text]


def test_every_image_has_a_text_and_the_site_is_small(site, pages):
    assert not [page.silent_images for page in pages.values() if page.silent_images]
    assert sum(path.stat().st_size for path in site.rglob("*.*")) < LARGEST_SITE_BYTES


def test_pages_name_no_folder_of_the_machine(site):
    text = "".join(path.read_text() for path in site.rglob("*.html"))
    assert str(ROOT) not in text
    assert not re.search(r"(?<![\w.])/(home|Users|root|tmp)/\w+/", text)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of Playwright's pipes
def test_a_browser_fetches_files_of_the_site_only(site):
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="the extra `browser` is not installed"
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    fetched, problems = set(), []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.on("request", lambda request: fetched.add(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        for name in ("index", "tutorials/own_recordings", "reference/python"):
            page.goto((site / f"{name}.html").as_uri())
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 400, name
        page.goto((site / "index.html").as_uri())
        page.locator("label.md-header__button[for=__search]").click()
        page.locator("input.md-search__input").press_sequentially("filter")
        page.locator(".md-search-result__item").first.wait_for(timeout=30_000)
        browser.close()
    assert not problems
    assert not {url for url in fetched if not url.startswith((site.as_uri(), "data:", "blob:"))}
