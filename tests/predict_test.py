"""The command answers what can be answered, gives a reason for the rest, and states its limits."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from culprits import assert_names

from clef_jax import mesh as mesh_lib, predict
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, pretrained
from clef_jax.embedding.head import Calibration, Head
from clef_jax.predicting import page, rows, timeline
from clef_jax.simulation import simulated_ecg

pytestmark = [
    pytest.mark.usefixtures("quick_compiler"),
    pytest.mark.filterwarnings("ignore:.*are flat:UserWarning"),
]

RATE = 250
HINTS = (f"--sample-rate-hz={RATE}", "--lead-names", "I", "V5")
FITTED = Fitted(
    recordings=90, patients=60, leads=("I",), sample_rate_hz=(RATE, RATE), age_years=(18, 90)
)
HEAD = Head(
    weight=np.random.default_rng(0).normal(size=(2, 16)),
    bias=np.array([0.1, -0.2]),
    names=("AF", "=block"),
    layer="stage_2",
    kind="multilabel",
    centre=np.zeros(2),
    scale=np.ones(2),
    calibration=Calibration("platt", np.array([0.5, 2.0]), np.array([0.1, -0.1])),
    threshold=np.array([0.5, 0.4]),
    prevalence=np.array([0.3, 0.1]),
    fitted=FITTED.to_json(),
)
REGRESSION = dataclasses.replace(
    HEAD,
    kind="regression",
    calibration=None,
    threshold=None,
    prevalence=None,
    half_width=np.array([3.0, 4.0]),
    coverage=0.8,
)


@pytest.fixture(scope="module")
def embedder():
    return encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)


@pytest.fixture(scope="module")
def model(embedder, tmp_path_factory):
    return model_folder.save(embedder, tmp_path_factory.mktemp("model") / "tiny", head=HEAD)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "recordings"
    made.mkdir()
    for number in range(2):
        signal = simulated_ecg.make(number, ("I", "V5"), sample_rate_hz=RATE, num_samples=25 * RATE)
        signal[0, : 10 * RATE] = 0 if number else signal[0, : 10 * RATE]
        np.save(made / f"{number}.npy", signal.astype(np.float32))
    np.save(made / "flat.npy", np.zeros((2, 3000), np.float32))
    (made / "bad.npy").write_bytes(b"broken")
    return made


def run(capsys, *argv):
    with pytest.raises(SystemExit) as stopped:
        predict.main([str(argument) for argument in argv])
    captured = capsys.readouterr()
    return stopped.value.code or 0, " ".join(captured.out.split()), captured.err


def test_each_recording_has_an_answer_or_a_reason(model, folder, tmp_path, capsys):
    out = tmp_path / "out.parquet"
    code, said, _ = run(capsys, f"--model={model}", f"--input={folder}", f"--out={out}", *HINTS)
    assert code == predict.SKIPPED
    assert_names(said, "not a medical device", "90", "60", "bad.npy", "2 of 3")
    table = pq.read_table(out).to_pylist()
    loaded = pretrained.load(model)
    for number in range(2):
        own = [row for row in table if row["recording"] == f"{number}.npy"]
        want = loaded.predict(np.load(folder / f"{number}.npy"), RATE, lead=0)
        assert [row["output"] for row in own] == ["AF", "=block"]
        assert {row["lead"] for row in own} == {"I"}
        np.testing.assert_allclose([x["probability"] for x in own], want.probabilities, atol=1e-5)
        assert [row["decision"] for row in own] == want.decisions.astype(bool).tolist()
        assert [row["prevalence"] for row in own] == [0.3, 0.1]
        assert [row["threshold"] for row in own] == [0.5, 0.4]
        assert own[0]["num_windows"] == 3 - number
        assert own[0]["problems"] == ([] if number == 0 else ["flat_lead"])
        assert own[0]["model_fingerprint"] == loaded.fingerprint
        assert own[0]["head_fingerprint"] == want.head_fingerprint
    reasons = {row["recording"]: row for row in table if not row["usable"]}
    assert set(reasons) == {"bad.npy", "flat.npy"}
    for row in reasons.values():
        assert row["reason"]
        assert (row["output"], row["probability"], row["decision"]) == (None, None, None)
    assert all(row["intended_use"] for row in table)
    stored = json.loads(pq.read_schema(out).metadata[b"clef_jax"])
    about = json.loads((tmp_path / "out.parquet.about.json").read_text())
    assert stored == about
    assert about["fingerprint"] == loaded.fingerprint
    assert_names(" ".join([about["intended_use"], *about["limits"]]), "medical device", "90", "I")
    assert str(tmp_path) not in json.dumps(about)
    assert not (tmp_path / "out.parquet.html").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_formats_hold_the_same(model, folder, tmp_path, capsys, suffix):
    want, out = tmp_path / "out.parquet", tmp_path / f"out.{suffix}"
    for path in (want, out):
        run(capsys, f"--model={model}", f"--input={folder}", f"--out={path}", *HINTS)
    table = pq.read_table(want).to_pylist()
    if suffix == "jsonl":
        assert [json.loads(line) for line in out.read_text().splitlines()] == table
        return
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["output"] for row in found] == [
        {"=block": "'=block", None: ""}.get(row["output"], row["output"]) for row in table
    ]
    for mine, other in zip(found, table, strict=True):
        if other["usable"]:
            assert float(mine["probability"]) == other["probability"]
            assert mine["decision"] == str(other["decision"]).lower()
        else:
            assert mine["probability"] == mine["decision"] == ""
        assert mine["problems"].split() == other["problems"]


def test_windows_over_time_have_a_page(model, folder, tmp_path, capsys):
    out = tmp_path / "out.csv"
    options = ("--each-window", "--prevalence", "AF=0.02", *HINTS)
    code, said, _ = run(
        capsys, f"--model={model}", f"--input={folder / '1.npy'}", f"--out={out}", *options
    )
    assert code == 0
    assert_names(said, "2 of 3 windows", "out.csv.html")
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["start_seconds"] for row in found] == ["0.0", "10.0", "10.0", "15.0", "15.0"]
    assert [row["usable"] for row in found] == ["false"] + ["true"] * 4
    assert {row["prevalence"] for row in found[1:]} == {"0.02", "0.1"}
    want = pretrained.load(model).predict(
        np.load(folder / "1.npy")[0, 10 * RATE :], RATE, each_window=True, prevalence={"AF": 0.02}
    )
    probability = np.array([float(row["probability"]) for row in found[1:]])
    np.testing.assert_allclose(probability, want.probabilities.ravel(), atol=1e-5)
    made = (tmp_path / "out.csv.html").read_text()
    assert page.is_page(tmp_path / "out.csv.html")
    assert_names(made, "1.npy", "=block", 'role="img"', "0:00 to", "not a medical device")


def test_what_the_head_was_not_fitted_to_is_flagged(model, folder, tmp_path, capsys):
    signal = np.load(folder / "0.npy")
    other = folder / "other.npy"
    np.save(other, signal[:, ::2])
    out = tmp_path / "out.jsonl"
    hints = ("--sample-rate-hz=125", "--lead-names", "V1", "V5")
    run(capsys, f"--model={model}", f"--input={other}", f"--out={out}", *hints)
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["lead"], row["problems"]) for row in found[::2]] == [
        (lead, ["unfitted_rate", "unfitted_lead"]) for lead in ("V1", "V5")
    ]
    run(capsys, f"--model={model}", f"--input={other}", f"--out={out}", "--lead=V5", *hints)
    assert {json.loads(line)["lead"] for line in out.read_text().splitlines()} == {"V5"}


def test_the_age_that_a_file_states_is_compared_and_not_repeated(model, tmp_path, capsys):
    signal = simulated_ecg.make(0, ("I",), sample_rate_hz=RATE, num_samples=10 * RATE)
    np.rint(signal * 200).astype("<i2").tofile(tmp_path / "child.dat")
    (tmp_path / "child.hea").write_text(
        f"child 1 {RATE} {10 * RATE}\nchild.dat 16 200(0)/mV 16 0 0 0 0 I\n#Age: 7\n"
    )
    out = tmp_path / "out.jsonl"
    code, said, _ = run(
        capsys, f"--model={model}", f"--input={tmp_path / 'child.hea'}", f"--out={out}"
    )
    assert code == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["problems"] for row in found] == [["unfitted_age"]] * 2
    assert "7" not in {*said.split(), *map(str, found[0].values())}


def test_nothing_read_writes_no_table(model, folder, tmp_path, capsys):
    out = tmp_path / "out.csv"
    code, said, _ = run(
        capsys, f"--model={model}", f"--input={folder / 'bad.npy'}", f"--out={out}", *HINTS
    )
    assert code == predict.NOTHING_READ
    assert not out.exists()
    assert_names(said, "bad.npy")
    assert (tmp_path / "out.csv.quality.jsonl").read_text()


def test_values_have_intervals(embedder, folder, tmp_path, capsys):
    model = model_folder.save(embedder, tmp_path / "pressure", head=REGRESSION)
    out = tmp_path / "out.jsonl"
    run(
        capsys,
        f"--model={model}",
        f"--input={folder / '0.npy'}",
        f"--out={out}",
        "--each-window",
        *HINTS,
    )
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(found) == 6
    for row, width in zip(found, (3.0, 4.0) * 3, strict=True):
        np.testing.assert_allclose(
            [row["upper"] - row["value"], row["value"] - row["lower"]], width
        )
        assert (row["probability"], row["decision"], row["coverage"]) == (None, None, 0.8)
    assert_names((tmp_path / "out.jsonl.html").read_text(), "80%")


@pytest.mark.parametrize(
    ("option", "culprits"),
    [
        ("--out=out.npz", ("--out=out.npz", ".parquet")),
        ("--prevalence=AF=7", ("AF=7",)),
        ("--prevalence=flutter=0.1", ("flutter",)),
        ("--lead=V9", ("V9",)),
        ("--stride-seconds=0", ("--stride-seconds",)),
        ("--model=nothing", ("nothing",)),
    ],
)
def test_a_wrong_option_is_named(model, folder, tmp_path, capsys, monkeypatch, option, culprits):
    monkeypatch.chdir(tmp_path)
    given = {"--model": str(model), "--input": str(folder), "--out": "out.csv"}
    name, _, value = option.partition("=")
    argv = [f"{key}={text}" for key, text in (given | {name: value}).items()]
    code, _, err = run(capsys, *argv, *HINTS)
    assert code not in (0, predict.SKIPPED)
    assert_names(err, *culprits)
    assert not list(tmp_path.glob("out.*"))


def test_a_model_without_a_head_is_refused(embedder, folder, tmp_path, capsys):
    bare = model_folder.save(embedder, tmp_path / "bare")
    out = tmp_path / "out.csv"
    code, _, err = run(capsys, f"--model={bare}", f"--input={folder}", f"--out={out}", *HINTS)
    assert code == 1
    assert_names(err, "head", "clef-jax fit")


def test_files_of_others_are_not_replaced(model, folder, tmp_path, capsys):
    out = tmp_path / "out.csv"
    argv = [f"--model={model}", f"--input={folder}", f"--out={out}", *HINTS]
    out.write_text("name,answer\n")
    assert run(capsys, *argv)[0] == 1
    assert out.read_text() == "name,answer\n"
    assert run(capsys, *argv, "--overwrite")[0] == predict.SKIPPED
    assert run(capsys, *argv)[0] == predict.SKIPPED  # its own table is replaced
    (tmp_path / "out.csv.html").write_text("mine")
    assert run(capsys, *argv, "--each-window")[0] == 1


def test_the_page_keeps_a_bounded_number_of_windows(monkeypatch):
    answerer = rows.Answerer(HEAD, None, "digest")
    monkeypatch.setattr(timeline, "MOST_VALUES", 2 * 10)
    kept = timeline.Timelines(2)
    for number in range(12):
        row = rows.Row(
            recording="day",
            lead="I",
            start_seconds=number * 10.0,
            duration_seconds=10.0,
            num_windows=1,
            missing_fraction=0.0,
            problems=(),
            usable=number != 3,
            embedding=np.ones(16, np.float32),
        )
        kept.add(row, answerer.answer(row))
    assert [len(line) for line in kept.kept] == [10]
    assert kept.num_omitted == 2
    found = timeline.intervals(kept.kept[0], 60.0)
    assert [(x.num_windows, x.num_answers, x.end_seconds) for x in found] == [
        (6, 5, 60.0),
        (4, 4, 100.0),
    ]
    want = answerer.answer(row)
    np.testing.assert_allclose(found[0].mean, want.probabilities, rtol=1e-6)
    np.testing.assert_array_equal(found[0].positive, want.decisions)


def test_intervals_of_a_table_suit_the_duration():
    assert timeline.bin_seconds(86_400) == 3600
    assert timeline.bin_seconds(60) == 10
    assert timeline.bin_seconds(14 * 86_400) == 86_400
    assert timeline.bin_seconds(10_000 * 86_400) == 7 * 86_400
