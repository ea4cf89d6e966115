"""Recordings of any layout are embedded in order, and unreadable ones are reported."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from culprits import assert_names
from flax import nnx

from clef_jax import leads, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, pretrained
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.stream import Stream
from clef_jax.errors import UserError
from clef_jax.finding import Defect
from clef_jax.formats import Opened
from clef_jax.models import create_encoder
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def model():
    return pretrained.Pretrained(encoder_lib.random("tiny", ONE, seed=0))


def opened(name, seconds=10.0, rate=500, names=("I", "II"), fail_at=None, seed=0):
    length = round(seconds * rate)
    signal = simulated_ecg.make(seed, names, sample_rate_hz=rate, num_samples=length).astype(
        np.float32
    )

    def read(signal, start, num_samples):
        if fail_at is not None and start + num_samples > fail_at * rate:
            raise Defect("unreadable", "The disk broke.")
        assert start >= 0
        assert start + num_samples <= signal.shape[1]
        return signal[:, start : start + num_samples]

    return Opened(
        name=name,
        lead_names=names,
        sample_rate_hz=float(rate),
        num_samples=length,
        unit_known=True,
        read=functools.partial(read, signal),
    ), signal


def run(model, recordings, **options):
    problems = []
    part = model.part(options.pop("layer", None))
    stream = Stream(model.embedder, part, problems.append, **options)
    rows = list(stream(iter([one for one, _ in recordings])))
    return rows, [(one.record_id, one.problem, one.lead) for one in problems], stream


def test_rows_are_what_embedding_one_by_one_gives(model):
    recordings = [
        opened("a", seed=1),
        opened("b", seconds=47, rate=360, names=("V1",), seed=2),
        opened("c", seconds=3, rate=100, seed=3),
        opened("d", seconds=700, rate=100, names=("II",), seed=4),  # several pieces
    ]
    rows, problems, stream = run(model, recordings)
    assert [(row.recording, row.lead) for row in rows] == [
        ("a", "I"),
        ("a", "II"),
        ("b", "V1"),
        ("c", "I"),
        ("c", "II"),
        ("d", "II"),
    ]
    assert [row.num_windows for row in rows] == [1, 1, 5, 1, 1, 70]
    assert not problems
    assert stream.num_windows == 79
    with pytest.warns(UserWarning, match="shorter"):  # c
        want = [row for one, x in recordings for row in model.embed(x, one.sample_rate_hz)]
    np.testing.assert_allclose([row.embedding for row in rows], want, atol=2e-5)


def test_windows_can_be_had_one_by_one(model):
    recordings = [opened("a", seconds=25)]
    rows, _, _ = run(model, recordings, each_window=True, leads=["II"], layer="stage_1")
    assert [(row.start_seconds, row.duration_seconds) for row in rows] == [
        (0.0, 10.0),
        (10.0, 10.0),
        (15.0, 10.0),
    ]
    want = model.embed(recordings[0][1][1], 500, layer="stage_1", each_window=True)
    np.testing.assert_allclose([row.embedding for row in rows], want, atol=2e-5)


def test_a_stride_makes_windows_overlap(model):
    rows, _, _ = run(model, [opened("a", seconds=20)], stride_seconds=5.0, leads=["I"])
    assert rows[0].num_windows == 3


def test_a_broken_recording_is_reported_and_skipped(model):
    recordings = [opened("a"), opened("b", seconds=900, rate=100, fail_at=500), opened("c")]
    rows, problems, _ = run(model, recordings, leads=["I"])
    assert [row.recording for row in rows] == ["a", "c"]
    assert ("b", "unreadable", None) in problems
    assert len(problems) == 1


def test_a_missing_lead_is_reported_and_a_similar_one_is_used(model):
    one, signal = opened("b", names=("II", "V5"))
    modified = dataclasses.replace(one, lead_names=("MLII", "V5"))
    recordings = [opened("a", names=("V1",)), (modified, signal)]
    rows, problems, _ = run(model, recordings, leads=["II"])
    assert [(row.recording, row.lead) for row in rows] == [("b", "MLII")]
    assert problems == [("a", "missing_lead", "II"), ("b", "other_lead", "MLII")]


def test_a_rate_that_makes_no_sense_is_reported(model):
    one, signal = opened("a", seconds=100, rate=1)
    rows, problems, _ = run(model, [(one, signal)])
    assert (rows, problems) == ([], [("a", "wrong_rate", None)])


def test_unusable_windows_are_marked(model):
    one, signal = opened("a", seconds=20, names=("I",))
    signal[:, 5000:] = 0
    rows, _, _ = run(model, [(one, signal)])
    assert (rows[0].usable, rows[0].num_windows, rows[0].problems) == (True, 1, ("flat_lead",))
    rows, _, _ = run(model, [(one, signal)], each_window=True)
    assert [row.usable for row in rows] == [True, False]


def test_a_lead_without_name_can_be_meant_by_any(model):
    one, signal = opened("a", names=("I",))
    nameless = dataclasses.replace(one, lead_names=("",))
    rows, _, _ = run(model, [(nameless, signal)], leads=["II"])
    assert rows[0].lead == "II"
    rows, _, _ = run(model, [(nameless, signal)])
    assert rows[0].lead == "0"


def test_encoders_of_twelve_leads_take_them_by_name():
    encoder = create_encoder("tiny", in_channels=12, rngs=nnx.Rngs(0))
    many = pretrained.Pretrained(encoder_lib.of_encoder(encoder, ONE, name="12", recipe=Recipe()))
    shuffled = (*leads.STANDARD_12[6:], *leads.STANDARD_12[:6])
    one, signal = opened("a", seconds=20, names=shuffled)
    rows, problems, _ = run(many, [(one, signal), opened("b")])
    assert [(row.recording, row.lead) for row in rows] == [("a", "12 leads")]
    assert problems == [("b", "missing_lead", "III")]
    want = many.embed(signal[[*range(6, 12), *range(6)]], 500)
    np.testing.assert_allclose(rows[0].embedding, want, atol=2e-5)


def test_a_wrong_layer_or_stride_is_refused_before_anything_is_read(model):
    with pytest.raises(UserError, match="'stage_9'"):
        model.part("stage_9")
    with pytest.raises(UserError, match="20 s"):
        Stream(model.embedder, model.part("last"), print, stride_seconds=20)


def test_stopping_early_reads_no_further(model):
    count = 0

    def many():
        nonlocal count
        while True:
            count += 1
            yield opened(str(count))[0]

    rows = Stream(model.embedder, model.part("last"), print)(many())
    next(rows)
    rows.close()
    assert count < 200


def test_short_and_slow_recordings_are_flagged_or_refused(model):
    recordings = [
        opened("ok", seconds=10, rate=100, names=("I",)),
        opened("short", seconds=9, names=("I",)),
        opened("slow", rate=64, names=("I",)),
        opened("both", seconds=2, rate=50, names=("I",)),
        opened("brief", seconds=1.9, names=("I",)),
        opened("crawl", rate=49, names=("I",)),
    ]
    for each_window in (False, True):
        rows, problems, _ = run(model, recordings, each_window=each_window)
        assert [(row.recording, row.problems, row.usable) for row in rows] == [
            ("ok", (), True),
            ("short", ("short",), True),
            ("slow", ("low_rate",), True),
            ("both", ("low_rate", "short") if not each_window else ("short", "low_rate"), True),
        ]
        assert problems == [("brief", "too_short", None), ("crawl", "wrong_rate", None)]


def test_each_problem_of_a_lead_is_a_finding(model):
    one, signal = opened("a", seconds=30, names=("I", "II"))
    signal[1, 10000:] = 0
    rows, _, _ = run(model, [(one, signal)])
    assert rows[0].findings == ()
    (finding,) = rows[1].findings
    assert (finding.record_id, finding.problem, finding.lead) == ("a", "flat_lead", "II")
    assert finding.action == "kept"
    assert_names(finding.detail, "1 of 3", "lead II")
    rows, _, _ = run(model, [(one, signal)], each_window=True)
    (finding,) = (finding for row in rows for finding in row.findings)
    assert finding.action == "lead_unusable"
    assert_names(finding.detail, "20 s", "lead II")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RuntimeError("nobody expects this"), "unreadable"),
        (MemoryError(), "too_large"),
        (OSError(5, "Input/output error"), "unreadable"),
        (UserError("Install the package.", problem="missing_package"), "missing_package"),
    ],
)
def test_a_reader_that_raises_anything_concerns_its_recording_alone(model, error, problem):
    def fail(start, num_samples):
        raise error

    broken = dataclasses.replace(opened("b")[0], read=fail)
    rows, problems, _ = run(model, [opened("a"), (broken, None), opened("c")], leads=["I"])
    assert [row.recording for row in rows] == ["a", "c"]
    assert problems == [("b", problem, None)]


def test_memory_does_not_depend_on_what_a_file_claims(model):
    largest = 0

    def zeros(num_leads, start, num_samples):
        nonlocal largest
        largest = max(largest, num_leads * num_samples)
        return np.zeros((num_leads, num_samples), np.float32)

    def claim(name, rate, num_samples, num_leads):
        return Opened(
            name=name,
            lead_names=("",) * num_leads,
            sample_rate_hz=rate,
            num_samples=num_samples,
            unit_known=True,
            read=functools.partial(zeros, num_leads),
        ), None

    recordings = [
        claim("fast", 1e9, 10**11, 1),
        claim("endless", 500.0, 10**14, 1),
        claim("high", 20_000.0, 3 * 200_000, 64),
    ]
    rows, problems, _ = run(model, recordings, leads=["0"])
    assert problems == [("fast", "wrong_rate", None), ("endless", "too_long", None)]
    assert [row.num_windows for row in rows] == [3]
    assert largest == 64 * 200_000  # one window of all leads
