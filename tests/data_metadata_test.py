"""The facts of a stored recording are what TFDS gives, without the samples."""

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


def facts_of(made, split):
    one = index_lib.load(made.data_path, split)
    labels = index_lib.read_metadata(one.version_dir)["labels"]
    return [metadata_lib.read(record, labels) for record in raw.Reader(one).records(one.row)]


def test_they_are_those_of_tfds(made):
    for split in made.info.splits:
        for example, found in zip(made.as_data_source(split), facts_of(made, split), strict=True):
            missing = {"signal", "gain_per_mv", "baseline", "lead_names", "usable_leads"}
            assert set(found) == set(example) - missing - {"sample_rate_hz", "risk_extrapolated"}
            for name, value in found.items():
                if isinstance(value, (list, bytes)):
                    assert list(value) == list(example[name]), name
                else:
                    np.testing.assert_equal(value, example[name], err_msg=name)


def test_they_survive_a_file(made):
    for found in facts_of(made, "train"):
        line = metadata_lib.to_json(found)
        assert "\n" not in line
        json.loads(line)
        np.testing.assert_equal(metadata_lib.from_json(line), found)
