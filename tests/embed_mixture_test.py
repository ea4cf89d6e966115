"""Tests that `embed` makes one table of a folder of all formats, and keeps no recording open."""

import json
import os
import re
import weakref

import benchmark_modules
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from clef_jax import embed, formats, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, pretrained
from clef_jax.formats import Hints

pytest.importorskip("pydicom")
pytest.importorskip("h5py")
pytestmark = pytest.mark.usefixtures("quick_compiler")
seeds = benchmark_modules.load("fuzz_seeds")

RATE = 500
HINTS = Hints(sample_rate_hz=RATE, units="mV")
MAX_OPEN = 16
"""Largest number of recordings that are open at a time: those that are read ahead, and a few."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)
    return model_folder.save(made, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def folder(tmp_path):
    """Returns a folder with all whole recordings of all formats, and their signal as NPY."""
    top = tmp_path / "recordings"
    top.mkdir()
    for name in formats.load():
        for number, seed in enumerate(seeds.write(name)):
            place = top / name / str(number)
            place.mkdir(parents=True)
            for file, content in seed.files.items():
                (place / file).write_bytes(content)
    np.save(top / "plain.npy", np.float32(seeds.ADC / 1000))
    return top


def run(model, folder, out):
    flags = [f"--model={model}", f"--input={folder}", f"--out={out}", "--lead", "0"]
    try:
        embed.main([*flags, f"--sample-rate-hz={RATE}", "--unit=mV"])
    except SystemExit as stopped:
        return stopped.code or 0
    return 0


def is_long_enough(opened):
    return opened.sample_rate_hz >= 50 and opened.num_samples >= 2 * opened.sample_rate_hz


def test_a_folder_of_all_formats_becomes_one_table(model, folder, tmp_path, monkeypatch):
    expected, exact, excluded = [], {}, set()
    signal = np.float32(seeds.ADC / 1000)
    for path in formats.find(folder):
        inside = path.parent.relative_to(folder)
        for opened in formats.open(path, HINTS):
            name = str(inside / opened.name)
            if not is_long_enough(opened):
                excluded.add(name)
                continue
            expected.append(name)
            if np.array_equal(opened.read(0, opened.num_samples)[0], signal):
                exact[name] = opened.sample_rate_hz
    still_open, most = weakref.WeakSet(), [0]
    plain_open = formats.open

    def watched(*arguments):
        for opened in plain_open(*arguments):
            still_open.add(opened.read)
            most[0] = max(most[0], len(still_open))
            yield opened
            del opened

    monkeypatch.setattr(formats, "open", watched)
    out = tmp_path / "out.parquet"
    code = run(model, folder, out)
    rows = pq.read_table(out).to_pylist()
    assert [row["recording"] for row in rows] == expected
    read = {name.partition("/")[0] for name in [*expected, *excluded]}
    assert read == {*formats.load(), "plain.npy"}
    lines = (tmp_path / "out.parquet.quality.jsonl").read_text().splitlines()
    findings = [json.loads(line) for line in lines]
    skipped = {one["record_id"] for one in findings if one["action"] == "quarantined"}
    assert skipped == excluded
    assert code == (embed.SKIPPED if excluded else 0)
    assert 0 < most[0] <= MAX_OPEN
    embeddings = {row["recording"]: row["embedding"] for row in rows}
    always = {"wfdb", "edf", "dicom", "csv_table", "matlab", "numpy_array", "hdf5", "fhir"}
    assert always | {"compressed", "zip_archive"} <= {name.partition("/")[0] for name in exact}
    want = {RATE: embeddings["plain.npy"]}
    for name, rate in exact.items():
        if rate not in want:
            with pytest.warns(UserWarning, match="shorter"):  # two seconds
                want[rate] = pretrained.load(model).embed(signal, rate)
        np.testing.assert_allclose(embeddings[name], want[rate], atol=2e-5)


def test_files_of_a_mixture_that_cannot_be_read_are_skipped(model, folder, tmp_path):
    (folder / "wfdb" / "0" / "r.dat").write_bytes(b"")
    (folder / "hdf5" / "0" / "x.h5").write_bytes((folder / "hdf5/0/x.h5").read_bytes()[:999])
    (folder / "notes.txt").write_text("These are no samples.")
    out = tmp_path / "out.parquet"
    assert run(model, folder, out) == embed.SKIPPED
    names = {row["recording"] for row in pq.read_table(out).to_pylist()}
    assert "plain.npy" in names
    assert not names & {"wfdb/0/r.hea", "hdf5/0/x.h5"}
    lines = (tmp_path / "out.parquet.quality.jsonl").read_text().splitlines()
    skipped = {one["record_id"] for one in map(json.loads, lines) if one["action"] != "kept"}
    assert {"wfdb/0/r.hea", "hdf5/0/x.h5"} <= skipped


def test_the_summary_counts_what_is_in_the_table_and_names_skipped_files(model, tmp_path, capsys):
    top = tmp_path / "recordings"
    top.mkdir()
    content = next(iter(seeds.write("edf")[0].files.values()))
    header, data = content[:236] + b"99".ljust(8), content[244:]  # it states 99 data records
    (top / "a.edf").write_bytes(header + data + 2 * data[int(content[184:192]) - 244 :])
    (top / "b.edf").write_bytes(content[: int(content[184:192])])
    np.save(top / "brief.npy", np.ones(RATE, np.float32))
    os.mkfifo(top / "pipe.hea")
    out = tmp_path / "out.parquet"
    assert run(model, top, out) == embed.SKIPPED
    said = " ".join(capsys.readouterr().out.split())
    assert [row["recording"] for row in pq.read_table(out).to_pylist()] == ["a.edf"]
    assert re.findall(r"(\d+) embeddings? of (\d+) recordings?", said) == [("1", "1")]
    skipped, kept = re.findall(r"(\w+:)? (\d+) x truncated.*?, for example (\S+):", said)
    assert skipped[1:] == ("1", "b.edf")
    assert kept[1:] == ("1", "a.edf")
    lines = (tmp_path / "out.parquet.quality.jsonl").read_text().splitlines()
    names = {json.loads(line)["record_id"] for line in lines}
    assert names == {"a.edf", "b.edf", "brief.npy", "pipe.hea"}
