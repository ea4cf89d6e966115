"""The JSON files of a model folder hold one object each."""

import pytest
from culprits import refuses

from clef_jax.embedding import config_file


def test_an_object_is_read_back(tmp_path):
    path = tmp_path / config_file.CONFIG
    config_file.write(path, {"size": "tiny", "layers": {"stage_1": 8}})
    assert config_file.read(path) == {"size": "tiny", "layers": {"stage_1": 8}}
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize(("text", "problem"), [("{", "not_json"), ("[]", "no_object")])
def test_other_content_is_refused(tmp_path, text, problem):
    path = tmp_path / config_file.CONFIG
    path.write_text(text)
    with refuses(path, problem=problem):
        config_file.read(path)


def test_a_missing_file_is_named(tmp_path):
    with refuses(tmp_path, config_file.CONFIG):
        config_file.read(tmp_path / config_file.CONFIG)
