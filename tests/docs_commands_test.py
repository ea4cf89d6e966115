"""Commands and files that the documentation names exist, with the flags that it shows."""

import re

import pytest
from docs_blocks import PAGES, ROOT

import clef_jax
from clef_jax import command_line

CALL = re.compile(r"(?:clef-jax|python -m clef_jax\.)\s*([a-z]+)((?:[^`\n|#]|\\\n)*)")
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


def calls(page):
    """Yields the command, its verb if it has verbs, and the flags of each call on a page.

    `clef-jax help COMMAND`, which shows the help of any command, is not among them.
    """
    for command, rest in CALL.findall(page.read_text()):
        if command == "help":
            continue
        verb = re.match(r"\s+((?:from|to)-[a-z]+)", rest)
        flags = re.findall(r"(?<!\S)--[a-z0-9.-]+", QUOTED.sub("", rest))
        yield command, verb.group(1) if verb else None, flags


@pytest.fixture(scope="module")
def help_of():
    texts = {}

    def read(capsys, command, verb):
        if (command, verb) not in texts:
            with pytest.raises(SystemExit):
                command_line.load(command).main([verb, "--help"] if verb else ["--help"])
            texts[command, verb] = capsys.readouterr().out
        return texts[command, verb]

    return read


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_on_pages_have_their_flags(page, help_of, capsys):
    for command, verb, flags in calls(page):
        assert command in command_line.summaries(), command
        known = set(re.findall(r"--[a-z0-9.-]+", help_of(capsys, command, verb)))
        assert set(flags) <= known | {"--help"}, (command, verb)


def test_pages_show_every_command():
    shown = {command for command, _, _ in calls(ROOT / "README.md")}
    assert shown == set(command_line.summaries())


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_pages_at_the_top_lead_to_files(page):
    links = re.findall(r"\]\(([^)\s:]+)\)", (ROOT / page).read_text())
    assert all((ROOT / link.partition("#")[0]).exists() for link in links)


def test_version_is_the_same_everywhere():
    version = clef_jax.__version__
    assert re.search(rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f"clef_jax-{version}-py3-none-any.whl" in (ROOT / "README.md").read_text()
