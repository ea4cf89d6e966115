"""The command and `.explain` write what moved an answer, or say why there is none."""

import dataclasses

import explained
import numpy as np
import pytest
from culprits import assert_names

from clef_jax import explain
from clef_jax.embedding.head import FEATURES
from clef_jax.errors import UserError
from clef_jax.explaining import checks as checks_lib, page, window as window_lib

pytestmark = pytest.mark.usefixtures("quick_compiler")

HINTS = (f"--sample-rate-hz={explained.RATE}", "--lead-names", "I", "II")
BOTH = ("occlusion", "integrated_gradients")


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks_lib, "NUM_HEADS", 2)
        patch.setattr(checks_lib, "NUM_ENCODERS", 1)
        patch.setattr(checks_lib, "NUM_PLACEMENTS", 15)
        patch.setattr(window_lib, "BATCH_SIZES", (4,))
        yield


@pytest.fixture(scope="module")
def model():
    return explained.model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "a.npy"
    signal = explained.signal()
    signal[1, 500:700] = np.nan
    np.save(path, signal.astype(np.float32))
    return path


@pytest.fixture(scope="module", params=BOTH)
def explanation(request, model, recording):
    return model.explain(
        np.load(recording),
        explained.RATE,
        lead_names=("I", "II"),
        method=request.param,
        patch_seconds=0.5,
        output="block",
    )


def run(capsys, *argv):
    with pytest.raises(SystemExit) as stopped:
        explain.main([str(argument) for argument in argv])
    captured = capsys.readouterr()
    return stopped.value.code or 0, " ".join(captured.out.split()), " ".join(captured.err.split())


def test_explanation_is_about_the_window_with_the_highest_answer(explanation, model, recording):
    lead_ii = np.load(recording)[1]
    each = model.predict(lead_ii, explained.RATE, each_window=True)
    number = int(np.argmax(each.probabilities[:, 1]))
    assert explanation.start_seconds == each.start_seconds[number]
    np.testing.assert_allclose(
        explanation.answers.probabilities, each.probabilities[number], atol=1e-5
    )
    whole = model.predict(lead_ii, explained.RATE)
    np.testing.assert_allclose(
        explanation.recording_answers.probabilities, whole.probabilities, atol=1e-5
    )
    assert explanation.lead_names == ("II",)
    assert explanation.contributions.shape == (1, 40)
    assert explanation.segment_start_seconds[-1] == explanation.start_seconds + 9.75
    assert explanation.model_fingerprint == model.fingerprint
    assert (explanation.num_windows, explanation.num_usable) == (3, 3)


def test_checks_are_computed(explanation):
    checks = explanation.checks
    assert len(checks.head.signed) == 2
    assert len(checks.encoder.signed) == 1
    assert {len(removal.random_changes) for removal in checks.removals} == {15}
    is_gradient = explanation.method == "integrated_gradients"
    assert (checks.error is not None) == is_gradient
    if is_gradient:
        assert checks.error < 0.01


def test_page_states_answer_method_checks_and_limits(explanation, tmp_path):
    path = explanation.save(tmp_path / "page.html")
    assert page.is_page(path)
    text = path.read_text()
    for anchor in ("picture", "checks", "unsaid", "limits"):
        assert f'id="{anchor}"' in text
    probability = explanation.answers.probabilities[1]
    assert_names(text, "block", f"{probability:.1%}", "II", "medical device", "data:image")
    assert text.count("<li>") >= len(page.UNSAID)
    assert explanation.save(path) == path
    path.write_text("mine")
    with pytest.raises(UserError):
        explanation.save(path)


def test_picture_shows_the_gap_and_every_segment(explanation):
    paper, bars = explanation.plot().axes
    assert len(paper.get_lines()) == 1
    assert len(bars.patches) >= 40
    heights = [bar.get_height() for bar in bars.containers[0]]
    np.testing.assert_allclose(heights, explanation.contributions[0])


def test_command_writes_the_same(folder, recording, model, tmp_path, capsys):
    out = tmp_path / "why.html"
    options = ("--patch-seconds=2", "--start-seconds=4", "--output=AF", *HINTS)
    code, said, _ = run(capsys, recording, f"--model={folder}", f"--out={out}", *options)
    assert code == 0
    assert page.is_page(out)
    assert_names(said, "medical device", "a.npy", "AF", "why.html")
    want = model.explain(
        np.load(recording)[1], explained.RATE, patch_seconds=2, start_seconds=4, output="AF"
    )
    assert want.recording_answers is None
    assert f"{want.answers.probabilities[0]:.1%}" in out.read_text()


def test_head_of_rhythm_and_spectrum_is_explained_by_occlusion(model, recording):
    width = explained.HEAD.weight.shape[1] + 38
    head = dataclasses.replace(
        explained.HEAD, features=FEATURES, weight=np.full((2, width), 0.01), calibration=None
    )
    both = dataclasses.replace(model, head=head)
    options = {"patch_seconds": 1, "start_seconds": 0, "output": "AF"}
    found = both.explain(np.load(recording)[0], explained.RATE, **options)
    assert np.isfinite(found.contributions).all()
    assert np.ptp(found.contributions) > 0
    with pytest.raises(UserError) as raised:
        both.explain(np.load(recording)[0], explained.RATE, method=BOTH[1], **options)
    assert raised.value.problem == "no_gradients"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "several_signals"),
        ({"lead": 0, "method": "lime"}, "unknown_method"),
        ({"lead": 0, "patch_seconds": 5}, "wrong_patch"),
        ({"lead": 0, "output": "aff"}, "unknown_output"),
        ({"lead": 0, "start_seconds": 20}, "window_outside_recording"),
    ],
)
def test_wrong_arguments_are_refused(model, recording, options, problem):
    with pytest.raises(UserError) as raised:
        model.explain(np.load(recording), explained.RATE, **options)
    assert raised.value.problem == problem


def test_models_without_a_head_are_refused(model, recording):
    bare = dataclasses.replace(model, head=None)
    with pytest.raises(UserError) as raised:
        bare.explain(np.load(recording)[0], explained.RATE)
    assert raised.value.problem == "no_head"


@pytest.mark.parametrize(
    ("name", "write", "culprit"),
    [
        ("flat.npy", lambda path: np.save(path, np.zeros((2, 3000), np.float32)), "flat"),
        ("bad.npy", lambda path: path.write_bytes(b"broken"), "bad.npy"),
        ("none.npy", lambda path: None, "none.npy"),
        ("folder", lambda path: [np.save(path / n, explained.signal(5)) for n in "ab"], "b.npy"),
    ],
)
def test_recordings_without_an_answer_are_refused(folder, tmp_path, capsys, name, write, culprit):
    path = tmp_path / name
    if "." not in name:
        path.mkdir()
    write(path)
    out = tmp_path / "why.html"
    code, _, said = run(capsys, path, f"--model={folder}", f"--out={out}", *HINTS)
    assert code == 1
    assert_names(said, culprit)
    assert "Traceback" not in said
    assert not out.exists()


def test_one_of_several_recordings_is_named(folder, tmp_path, capsys):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 3000), np.float32))
    flags = (f"--model={folder}", f"--out={tmp_path / 'why.html'}", *HINTS)
    for record, culprit in (("b.npy", "b.npy"), ("c.npy", "a.npy")):
        code, _, said = run(capsys, tmp_path, f"--record={record}", *flags)
        assert code == 1
        assert_names(said, culprit)


def test_lead_must_be_known(folder, recording, tmp_path, capsys):
    flags = (f"--model={folder}", f"--out={tmp_path / 'why.html'}", HINTS[0])
    for more in (("--lead-names", "V1", "V2"), (*HINTS[1:], "--lead=V6")):
        code, _, said = run(capsys, recording, *flags, *more)
        assert code == 1
        assert_names(said, more[-1].partition("=")[2] or "V2")


def test_output_must_be_a_page(recording, folder, tmp_path, capsys):
    code, _, said = run(capsys, recording, f"--model={folder}", "--out=why.png")
    assert code == 2
    assert_names(said, "why.png")
    code, _, said = run(capsys, f"--model={folder}", f"--out={tmp_path / 'why.html'}")
    assert code == 2
