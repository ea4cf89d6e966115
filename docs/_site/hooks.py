"""What MkDocs calls while it builds the site: adds pages and moves links."""

import pathlib

import links
import pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

TOP = pathlib.Path(__file__).resolve().parents[2]
GUIDES = "Guides"
"""Section for the pages of docs that the navigation does not name."""
FETCHED, OWN = "https://unpkg.com/iframe-worker/shim", "_site/worker.js"
"""Script that the theme would fetch so that the search works from files, and ours."""
_origins: dict[str, str] = {}
"""File in the repository by place on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are no files of docs."""
    _origins.update({file.src_uri: f"docs/{file.src_uri}" for file in files})
    for page in pages.collect(TOP):
        files.append(File.generated(config, page.path, content=page.text))
        _origins[page.path] = page.origin
    config.nav = navigation(
        config.nav or [], [file.src_uri for file in files.documentation_pages()]
    )
    return files


def navigation(nav: list, places: list[str]) -> list:
    """Returns the navigation with the pages below its pages, and with all guides.

    Args:
        nav: entries of `mkdocs.yml`, each a title with a page or with entries.
        places: all pages of the site.
    """
    named = {place for entry in nav for place in _places(entry)}
    further = sorted(place for place in places if "/" not in place and place not in named)
    full = [_with_pages_below(entry, places) for entry in nav]
    for entry in full:
        if GUIDES in entry:
            entry[GUIDES] += further
    return full


def _places(entry: dict | str) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [
        place
        for value in entry.values()
        for inner in (value if isinstance(value, list) else [value])
        for place in _places(inner)
    ]


def _with_pages_below(entry: dict, places: list[str]) -> dict:
    """Returns an entry in which `a/index.md` leads to the other pages of the folder `a`, too."""
    ((title, value),) = entry.items()
    if isinstance(value, list):
        return {title: [_with_pages_below(inner, places) for inner in value]}
    if not value.endswith("/index.md"):
        return {title: value}
    folder = value.removesuffix("index.md")
    below = (place for place in places if place.startswith(folder) and place != value)
    return {title: [value, *sorted(below)]}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Returns the text of a page with links that hold on the site."""
    places = {origin: place for place, origin in _origins.items()}
    place = page.file.src_uri
    return links.moved(markdown, origin=_origins[place], page=place, pages=places, top=TOP)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Returns the HTML of a page that fetches nothing from elsewhere."""
    return output.replace(FETCHED, get_relative_url(OWN, page.url))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """Returns the HTML of the page for wrong addresses likewise."""
    return output_content.replace(FETCHED, OWN)
