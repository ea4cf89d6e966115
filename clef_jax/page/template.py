"""The look of our pages: one file that needs nothing else, figures inside."""

import html
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.figure import Figure

from clef_jax.page import figure as figure_lib

_DOCUMENT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1b263b; max-width: 1080px; margin: 2rem auto;
  padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin: 2.2rem 0 .2rem; }}
h3 {{ font-size: 1rem; margin: 1.4rem 0 .2rem; }}
p {{ margin: 0 0 .6rem; color: #56607a; font-size: .92rem; }}
img {{ max-width: 100%; }} code {{ font-size: .85rem; overflow-wrap: anywhere; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }}
dt {{ color: #6b7486; }} dd {{ margin: 0; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; }}
th {{ text-align: left; font-weight: 600; }} tr + tr {{ border-top: 1px solid #e4e8f0; }}
th, td {{ padding: .2rem 1rem .2rem 0; font-size: .85rem; vertical-align: top; }}
td {{ font-variant-numeric: tabular-nums; }} .best {{ font-weight: 650; }}
.interval {{ color: #6b7486; white-space: nowrap; }}
summary {{ cursor: pointer; margin-top: 1rem; }}
</style></head><body><h1>{title}</h1>{body}</body></html>
"""


def document(title: str, *parts: str) -> str:
    """A page of parts that are HTML already."""
    return _DOCUMENT.format(title=html.escape(title), body="".join(parts))


def facts(values: Mapping[str, str]) -> str:
    """Names and what they are."""
    rows = (f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in values.items())
    return f"<dl>{''.join(rows)}</dl>"


def section(
    title: str, caption: str, *parts: str, level: int = 2, anchor: str | None = None
) -> str:
    """Returns a heading, a caption, and parts that are HTML already.

    Links and tests find the section by its anchor, which stays when the title is rewritten.
    """
    heading = f"<h{level}>{html.escape(title)}</h{level}><p>{html.escape(caption)}</p>"
    name = f' id="{html.escape(anchor)}"' if anchor else ""
    return f"<section{name}>{heading}{''.join(parts)}</section>"


def picture(drawn: Figure, what: str) -> str:
    """A figure inside the page, and what it shows in words."""
    return f'<img alt="{html.escape(what)}" src="{figure_lib.as_data_uri(drawn)}">'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the header is text."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    rows_of = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{rows_of}</table></div>'


def folded(title: str, *parts: str) -> str:
    """Parts that show when asked for."""
    return f"<details><summary>{html.escape(title)}</summary>{''.join(parts)}</details>"
