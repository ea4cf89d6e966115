"""`clef-jax push` publishes on a stand-in of a hub, and never over what is there."""

import sys

import huggingface_hub
import pytest
from culprits import assert_names
from hub_stand_in import Repository, contents, hub, write_model

import clef_jax
from clef_jax import push

__all__ = ["hub"]

pytestmark = [
    pytest.mark.usefixtures("quick_compiler"),
    # huggingface_hub 2.4 uploads in a way that the library below it calls deprecated.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

RUN = {"model": {"dataset": "mimic_iv_ecg"}}
WRONG, FAILED = 2, 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "m", head=True, run=RUN)


def call(folder, *arguments, code=0, licence="--license=Apache-2.0"):
    with pytest.raises(SystemExit) as ended:
        push.main([str(folder), "org/name", licence, *arguments])
    assert ended.value.code == code


def test_a_model_is_published_privately_and_loads_again(hub, folder, capsys):
    call(folder)
    shown = capsys.readouterr().out
    made = hub.repositories["org/name"]
    assert made.private
    assert_names(shown, "credentialed", "mimic_iv_ecg", "private", f"hf:org/name@{made.head}")
    assert set(made.files) == {*contents(folder), ".gitattributes"}
    card = huggingface_hub.ModelCard(made.files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "clef_jax"
    assert {"ecg", "clef_jax"} <= set(card.data.tags)
    assert 'clef_jax.load("hf:org/name")' in card.text
    assert "apache-2.0" in card.text.partition("## Licence")[2]
    model = clef_jax.load(f"hf:org/name@{made.head}")
    assert model.fingerprint == clef_jax.load(folder).fingerprint
    assert model.head is not None
    assert "README.md" in contents(folder)
    assert "apache" not in (folder / "README.md").read_text()
    commits = len(made.commits)
    call(folder)
    assert_names(capsys.readouterr().out, made.head)
    assert len(made.commits) == commits


def test_a_dry_run_changes_nothing(hub, folder, capsys):
    call(folder, "--dry-run", "--public")
    shown = capsys.readouterr().out
    assert_names(shown, "credentialed", "model.safetensors", "new", "public", "--dry-run")
    assert not hub.repositories
    assert not hub.paths("POST", "PUT")


def test_other_content_is_replaced_only_if_asked(hub, folder, tmp_path, capsys):
    call(folder, "--public")
    hub.repositories["org/name"].add(
        {**hub.repositories["org/name"].files, "notes.txt": b"ours", "LICENSE": b"MIT"}
    )
    before = hub.repositories["org/name"].head
    other = write_model(tmp_path / "other", seed=1)
    capsys.readouterr()
    call(other, code=FAILED)
    assert_names(capsys.readouterr().err, "config.json", "head.safetensors", "--overwrite")
    assert hub.repositories["org/name"].head == before
    call(other, "--overwrite", "--message=Trained for longer")
    now = hub.repositories["org/name"]
    assert now.messages[-1] == "Trained for longer"
    assert "head.safetensors" not in now.files
    assert now.files["notes.txt"] == b"ours"
    assert not now.private
    assert clef_jax.load("hf:org/name").fingerprint == clef_jax.load(other).fingerprint


def test_a_repository_of_something_else_is_left_alone(hub, folder, capsys):
    commit = hub.put("org/name", {"thesis.tex": b"text"})
    call(folder, code=FAILED)
    assert_names(capsys.readouterr().err, "thesis.tex")
    assert hub.repositories["org/name"].head == commit


def test_who_is_not_logged_in_is_told_how(hub, folder, capsys):
    hub.token = "Bearer of_the_owner"
    call(folder, code=FAILED)
    assert_names(capsys.readouterr().err, "hf auth login", "401")
    hub.repositories["org/name"] = Repository(private=True)
    call(folder, code=FAILED)


def test_a_hub_that_fails_is_a_sentence(hub, folder, capsys):
    hub.broken = 507
    call(folder, code=FAILED)
    assert_names(capsys.readouterr().err, "507")


def test_a_folder_that_must_not_be_published_reaches_no_hub(hub, folder, tmp_path, capsys):
    (tmp_path / "m").mkdir()
    for name, data in contents(folder).items():
        (tmp_path / "m" / name).write_bytes(data)
    (tmp_path / "m" / "patients.csv").write_text("id\n10000032\n")
    call(tmp_path / "m", code=FAILED)
    assert_names(capsys.readouterr().err, "patients.csv")
    assert not hub.requests


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (("name", "--license=mit"), "name"),
        (("org/name", "--license=apache"), "apache-2.0"),
        (("org/name", "--license=other"), "--license-name"),
        (("org/name", "--license=mit", "--license-name=x", "--license-link=y"), "--license-name"),
        (("org/name",), "--license"),
    ],
)
def test_wrong_arguments_are_sentences(tmp_path, capsys, arguments, culprit):
    with pytest.raises(SystemExit) as ended:
        push.main([str(tmp_path), *arguments])
    assert ended.value.code == WRONG
    assert_names(capsys.readouterr().err, culprit)


def test_another_licence_has_name_and_link(hub, folder):
    named = ("--license-name=hospital-1.0", "--license-link=https://hospital.org/licence")
    call(folder, *named, licence="--license=other")
    card = hub.repositories["org/name"].files["README.md"].decode()
    data = huggingface_hub.ModelCard(card).data
    assert (data.license, data.license_name) == ("other", "hospital-1.0")


def test_without_the_extra_there_is_a_sentence(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    call(folder, code=FAILED)
    assert_names(capsys.readouterr().err, "clef_jax[hub]")
    with pytest.raises(ValueError, match="hub") as error:
        clef_jax.load("hf:org/name")
    assert error.value.problem == "needs_hub"
