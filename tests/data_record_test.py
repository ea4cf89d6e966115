"""Tests that stored records are read back, and have the same bytes in every process."""

import hashlib
import os
import subprocess
import sys

import numpy as np
from culprits import refuses
from tensorflow_datasets.core import example_parser

from clef_jax.data import record

LAYOUT = record.Layout(leads=("I", "II"), sample_rate_hz=250.0, num_samples=40)


def example():
    observed = {name: np.float32(np.nan) for name in record.OBSERVED_NAMES}
    return {
        "signal": np.arange(80, dtype=np.int16).reshape(2, 40) - 40,
        "gain_per_mv": np.array([200, 100.5], np.float32),
        "baseline": np.array([0, -7], np.int32),
        "sample_rate_hz": np.float32(250),
        "lead_names": ["I", "II"],
        "usable_leads": np.array([True, False]),
        "patient_id": "10000032",
        "record_id": "files/p1000/ä",
        "source_record": "files/p1000/ä",
        "start_sample": 0,
        "recorded_at": "",
        **observed,
        "age_years": np.float32(61),
        "risk": np.float32(0.125),
        "completeness": np.float32(0.5),
        "risk_extrapolated": True,
    }


def test_everything_comes_back():
    features = record.features(LAYOUT)
    parser = example_parser.ExampleParserNp(features.get_serialized_info())
    serialized = record.serialize(example(), LAYOUT)
    back = features.decode_example_np(parser.parse_example(serialized))
    for name, value in example().items():
        if name == "lead_names":
            assert list(back[name]) == [b"I", b"II"]
        elif isinstance(value, str):
            assert back[name] == value.encode()
        else:
            np.testing.assert_array_equal(back[name], value, err_msg=name)
    assert back["signal"].dtype == np.int16


def digest():
    return hashlib.sha256(record.serialize(example(), LAYOUT)).hexdigest()


def test_bytes_do_not_depend_on_the_process():
    digests = {digest()}
    here = os.path.dirname(__file__)
    for seed in ("1", "2"):
        code = "import data_record_test as t; print(t.digest())"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": here}
        command = [sys.executable, "-c", code]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(run.stdout.strip())
    assert len(digests) == 1


def test_index_and_reader_do_not_import_tensorflow_datasets():
    code = (
        "import sys; from clef_jax.data import index, raw, record; "
        "sys.exit(any(m in sys.modules for m in ('tensorflow_datasets', 'jax', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_layouts_are_checked():
    with refuses("16", error=ValueError):
        record.Layout(leads=(), sample_rate_hz=1.0, num_samples=1)
