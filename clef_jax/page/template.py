"""Makes self-contained HTML pages: one template, one look, no network.

A page holds its style, its charts and a small script that sorts tables, saves them as CSV and
unfolds sections; without the script it shows the same. It forbids itself to load anything else.
"""

import functools
import html
import importlib.resources
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from clef_jax import files
from clef_jax.page import colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
"""
"""Start of every page, by which a page of ours is recognised; those of earlier versions begin
alike."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def document(title: str, *parts: str) -> str:
    """Returns a page with a title and parts that are already HTML."""
    head = _HEAD.format(title=html.escape(title))
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    style = f"{colour.style()}\n{_resource('style.css')}"
    body = f"<main><h1>{html.escape(title)}</h1>{''.join(parts)}</main>"
    script = f"<script>{_resource('script.js')}</script>"
    return f"{head}{style}</style>{policy}</head><body>{body}{script}</body></html>\n"


@functools.cache
def _resource(name: str) -> str:
    return importlib.resources.files("clef_jax.page").joinpath(name).read_text(encoding="utf-8")


def is_document(path: pathlib.Path, title: str) -> bool:
    """Returns whether a file is a page with this title that `document` made."""
    return files.starts_with(path, _HEAD.format(title=html.escape(title)))


def description_list(values: Mapping[str, str]) -> str:
    """Returns a list of names with their values as HTML."""
    rows = (f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in values.items())
    return f"<dl>{''.join(rows)}</dl>"


def section(
    title: str, caption: str, *parts: str, level: int = 2, anchor: str | None = None
) -> str:
    """Returns a heading, a caption, and parts that are already HTML.

    Links and tests find the section by its anchor, which stays when the title is rewritten.
    """
    heading = f"<h{level}>{html.escape(title)}</h{level}>"
    words = f"<p>{html.escape(caption)}</p>" if caption else ""
    name = f' id="{html.escape(anchor)}"' if anchor else ""
    return f"<section{name}>{heading}{words}{''.join(parts)}</section>"


def picture(drawn: "Figure", what: str) -> str:
    """Returns an embedded figure as HTML; `what` describes it for readers who cannot see it."""
    from clef_jax.page import figure as figure_lib

    image = f'<img alt="{html.escape(what)}" src="{figure_lib.as_data_uri(drawn)}">'
    return f'<div class="wide" tabindex="0" role="group" aria-label="Picture">{image}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, name: str = "") -> str:
    """Returns a table of cells that are already HTML; the header is text.

    The first column stays in view when the others are scrolled.

    Args:
        name: name of the table's file; readers can then sort the table and save it as CSV.
    """
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in header)
    body = "".join(f"<tr>{''.join(_cells(row))}</tr>" for row in rows)
    content = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    tools = f' data-name="{html.escape(name)}"' if name else ""
    label = html.escape(f"Table {name}" if name else f"Table: {', '.join(header)}")
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{label}">'
        f"<table{tools}>{content}</table></div>"
    )


def _cells(row: Sequence[str]) -> Iterable[str]:
    for column, cell in enumerate(row):
        yield f"<td>{cell}</td>" if column else f'<th scope="row">{cell}</th>'


def interval(low: str, high: str) -> str:
    """Returns an interval as HTML, which stands after its value in a cell of a table."""
    return f' <span class="interval">{low} to {high}</span>'


def notes(sentences: Iterable[str]) -> str:
    """Returns a list of sentences as HTML; empty without any."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="notes">{items}</ul>' if items else ""


def links(targets: Mapping[str, str]) -> str:
    """Returns a list of links to sections, by their anchors."""
    items = "".join(f'<li><a href="#{a}">{html.escape(n)}</a></li>' for a, n in targets.items())
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def folded(
    title: str,
    *parts: str,
    caption: str = "",
    gist: str = "",
    level: int = 0,
    anchor: str | None = None,
) -> str:
    """Returns parts that the reader can unfold.

    Args:
        parts: HTML.
        caption: text above the parts.
        gist: text beside the title, which is seen without unfolding.
        level: level of the title as a heading; 0 for none.
        anchor: name of the section for links and tests.
    """
    heading = html.escape(title)
    heading = f"<h{level}>{heading}</h{level}>" if level else heading
    heading += f'<span class="gist">{html.escape(gist)}</span>' if gist else ""
    words = f'<p class="quiet">{html.escape(caption)}</p>' if caption else ""
    name = f' id="{html.escape(anchor)}"' if anchor else ""
    return f"<details{name}><summary>{heading}</summary>{words}{''.join(parts)}</details>"
