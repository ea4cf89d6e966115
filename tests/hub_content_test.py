"""Only the files of a model folder are published, and none that could identify a patient."""

import json
import shutil

import pytest
from culprits import refuses
from hub_stand_in import contents, write_model

from clef_jax.convert import safetensors_file
from clef_jax.embedding import auto_map
from clef_jax.hub import content
from clef_jax.hub.settings import Config

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.usefixtures("quick_compiler")

RUN = {"model": {"objective": "clef", "dataset": "mimic_iv_ecg", "num_steps": 1_250_000}}


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "m", head=True, run=RUN)


def write(folder, **settings):
    out = folder.with_name("out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    options = {"repository": "org/name", "license": "mit"} | settings
    return content.write(Config(folder=str(folder), **options), out)


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_the_files_of_the_folder_are_published_with_a_card(folder):
    written = write(folder)
    own = contents(folder)
    assert set(written.files) == set(own)
    same = {name: path.read_bytes() == own[name] for name, path in written.files.items()}
    assert [name for name in same if not same[name]] == ["README.md"]
    assert written.trained_on == "mimic_iv_ecg"
    assert written.fingerprint in (folder / "config.json").read_text()


def test_a_folder_of_an_older_version_gets_the_modules_of_this_one(folder):
    (folder / "modeling_clef.py").unlink()
    (folder / "pytorch_encoder.py").write_text("print('other code')")
    edit(folder / "config.json", lambda config: config.pop("auto_map"))
    files = write(folder).files
    for name in auto_map.MODULES:
        assert files[name].read_bytes() == auto_map.source(name)
    assert "auto_map" in files["config.json"].read_text()


@pytest.mark.parametrize("name", ["report.html", "rows.csv", "quality.jsonl", "files/p1000.dat"])
def test_other_files_are_refused_by_name(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with refuses(name.partition("/")[0], problem="other_files"):
        write(folder)


def test_what_version_control_leaves_is_not_published(folder):
    (folder / ".git").mkdir()
    (folder / ".gitattributes").write_text("")
    assert not {".git", ".gitattributes"} & set(write(folder).files)


def test_what_is_no_model_folder_is_refused(tmp_path, folder):
    for name in ("missing", "empty", "run"):
        if name != "missing":
            (tmp_path / name).mkdir()
        if name == "run":
            (tmp_path / name / "checkpoints").mkdir()
        with refuses(tmp_path / name, problem="not_a_model_folder"):
            write(tmp_path / name)
    edit(folder / "config.json", lambda config: config.update(model_type="bert"))
    with refuses("'bert'", problem="not_a_model_folder"):
        write(folder)


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (lambda c: c.update(note="hello"), "note"),
        (lambda c: c.update(patients=[1, 2]), "patients"),
        (lambda c: c["run"].update(data_dir="/home/ann/mimic"), "data_dir"),
        (lambda c: c["run"].update(left_out="p10000032"), "p10000032"),
        (lambda c: c["head"].update(names=["10000032", "AF"]), "10000032"),
        (lambda c: c["head"].update(fitted={"patients": 3, "who": ["a"]}), "who"),
    ],
)
def test_entries_that_could_identify_somebody_are_refused(folder, change, culprit):
    edit(folder / "config.json", change)
    with refuses("config.json", culprit, problem="identifying"):
        write(folder)


def test_metadata_of_weights_and_cards_are_checked(folder):
    path = folder / "model.safetensors"
    arrays, about = safetensors_file.read_safetensors(path), safetensors_file.read_metadata(path)
    safetensors_file.write_safetensors(path, arrays, {**about, "patient": "Ann"})
    with refuses(path.name, "patient", problem="identifying"):
        write(folder)
    safetensors_file.write_safetensors(path, arrays, about)
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nSee /home/ann/ecg.")
    with refuses(card, problem="identifying"):
        write(folder)


def test_replaced_weights_and_a_missing_fingerprint_are_refused(folder, tmp_path):
    other = write_model(tmp_path / "other", seed=1)
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with refuses(problem="other_fingerprint"):
        write(folder)
    edit(folder / "config.json", lambda config: config.pop("fingerprint"))
    with refuses("config.json", problem="no_fingerprint"):
        write(folder)


def test_a_link_is_refused(folder):
    (folder / "README.md").rename(folder.parent / "elsewhere.md")
    (folder / "README.md").symlink_to(folder.parent / "elsewhere.md")
    with refuses("README.md", problem="linked_file"):
        write(folder)
