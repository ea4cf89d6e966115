"""Links between pages, which lie elsewhere on the site than in the repository."""

import pathlib
import posixpath
import re
from collections.abc import Callable, Mapping

_FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Returns a page whose parts outside of fenced code were changed."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def moved(text: str, *, origin: str, page: str, pages: Mapping[str, str], top: pathlib.Path) -> str:
    """Returns the text of a page with links that hold on the site.

    A link to a file that is no page, such as a module, becomes the file's path. One to a file that
    does not exist is kept, so that a strict build fails.

    Args:
        text: Markdown.
        origin: path of the page's file in the repository; its links are relative to this file.
        page: path of the page on the site.
        pages: paths on the site by paths in the repository.
        top: the repository.
    """

    def replace(link: re.Match[str]) -> str:
        target, mark, heading = link["target"].partition("#")
        if "://" in target or not target or target.startswith("mailto:"):
            return link.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        found = pages.get(path) or pages.get(f"{path}/README.md")
        if found is not None:
            new = posixpath.relpath(found, posixpath.dirname(page) or ".")
            return f"{link['image']}[{link['text']}]({new}{mark}{heading})"
        if (top / path).exists():
            text = link["text"].strip("`")
            return f"`{text}`" if text in path else f"{link['text']} (`{path}`)"
        return link.group()

    return outside_code(text, lambda part: _LINK.sub(replace, part))
