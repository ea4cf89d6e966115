import ast
import itertools
import pathlib
import pickle
import re
import subprocess
import sys

import pytest
from culprits import assert_names

import clef_jax
from clef_jax import errors
from clef_jax.errors import UserError, WrongArgument, counted, exit_on_user_error, printable


def test_a_users_mistake_is_a_sentence_and_exit_code_1(capsys):
    with pytest.raises(SystemExit) as error, exit_on_user_error():
        raise UserError("The folder x.")
    assert error.value.code == 1
    shown = capsys.readouterr()
    assert_names(shown.err, "Error: The folder x.")
    assert "Traceback" not in shown.err
    assert not shown.out


def test_a_wrong_argument_has_the_exit_code_of_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit) as error, exit_on_user_error():
        raise WrongArgument("--unit=bar.")
    assert error.value.code == errors.WRONG_ARGUMENTS
    assert_names(capsys.readouterr().err, "--unit=bar")


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (1, "recording", "1 recording"),
        (0, "recording", "0 recordings"),
        (2000, "unusable window", "2,000 unusable windows"),
        (1, "batch", "1 batch"),
        (3, "batch", "3 batches"),
        (2, "process", "2 processes"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (2, "axis", "2 axes"),
    ],
)
def test_nouns_agree_with_their_numbers(number, noun, expected):
    assert counted(number, noun) == expected


NOUNS = (
    *("recordings", "patients", "records", "files", "windows", "embeddings", "segments", "shards"),
    *("runs", "points", "steps", "epochs", "seeds", "devices", "processes", "signals", "columns"),
    *("leads", "gaps", "faults", "entries", "outputs", "groups", "batches", "comparisons"),
)
COUNT = re.compile(rf" (?:[a-z-]+ )?(?:{'|'.join(NOUNS)})\b")


def test_messages_count_with_the_one_function_for_it():
    """Otherwise they read `1 recordings`."""
    top = pathlib.Path(clef_jax.__file__).parent
    for path in (*top.rglob("*.py"), *top.with_name("datasets").rglob("*.py")):
        wrong = [
            f"{{{ast.unparse(value.value)}}}{text.value}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.JoinedStr)
            for value, text in itertools.pairwise(node.values)
            if isinstance(value, ast.FormattedValue)
            and re.match(r"num_|len\(|count", ast.unparse(value.value).rpartition(".")[2])
            and not ast.unparse(value.value).startswith("counted(")
            and isinstance(text, ast.Constant)
            and COUNT.match(str(text.value))
        ]
        assert not wrong, f"{path}: {wrong}"


def test_an_error_may_have_a_problem_code_and_keeps_it_between_processes():
    error = pickle.loads(pickle.dumps(UserError("The folder x.", problem="missing_folder")))
    assert (str(error), error.problem) == ("The folder x.", "missing_folder")
    assert UserError("The folder x.").problem is None


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), exit_on_user_error():
        1 / 0  # noqa: B018


def test_names_are_printed_harmlessly(capsys):
    name = b"a\x1b[31m\r\xff b\xc3\xa4.npy".decode("utf-8", "surrogateescape")
    with pytest.raises(SystemExit), exit_on_user_error():
        raise UserError(f"The file {name} is empty.\nGive another.")
    shown = capsys.readouterr().err
    assert "\\x1b[31m\\r\\udcff bä.npy" in shown
    assert shown.count("\n") == 2
    assert "\x1b" not in shown


@pytest.mark.parametrize("text", ["a b.npy", "Müller 心電図 é.hea", ""])
def test_ordinary_text_is_printed_as_it_is(text):
    assert printable(text) == text
    assert printable(f"{text}\u202e\n") == f"{text}\\u202e\\n"


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "/folder/file"),
        OSError(28, "No space left on device", "/folder/file"),
        FileNotFoundError(2, "No such file or directory", "/folder/file"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(error, capsys):
    with pytest.raises(SystemExit) as stop, exit_on_user_error():
        raise error
    assert stop.value.code == 1
    assert_names(capsys.readouterr().err, "Error:", "/folder/file", error.strerror)


def test_errors_that_are_not_of_the_disk_keep_their_traceback():
    with pytest.raises(ConnectionResetError), exit_on_user_error():
        raise ConnectionResetError(104, "Connection reset by peer")


def test_ctrl_c_is_no_traceback(capsys):
    with pytest.raises(SystemExit) as stop, exit_on_user_error():
        raise KeyboardInterrupt
    assert stop.value.code == errors.INTERRUPTED
    assert_names(capsys.readouterr().err, "Ctrl-C")


PRINTS = r"""
import rich.console
from clef_jax import errors
with errors.exit_on_user_error():
    rich.console.Console().print("5 \u00b5V \udcff \u2014")
    print("\u0394")
    raise errors.UserError("The folder \u00e9\udcff.")
"""


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1:strict", "utf-8:strict"])
def test_output_of_any_encoding_shows_all_texts(encoding):
    done = subprocess.run(
        [sys.executable, "-c", PRINTS],
        capture_output=True,
        env={"PYTHONIOENCODING": encoding, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"Error: The folder" in done.stderr
    assert b"\\udcff" in done.stdout


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("/usr/bin/clef-jax", "clef-jax train --seed=1"),
        ("/somewhere/clef_jax/train.py", "python -m clef_jax.train --seed=1"),
        ("/somewhere/clef_jax/convert/__main__.py", "python -m clef_jax.train --seed=1"),
        ("/notebook.py", "clef-jax train --seed=1 (or python -m clef_jax.train --seed=1)"),
        ("", "clef-jax train --seed=1 (or python -m clef_jax.train --seed=1)"),
    ],
)
def test_messages_name_the_program_that_was_called(called, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called])
    assert errors.invocation("train --seed=1") == expected


def test_no_message_names_only_one_of_the_programs():
    """Docstrings of modules may; all else asks `errors.invocation`."""
    for path in pathlib.Path(clef_jax.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        quiet = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and id(node) not in quiet
        ]
        if path.name != "errors.py":
            assert not [t for t in texts if "python -m clef_jax" in str(t)], path
