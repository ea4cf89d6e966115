"""Pages that are made when the site is built: from files elsewhere, and from the commands' help."""

import contextlib
import io
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from unittest import mock

import nbformat
from links import outside_code

COLUMNS = 84
"""Width of the commands' help."""
PROJECT = {
    "README.md": "project/overview.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "reference/measurements.md",
    "datasets/README.md": "reference/datasets/index.md",
}
"""Places on the site of pages that stand outside of docs."""


class Page(NamedTuple):
    """A page that is no file of docs."""

    path: str
    """Place on the site."""
    origin: str
    """File in the repository; links are relative to it."""
    text: str
    """Markdown."""


def collect(top: pathlib.Path) -> Iterator[Page]:
    """Yields the pages of files outside of docs, of the notebooks, and of the commands."""
    for origin, path in PROJECT.items():
        yield Page(path, origin, (top / origin).read_text(encoding="utf-8"))
    for file in sorted((top / "datasets").glob("*/README.md")):
        text = _data_set(file.parent.name, file.read_text(encoding="utf-8"))
        origin = file.relative_to(top).as_posix()
        yield Page(f"reference/datasets/{file.parent.name}.md", origin, text)
    for file in sorted((top / "docs").glob("*.ipynb")):
        name = f"{file.stem}_notebook" if file.with_suffix(".md").exists() else file.stem
        yield Page(f"{name}.md", f"docs/{file.name}", _notebook(file))
    yield from _commands(top)


def _data_set(name: str, text: str) -> str:
    """Returns the page of a data set under its name, with its headings one level below."""
    return f"# {name}\n\n" + outside_code(text, lambda part: re.sub(r"^#", "##", part, flags=re.M))


def _notebook(path: pathlib.Path) -> str:
    """Returns a notebook as Markdown: its text, its code, and what is stored of its outputs."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            text = output.get("text") or data.get("text/plain", "")
            if "image/png" in data:
                png = "".join(data["image/png"].split())
                parts.append(f'<img alt="What the cell plots" src="data:image/png;base64,{png}">')
            elif text.strip():
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)


def _commands(top: pathlib.Path) -> Iterator[Page]:
    """Yields a page for each command with its help, and the list of commands."""
    from clef_jax import command_line

    summaries = command_line.summaries()
    guides = _guides(top, summaries)
    rows = []
    for name, sentence in summaries.items():
        shown = [_help(name)]
        verbs = re.match(r"usage: [^\n]*\{([a-z,-]+)\}", shown[0])
        shown += [_help(name, verb) for verb in (verbs[1].split(",") if verbs else ())]
        links = "".join(f"- [{title}]({link})\n" for title, link in guides[name])
        blocks = "\n\n".join(f"```text\n{text}\n```" for text in shown)
        text = f"# clef-jax {name}\n\n{sentence}\n\n{blocks}\n\n## Shown in\n\n{links}"
        yield Page(f"reference/commands/{name}.md", f"docs/reference/commands/{name}.md", text)
        rows.append(f"| [`clef-jax {name}`]({name}.md) | {sentence} |")
    text = _COMMANDS + "\n".join(rows)
    yield Page("reference/commands/index.md", "docs/reference/commands/index.md", text)


_COMMANDS = """# Commands

`clef-jax COMMAND` equals `python -m clef_jax.COMMAND`. Each page holds what `--help` prints, and
the pages that use the command. [Exit codes](../../faults.md#exit-codes) are the same for all.

| command | purpose |
|---|---|
"""


def _help(*words: str) -> str:
    """Returns what a command prints about itself."""
    from clef_jax import command_line

    printed = io.StringIO()
    plain = {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    with (
        mock.patch.dict(os.environ, plain),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        command_line.load(words[0]).main([*words[1:], "--help"])
    return printed.getvalue().strip()


def _guides(top: pathlib.Path, summaries: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Returns title and link of the pages that show each command, the overview last."""
    guides: dict[str, list[tuple[str, str]]] = {name: [] for name in summaries}
    docs = top / "docs"
    for file in [*sorted(docs.rglob("*.md")), top / "README.md"]:
        text = file.read_text(encoding="utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        link = os.path.relpath(file, docs / "reference" / "commands")
        for name in {*re.findall(r"clef-jax ([a-z]+)", text)} & guides.keys():
            guides[name].append((title[1] if title else file.stem, link))
    return guides
