"""The command embeds what can be embedded, names the rest, and its exit code says so."""

import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from culprits import assert_names

from clef_jax import embed, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, pretrained
from clef_jax.simulation import strip

RATE = 250


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)
    return model_folder.save(model, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "recordings"
    made.mkdir()
    for number in range(3):
        signal = strip.make(number, ("I", "II"), sample_rate_hz=RATE, num_samples=25 * RATE)
        np.save(made / f"{number}.npy", signal.astype(np.float32))
    return made


def run(capsys, *argv):
    with pytest.raises(SystemExit) as stopped:
        embed.main([str(one) for one in argv])
    captured = capsys.readouterr()
    return stopped.value.code or 0, " ".join(captured.out.split()), captured.err


def test_a_folder_becomes_a_table(checkpoint, folder, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    hints = (f"--sample-rate-hz={RATE}", "--lead-names", "I", "II")
    code, said, _ = run(
        capsys, f"--checkpoint={checkpoint}", f"--input={folder}", f"--out={out}", *hints
    )
    assert code == 0
    assert_names(said, "6 embeddings", "3 recordings")
    found = pq.read_table(out).to_pylist()
    assert [(row["recording"], row["lead"]) for row in found][:3] == [
        ("0.npy", "I"),
        ("0.npy", "II"),
        ("1.npy", "I"),
    ]
    model = pretrained.load(checkpoint)
    want = model.embed(np.load(folder / "0.npy"), RATE, lead=1)
    np.testing.assert_allclose(found[1]["embedding"], want, atol=2e-5)
    facts = json.loads(pq.read_schema(out).metadata[b"clef_jax"])
    assert facts["fingerprint"] == model.fingerprint
    assert facts["preprocessing"]["sample_rate_hz"] == 500.0


def test_bad_files_are_named_and_the_exit_code_tells(checkpoint, folder, tmp_path, capsys):
    (folder / "1.npy").write_bytes(b"broken")
    np.save(folder / "flat.npy", np.zeros(3000, np.float32))
    out = tmp_path / "out.npz"
    code, said, _ = run(
        capsys,
        f"--checkpoint={checkpoint}",
        f"--input={folder}",
        f"--out={out}",
        f"--sample-rate-hz={RATE}",
        "--windows=each",
        "--lead",
        "0",
        "--layer=all",
    )
    assert code == embed.SKIPPED
    assert_names(said, "1 x unreadable", "1.npy", "flat_lead")
    with np.load(out, allow_pickle=False) as found:
        assert found["embedding"].shape == (8, 24)
        assert found["usable"].tolist() == [True] * 6 + [False] * 2
        assert found["recording"].tolist() == ["0.npy"] * 3 + ["2.npy"] * 3 + ["flat.npy"] * 2
    lines = (tmp_path / "out.npz.quality.jsonl").read_text().splitlines()
    assert ("1.npy", "unreadable") in {
        (one["record_id"], one["problem"]) for one in map(json.loads, lines)
    }


@pytest.mark.parametrize(
    ("option", "culprits"),
    [
        ("--out=out.csv", ("--out=out.csv", ".parquet")),
        ("--windows=some", ("'some'",)),
        ("--layer=stage_9", ("'stage_9'",)),
        ("--stride-seconds=99", ("99 s",)),
        ("--unit=bar", ("'bar'", "mV")),
        ("--input=nothing", ("nothing",)),
        ("--checkpoint=nothing", ("nothing",)),
    ],
)
def test_a_wrong_option_is_named(
    checkpoint, folder, tmp_path, capsys, monkeypatch, option, culprits
):
    monkeypatch.chdir(tmp_path)
    given = {
        "--checkpoint": str(checkpoint),
        "--input": str(folder),
        "--out": "out.parquet",
        "--sample-rate-hz": str(RATE),
    }
    name, value = option.split("=")
    argv = [f"{key}={one}" for key, one in {**given, name: value}.items()]
    code, _, complaint = run(capsys, *argv)
    assert code in (1, 2)  # a mistake found while the options are parsed is 2
    assert_names(complaint, *culprits)
    assert not (tmp_path / "out.parquet").exists()
