"""The command fits a head to labelled files and accounts for every row; the folder then answers."""

import csv
import re

import jax
import numpy as np
import pytest
from culprits import assert_names, refuses

from clef_jax import fit, mesh as mesh_lib
from clef_jax.answers import calibration as calibration_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, pretrained
from clef_jax.evaluation import prediction, probe
from clef_jax.evaluation.examples import Examples
from clef_jax.fitting import cross_validation
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

RATE, COUNT = 100, 40


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    model = encoder_lib.random("tiny", mesh_lib.make_mesh(jax.local_devices()), seed=0)
    return model_folder.save(model, tmp_path_factory.mktemp("model") / "tiny")


def signals():
    """Yields signals; the odd ones are three times as fast."""
    for number in range(COUNT):
        signal = simulated_ecg.make(number, ("I",), sample_rate_hz=RATE, num_samples=30 * RATE)
        fast = signal[:, ::3] if number % 2 else signal[:, : 10 * RATE]
        yield fast[0].astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("recordings")
    for number, signal in enumerate(signals()):
        np.save(made / f"r{number:02}.npy", signal)
    np.save(made / "flat.npy", np.zeros(1000, np.float32))
    (made / "broken.npy").write_bytes(b"broken")
    return made


def write_labels(path, extra=(), header="record,patient,fast"):
    lines = [f"r{number:02},p{number // 2 % 19},{number % 2}" for number in range(COUNT - 1)]
    path.write_text("\n".join([header, *lines, *extra]))
    return path


def run(capsys, checkpoint, folder, labels, out, *argv):
    given = (f"--model={checkpoint}", f"--input={folder}", f"--labels={labels}", f"--out={out}")
    hints = (f"--sample-rate-hz={RATE}", "--num-resamples=100")
    with pytest.raises(SystemExit) as stopped:
        fit.main([*given, *hints, *argv])
    captured = capsys.readouterr()
    return stopped.value.code or 0, " ".join(captured.out.split()), captured.err


@pytest.fixture(scope="module")
def fitted(checkpoint, folder, tmp_path_factory):
    """The folder of a model that was fitted to labels with some faults."""
    top = tmp_path_factory.mktemp("fitted")
    extra = ("flat,q,1", "broken,q,0", "nowhere,q,1", "r39,q,", "r38,p0,1")
    labels = write_labels(top / "labels.csv", extra)
    given = (f"--model={checkpoint}", f"--input={folder}", f"--labels={labels}")
    hints = (f"--sample-rate-hz={RATE}", "--num-resamples=100", "--with=classical")
    with pytest.raises(SystemExit) as stopped:
        fit.main([*given, f"--out={top / 'model'}", *hints])
    assert stopped.value.code == 3
    return top / "model"


def test_the_folder_holds_a_calibrated_head(fitted, checkpoint):
    head = model_folder.load_head(fitted)
    assert head is not None
    assert (head.kind, head.names, head.features) == (
        "binary",
        ("fast",),
        ("embedding", "classical"),
    )
    assert head.calibration is not None
    assert head.threshold is not None
    assert 0 < head.threshold[0] < 1
    assert head.fitted["patients"] == 19
    assert head.fitted["recordings"] == 38
    assert head.fitted["positives"] == {"fast": 19}
    assert head.fitted["sample_rate_hz"] == [RATE, RATE]
    assert pretrained.load(fitted).fingerprint == pretrained.load(checkpoint).fingerprint


def test_every_row_and_recording_is_in_the_table(fitted):
    with fitted.with_name("model.rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["used"] == "yes" for row in rows) == 38
    unused = {row["id"] or row["recording"]: row["problem"] for row in rows if row["used"] == "no"}
    assert unused == {
        "flat": "flat_lead",
        "broken": "unreadable",
        "nowhere": "no_recording",
        "r39": "missing_label",
        "r38": "contradictory_rows",
    }
    assert all(row["detail"] for row in rows if row["used"] == "no")


def test_neither_folder_nor_page_names_a_recording_a_patient_or_a_path(fitted, folder):
    page = fitted.with_name("model.report.html")
    for path in (*fitted.iterdir(), page):
        content = re.sub(rb"data:image/png;base64,[^\"]*", b"", path.read_bytes())
        for private in (b"r07", b"nowhere", b"p12", str(folder).encode(), str(fitted).encode()):
            assert private not in content, (path.name, private)
    text = page.read_text()
    for anchor in ("labels", "scores", "curves", "calibration", "decisions"):
        assert f'id="{anchor}"' in text
    assert_names(text, "rhythm and spectrum", "randomly initialised encoder", "38 recordings")


def test_what_others_made_is_not_replaced(fitted, checkpoint, folder, tmp_path, capsys):
    labels = write_labels(tmp_path / "labels.csv")
    code, _, said = run(capsys, checkpoint, folder, labels, checkpoint)
    assert code == 1
    assert_names(said, str(checkpoint), "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    code, _, said = run(capsys, checkpoint, folder, labels, tmp_path / "mine", "--overwrite")
    assert code == 1
    assert (tmp_path / "mine" / "thesis.txt").exists()
    (tmp_path / "new.report.html").write_text("mine")
    code, _, said = run(capsys, checkpoint, folder, labels, tmp_path / "new")
    assert code == 1
    assert_names(said, "new.report.html")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([f"r{n:02},p,{n % 2}" for n in range(20)], "one patient"),
        ([f"r{n:02},p{n},{int(n == 3)}" for n in range(20)], "1 patient"),
        (["b0,p,1", "b1,q,0"], "b0"),
        (["broken,p,1", "flat,q,0"], "unreadable"),
    ],
)
def test_labels_that_cannot_be_learned_end_in_a_sentence(
    checkpoint, folder, tmp_path, capsys, rows, problem
):
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["record,patient,y", *rows]))
    code, _, said = run(capsys, checkpoint, folder, labels, tmp_path / "out", "--no-compare")
    assert code == 1
    assert "Traceback" not in said
    assert problem.removeprefix("one ") in said
    assert not (tmp_path / "out").exists()


def examples(count=60, outputs=1):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 8)).astype(np.float32) * [1, 10, 1, 1, 1, 1, 1, 1e-3] + 3
    target = (features[:, :outputs] + rng.normal(size=(count, outputs)) > 3).astype(float)
    return Examples(features.astype(np.float32), target, np.arange(count) // 2)


def test_predictions_are_those_of_evaluate():
    whole = examples()
    fold, seed = cross_validation.make_folds(whole, "binary", 0)
    assert seed == 0
    ours = cross_validation.predict("binary", whole, fold)
    count = len(whole)
    subset = prediction.Subset(
        {"last": whole.features},
        whole.target,
        whole.patient,
        *(np.full(count, np.nan),) * 2,
        np.zeros(count, bool),
        0,
    )
    theirs = np.full(count, np.nan)
    for number in range(prediction.NUM_FOLDS):
        inner, outer = subset.at(fold != number), subset.at(fold == number)
        fitted_probe = prediction.Protocol().fit("binary", inner.examples("last"), None, seed=0)
        theirs[fold == number] = fitted_probe(outer.features["last"])[:, 0]
    np.testing.assert_array_equal(ours.predicted[:, 0], theirs)
    want = prediction.folds(whole.patient, prediction.NUM_FOLDS, 0)
    np.testing.assert_array_equal(fold, want)


@pytest.mark.parametrize("outputs", [1, 3])
def test_stored_weights_give_the_probe(outputs):
    whole = examples(outputs=outputs)
    fitted_probe = probe.fit("multilabel", whole)
    weight, bias = probe.weights(fitted_probe)
    logits = whole.features.astype(float) @ weight.T.astype(float) + bias
    want = probe.logits(fitted_probe, whole.features)
    np.testing.assert_allclose(logits, want, atol=1e-5)
    probability = calibration_lib.probabilities("multilabel", logits)
    np.testing.assert_allclose(probability, fitted_probe(whole.features), atol=1e-5)


def test_a_loaded_model_fits_arrays(checkpoint):
    model = pretrained.load(checkpoint)
    labels = ["fast" if number % 2 else "slow" for number in range(COUNT)]
    patients = [number // 2 for number in range(COUNT)]
    fitted_model = model.fit(
        list(signals()),
        {"rate": labels},
        patients=patients,
        sample_rate_hz=RATE,
        positive={"rate": ["fast"]},
        with_classical=True,
        compare=False,
    )
    assert fitted_model.head.names == ("rate=fast",)
    assert fitted_model.scores["auroc"] > 0.8
    head, features = fitted_model.head, fitted_model.dataset.features
    both = np.concatenate([features["embedding"], features["classical"]], axis=1).astype(float)
    logits = both @ head.weight.T + head.bias
    want = calibration_lib.probabilities("binary", logits, head.calibration)
    for number, signal in zip(range(4), signals(), strict=False):
        answers = fitted_model.model.predict(signal, RATE)
        np.testing.assert_allclose(answers.probabilities, want[number], atol=1e-5)


@pytest.mark.parametrize("kind", ["regression", "multiclass", "multilabel"])
def test_other_kinds_of_labels(checkpoint, kind):
    model = pretrained.load(checkpoint)
    numbers = np.arange(COUNT)
    labels = {
        "regression": {"rate": 60 + 40.5 * (numbers % 2) + numbers / 10},
        "multiclass": {"rhythm": [("slow", "fast", "rare")[n % 2 if n else 2] for n in numbers]},
        "multilabel": {"fast": numbers % 2, "late": numbers >= 20},
    }[kind]
    fitted_model = model.fit(list(signals()), labels, sample_rate_hz=RATE, compare=False)
    head, rows = fitted_model.head, fitted_model.dataset.rows
    assert head.kind == kind
    page = fitted_model.report()
    if kind == "regression":
        assert head.half_width is not None
        assert head.half_width[0] < 60
        assert 'id="intervals"' in page
    if kind == "multiclass":
        assert head.names == ("fast", "slow")
        assert [row.problem for row in rows if not row.used] == ["rare_class"]
        np.testing.assert_allclose(head.prevalence.sum(), 1)
    if kind == "multilabel":
        assert head.names == ("fast", "late")
        assert head.threshold.shape == (2,)


def test_arrays_and_labels_must_fit_each_other(checkpoint):
    model = pretrained.load(checkpoint)
    with refuses("3 values", problem="wrong_label_count"):
        model.fit(list(signals())[:2], [1, 0, 1], sample_rate_hz=RATE)


def test_rare_labels_get_folds_outside_of_which_they_vary():
    target = np.zeros((25, 1))
    target[:5] = 1
    rare = Examples(np.zeros((25, 1)), target, np.arange(25))
    for first in range(40):
        fold, seed = cross_validation.make_folds(rare, "binary", first)
        assert seed >= first
        assert all(target[fold != part].any() for part in range(prediction.NUM_FOLDS))
    with refuses(problem="too_few_positives"):
        target[1:5] = 0
        cross_validation.make_folds(Examples(np.zeros((25, 1)), target, rare.patient), "binary", 0)
    with refuses(problem="one_patient"):
        cross_validation.make_folds(rare.at(np.zeros(6, int)), "binary", 0)
