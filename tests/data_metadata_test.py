"""Tests that the metadata of a stored recording equals what TFDS reads."""

import json

import numpy as np
import pytest
from prepared import build

from clef_jax.building import catalog
from clef_jax.data import index as index_lib, metadata as metadata_lib, raw


@pytest.fixture(scope="module", params=["ptb_xl", "mc_med"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    tree = catalog.simulated(request.param).write(folder / "source")
    return build(request.param, tree.source, folder / "data")


def metadata_of(made, split):
    split_index = index_lib.load(made.data_path, split)
    labels = index_lib.read_metadata(split_index.version_dir)["labels"]
    return [
        metadata_lib.read(record, labels)
        for record in raw.Reader(split_index).records(split_index.row)
    ]


def test_they_are_those_of_tfds(made):
    for split in made.info.splits:
        for example, values in zip(
            made.as_data_source(split), metadata_of(made, split), strict=True
        ):
            missing = {"signal", "gain_per_mv", "baseline", "lead_names", "usable_leads"}
            assert set(values) == set(example) - missing - {"sample_rate_hz", "risk_extrapolated"}
            for name, value in values.items():
                if isinstance(value, (list, bytes)):
                    assert list(value) == list(example[name]), name
                else:
                    np.testing.assert_equal(value, example[name], err_msg=name)


def test_they_survive_a_file(made):
    for values in metadata_of(made, "train"):
        line = metadata_lib.to_json(values)
        assert "\n" not in line
        json.loads(line)
        np.testing.assert_equal(metadata_lib.from_json(line), values)


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:-20], lambda text: "[1]\n"])
def test_a_damaged_cache_is_replaced(damage, made, tmp_path):
    split_index = index_lib.load(made.data_path, "train")
    want = metadata_lib.load(split_index)
    np.testing.assert_equal(metadata_lib.load(split_index, tmp_path / "cache"), want)
    (cache,) = (tmp_path / "cache").iterdir()
    content = cache.read_text()
    cache.write_text(damage(content))
    np.testing.assert_equal(metadata_lib.load(split_index, tmp_path / "cache"), want)
    assert cache.read_text() == content
    np.testing.assert_equal(metadata_lib.load(split_index, tmp_path / "cache"), want)
