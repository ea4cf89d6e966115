"""The command embeds what can be embedded, names the rest, and its exit code says so."""

import json
import os

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from culprits import assert_names

from clef_jax import embed, errors, mesh as mesh_lib
from clef_jax.embedding import (
    encoder as encoder_lib,
    folder as model_folder,
    pretrained,
    run as embedding_run,
)
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

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
        signal = simulated_ecg.make(number, ("I", "II"), sample_rate_hz=RATE, num_samples=25 * RATE)
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
        capsys, f"--model={checkpoint}", f"--input={folder}", f"--out={out}", *hints
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
        f"--model={checkpoint}",
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
        "--model": str(checkpoint),
        "--input": str(folder),
        "--out": "out.parquet",
        "--sample-rate-hz": str(RATE),
    }
    name, value = option.split("=")
    argv = [f"{key}={one}" for key, one in {**given, name: value}.items()]
    code, _, complaint = run(capsys, *argv)
    wrong = option.startswith(("--out", "--windows", "--layer", "--unit"))
    assert code == (errors.WRONG_ARGUMENTS if wrong else 1)
    assert_names(complaint, *culprits)
    assert not (tmp_path / "out.parquet").exists()


def test_a_lead_that_no_recording_has_is_named_before_the_model_is_loaded(folder, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    names = ("--lead-names", "I", "MLII")
    for wanted, culprits in {"VX": ("'VX'",), "Q9": ("'Q9'", "no known lead")}.items():
        code, _, told = embed_folder(
            capsys, tmp_path / "no_model", folder, out, *names, "--lead", "I", wanted
        )
        assert code == errors.WRONG_ARGUMENTS
        assert_names(told, *culprits, "I, MLII")
        assert "'I'" not in told


def test_a_lead_that_none_of_many_recordings_has_is_named(
    checkpoint, folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(embedding_run, "_FIRST_RECORDINGS", 1)
    out = tmp_path / "out.parquet"
    names = ("--lead-names", "I", "MLII")
    code, said, _ = embed_folder(capsys, checkpoint, folder, out, *names, "--lead", "V1")
    assert (code, out.exists()) == (embed.NOTHING_READ, False)
    assert_names(said, "'V1'", "I, MLII", "3 x missing_lead")
    code, *_ = embed_folder(capsys, checkpoint, folder, out, *names, "--lead", "II", "0")
    assert code == 0  # MLII replaces II


def test_one_recording_is_counted_in_the_singular(checkpoint, folder, tmp_path, capsys):
    (folder / "readme.md").write_text("Please read.")
    for number in (1, 2):
        (folder / f"{number}.npy").unlink()
    out = tmp_path / "out.parquet"
    _, said, _ = embed_folder(capsys, checkpoint, folder, out, "--lead", "0")
    assert_names(said, "1 embedding", "1 recording", "1 other file")


def embed_folder(capsys, checkpoint, folder, out, *options):
    hints = (f"--sample-rate-hz={RATE}", "--unit=mV")
    return run(
        capsys, f"--model={checkpoint}", f"--input={folder}", f"--out={out}", *hints, *options
    )


def report_of(out):
    lines = out.with_name(f"{out.name}.quality.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_files_that_are_no_recordings_are_counted_by_kind(checkpoint, folder, tmp_path, capsys):
    (folder / "labels.csv").write_text("name,sex\nx,male\ny,female\n")
    (folder / "RECORDS").write_text("0\n1\n")
    for name in ("a.md", "b.md"):
        (folder / name).write_text("Please read.")
    code, said, _ = embed_folder(capsys, checkpoint, folder, tmp_path / "out.parquet")
    assert code == 0
    assert_names(said, "4 other files", "2 x .md", "1 x .csv", "1 x RECORDS")


@pytest.mark.parametrize("suffix", [".parquet", ".npz"])
def test_a_run_that_reads_nothing_leaves_no_table(checkpoint, tmp_path, capsys, suffix):
    (tmp_path / "in").mkdir()
    out = tmp_path / f"out{suffix}"
    code, said, _ = embed_folder(capsys, checkpoint, tmp_path / "in", out)
    assert (code, out.exists()) == (embed.NOTHING_READ, False)
    assert_names(said, "No recording")
    (tmp_path / "in" / "x.xml").write_text("<other/>")
    (tmp_path / "in" / "y.scp").write_bytes(b"other")
    (tmp_path / "in" / "z.npy").write_bytes(b"broken")
    np.save(tmp_path / "in" / "brief.npy", np.ones(RATE, np.float32))
    code, said, _ = embed_folder(capsys, checkpoint, tmp_path / "in", out)
    assert (code, out.exists()) == (embed.NOTHING_READ, False)
    assert_names(said, "1 x .xml", "1 x .scp", "z.npy", "too_short", "brief.npy")
    assert {one["record_id"] for one in report_of(out)} >= {"z.npy", "brief.npy"}


def test_the_problems_of_single_leads_are_listed(checkpoint, folder, tmp_path, capsys):
    signal = np.load(folder / "0.npy")
    signal[1] = 0
    np.save(folder / "0.npy", signal)
    np.save(folder / "short.npy", signal[0, : 4 * RATE])
    out = tmp_path / "out.parquet"
    code, said, _ = embed_folder(capsys, checkpoint, folder, out, "--lead-names", "I", "II")
    assert code == embed.SKIPPED  # short.npy has one lead
    code, said, _ = embed_folder(capsys, checkpoint, folder, out)
    assert code == 0
    listed = {
        (one["record_id"], one["lead"], one["problem"], one["action"]) for one in report_of(out)
    }
    assert ("0.npy", "1", "flat_lead", "lead_unusable") in listed
    assert ("short.npy", "0", "short", "kept") in listed
    assert_names(said, "1 x flat_lead", "1 x short")
    found = {(row["recording"], row["lead"]): row for row in pq.read_table(out).to_pylist()}
    assert found["short.npy", "0"]["problems"] == ["short"]
    assert found["short.npy", "0"]["usable"]
    assert not found["0.npy", "1"]["usable"]


def test_strange_names_end_no_run_and_are_printed_harmlessly(checkpoint, folder, tmp_path, capsys):
    strange = [b"a\xff.npy", b"b\n\x1b[31m.npy", b"[red]c.npy"]
    for name in strange:
        try:
            (folder / os.fsdecode(name)).write_bytes((folder / "0.npy").read_bytes())
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
        (folder / os.fsdecode(b"bad" + name)).write_bytes(b"broken")
    out = tmp_path / "out.parquet"
    with pytest.raises(SystemExit) as stopped:
        embed.main(
            [
                f"--model={checkpoint}",
                f"--input={folder}",
                f"--out={out}",
                "--unit=mV",
                f"--sample-rate-hz={RATE}",
            ]
        )
    assert stopped.value.code == embed.SKIPPED
    assert "\x1b" not in capsys.readouterr().out
    recordings = {row["recording"] for row in pq.read_table(out).to_pylist()}
    assert recordings >= {"0.npy", "a\\udcff.npy", "b\n\x1b[31m.npy", "[red]c.npy"}
    assert {one["record_id"] for one in report_of(out)} >= {"bada\\udcff.npy", "bad[red]c.npy"}


def test_a_pipe_is_not_waited_for(checkpoint, folder, tmp_path, capsys):
    os.mkfifo(folder / "pipe.hea")
    code, said, _ = embed_folder(capsys, checkpoint, folder, tmp_path / "out.parquet")
    assert code == embed.SKIPPED
    assert_names(said, "1 x not_a_file", "pipe.hea")


def test_the_same_command_replaces_its_table_and_no_other_file(
    checkpoint, folder, tmp_path, capsys
):
    out = tmp_path / "out.parquet"
    hints = (f"--sample-rate-hz={RATE}", "--lead-names", "I", "II")
    command = (f"--model={checkpoint}", f"--input={folder}", f"--out={out}", *hints)
    for _ in range(2):
        assert run(capsys, *command)[0] == 0
    pq.write_table(pq.read_table(out).select(["recording"]).replace_schema_metadata(), out)
    before = out.read_bytes()
    code, _, told = run(capsys, *command)
    assert code == 1
    assert_names(told, out, "--overwrite")
    assert out.read_bytes() == before
    assert run(capsys, *command, "--overwrite")[0] == 0
    assert pq.read_table(out).num_rows == 6


def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_loaded(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out.parquet"
    code, _, told = run(capsys, "--model=nowhere", f"--input={tmp_path}", f"--out={out}")
    assert code == 1
    assert_names(told, tmp_path / "file", "--out")
