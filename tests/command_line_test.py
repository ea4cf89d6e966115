"""The program `clef-jax` and what the commands share."""

import importlib.metadata
import os
import re
import subprocess
import sys
import types

import jax
import pytest
from culprits import assert_names, refuses

import clef_jax
from clef_jax import __main__ as program, command_line
from clef_jax.errors import WrongArgument

COMMANDS = sorted(command_line.summaries())


def output(capsys, *argv: str) -> tuple[int, str]:
    try:
        program.main(argv)
    except SystemExit as stop:
        return int(stop.code or 0), "".join(capsys.readouterr())
    return 0, "".join(capsys.readouterr())


def test_the_list_names_every_command_with_a_sentence(capsys):
    code, shown = output(capsys)
    assert code == 0
    assert_names(shown, *COMMANDS)
    assert {"train", "embed", "convert", "evaluate", "prepare", "simulate"} <= set(COMMANDS)
    for name, sentence in command_line.summaries().items():
        assert sentence.endswith("."), name
        assert "`" not in sentence, name


def test_the_versions_and_the_devices_are_printed(capsys):
    code, shown = output(capsys, "--version")
    assert code == 0
    assert_names(shown, f"clef_jax {clef_jax.__version__}", f"jax {jax.__version__}", "8 x cpu")
    assert clef_jax.__version__ == importlib.metadata.version("clef_jax")


@pytest.mark.parametrize(
    ("word", "culprits"),
    [("trian", ("'trian'", "'train'")), ("--verison", ("'--verison'", "'--version'"))],
)
def test_a_misspelt_command_gets_the_nearest(word, culprits, capsys):
    code, shown = output(capsys, word)
    assert code == 2
    assert_names(shown, *culprits)


@pytest.mark.parametrize("words", [["help"], ["help", "train"], ["help", "convert", "to-onnx"]])
def test_help_is_a_command_too(words, capsys):
    asked, shown = output(capsys, *words)
    assert (asked, shown) == output(capsys, *words[1:], "--help")
    assert asked == 0


def test_a_command_prints_the_versions_too(capsys):
    code, shown = output(capsys, "train", "--version")
    assert code == 0
    assert_names(shown, f"clef_jax {clef_jax.__version__}", f"jax {jax.__version__}")


def test_a_command_gets_its_arguments(capsys, tmp_path):
    code, shown = output(capsys, "report", f"--workdir={tmp_path}")
    assert code == 1
    assert_names(shown, str(tmp_path))


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_their_settings(shell, capsys):
    code, script = output(capsys, "--tyro-print-completion", shell)
    assert code == 0
    assert_names(script, *COMMANDS, "to-onnx", "--data-dir", "--clef.temperature", "--topology")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_no_large_package(command):
    """The import of jax alone takes the second of CPU time that `--help` may take."""
    code = (
        "import sys\n"
        "from clef_jax.__main__ import main\n"
        "try:\n"
        f"    main([{command!r}, '--help'])\n"
        "finally:\n"
        "    large = {'jax', 'scipy.signal', 'scipy.stats', 'matplotlib', 'pandas', 'pyarrow',\n"
        "             'orbax', 'grain', 'duckdb', 'tensorflow_datasets', 'array_record'}\n"
        "    assert not large & set(sys.modules), large & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_names(done.stdout, "--help")


@pytest.mark.parametrize("flag", ["--model", "--checkpoint"])
def test_a_model_has_two_names(flag):
    from clef_jax import embed

    config = command_line.parse(embed.Config, [flag, "m", "--input=i", "--out=o.npz"], "embed")
    assert config.model == "m"


def test_a_reader_that_ends_first_leaves_no_traceback():
    command = f"{sys.executable} -m clef_jax train --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("usage: clef-jax train")
    assert done.stderr == ""


def test_sentences_of_the_help_are_wrapped_to_the_width(capsys, monkeypatch):
    """A line break of the docstring in the source is no line break of the help text."""
    monkeypatch.setenv("COLUMNS", "100")
    _, shown = output(capsys, "embed", "--help")
    lines = [line.strip("│ ") for line in shown.splitlines()]
    (number,) = (n for n, line in enumerate(lines) if line.startswith("--stride-seconds"))
    assert lines[number + 2].endswith("(default: None)")
    assert lines[number + 3].startswith("--sample-rate-hz")  # the help fills two lines


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30])
def test_seeds_that_no_generator_takes_are_refused(seed):
    with refuses("--seed", seed, problem="invalid_seed"):
        command_line.check_seed(seed)


def test_the_largest_seed_is_taken_unless_more_follow_it():
    command_line.check_seed(2**63 - 1)
    jax.random.key(2**63 - 1)
    with refuses("--seeds", problem="invalid_seed"):
        command_line.check_seed(2**63 - 1, "--seeds", num_seeds=2)


@pytest.mark.parametrize("seed", [-1, 2**63])
@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train", ["--data-dir=d", "--workdir=w", "--seed={}"]),
        ("plan", ["--topology=v5e:2x2", "--seed={}"]),
        ("simulate", ["--out=o", "--seed={}"]),
        ("evaluate", ["--data-dir=d", "--out=o", "--seed={}"]),
        ("ablate", ["--grid", "leads=I", "--data-dir=d", "--out=o", "--seeds", "{}"]),
    ],
)
def test_every_command_refuses_such_seeds(command, flags, seed, capsys):
    code, shown = output(capsys, command, *(flag.format(seed) for flag in flags))
    assert code == 2  # as for any wrong command line
    assert_names(shown, seed, "--seed" if command != "ablate" else "--seeds")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_completion_offers_no_word_of_a_help_text(command, shell_script):
    """Scripts take each line of a help text for a further word."""
    words = f"COMP_WORDS=(clef-jax {command} -); COMP_CWORD=2; _tyro_clef_jax"
    script = f'source {shell_script}; {words}; printf "%s\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    offered = done.stdout.splitlines()
    assert "--help" in offered
    assert not [word for word in offered if not re.fullmatch(r"--?[a-z0-9.-]+", word)]


@pytest.fixture(scope="module")
def shell_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "clef-jax.bash"
    with pytest.raises(SystemExit):
        program.main(["--tyro-write-completion", "bash", str(path)])
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_can_be_printed_in_ascii(command):
    done = subprocess.run(
        [sys.executable, "-m", "clef_jax", command, "--help"],
        capture_output=True,
        env=dict(os.environ, PYTHONIOENCODING="ascii:strict"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_settings_above_zero_are_required_by_the_name_of_their_flag():
    settings = types.SimpleNamespace(sample_rate_hz=None, gain_per_mv=200.0, stride_seconds=0.0)
    command_line.check_positive(settings, "sample_rate_hz", "gain_per_mv")
    with refuses("--stride-seconds=0", error=WrongArgument):
        command_line.check_positive(settings, "gain_per_mv", "stride_seconds")
