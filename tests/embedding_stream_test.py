"""Recordings stream through the encoder in order, whatever their form, and bad ones are told."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from clef_jax import leads, mesh as mesh_lib
from clef_jax.embedding import encoder as encoder_lib, pretrained
from clef_jax.embedding.recipe import Recipe
from clef_jax.embedding.stream import Stream
from clef_jax.errors import UserError
from clef_jax.finding import Defect
from clef_jax.formats import Opened
from clef_jax.models import create_encoder
from clef_jax.simulation import strip

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def model():
    return pretrained.Pretrained(encoder_lib.random("tiny", ONE, seed=0))


def opened(name, seconds=10.0, rate=500, names=("I", "II"), fail_at=None, seed=0):
    length = round(seconds * rate)
    signal = strip.make(seed, names, sample_rate_hz=rate, num_samples=length).astype(np.float32)

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
    told = []
    part = model.part(options.pop("layer", None))
    stream = Stream(model.embedder, part, told.append, **options)
    rows = list(stream(iter([one for one, _ in recordings])))
    return rows, [(one.record_id, one.problem, one.lead) for one in told], stream


def test_rows_are_what_embedding_one_by_one_gives(model):
    recordings = [
        opened("a", seed=1),
        opened("b", seconds=47, rate=360, names=("V1",), seed=2),
        opened("c", seconds=3, rate=100, seed=3),
        opened("d", seconds=700, rate=100, names=("II",), seed=4),  # several pieces
    ]
    rows, told, stream = run(model, recordings)
    assert [(row.recording, row.lead) for row in rows] == [
        ("a", "I"),
        ("a", "II"),
        ("b", "V1"),
        ("c", "I"),
        ("c", "II"),
        ("d", "II"),
    ]
    assert [row.num_windows for row in rows] == [1, 1, 5, 1, 1, 70]
    assert not told
    assert stream.num_windows == 79
    want = [row for one, signal in recordings for row in model.embed(signal, one.sample_rate_hz)]
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


def test_a_broken_recording_is_told_and_the_rest_goes_on(model):
    recordings = [opened("a"), opened("b", seconds=900, rate=100, fail_at=500), opened("c")]
    rows, told, _ = run(model, recordings, leads=["I"])
    assert [row.recording for row in rows] == ["a", "c"]
    assert ("b", "unreadable", None) in told
    assert len(told) == 1


def test_a_missing_lead_is_told_and_a_stand_in_is_used(model):
    one, signal = opened("b", names=("II", "V5"))
    modified = dataclasses.replace(one, lead_names=("MLII", "V5"))
    recordings = [opened("a", names=("V1",)), (modified, signal)]
    rows, told, _ = run(model, recordings, leads=["II"])
    assert [(row.recording, row.lead) for row in rows] == [("b", "MLII")]
    assert told == [("a", "missing_lead", "II"), ("b", "other_lead", "MLII")]


def test_a_rate_that_makes_no_sense_is_told(model):
    one, signal = opened("a", seconds=100, rate=1)
    rows, told, _ = run(model, [(one, signal)])
    assert (rows, told) == ([], [("a", "wrong_rate", None)])


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
    rows, told, _ = run(many, [(one, signal), opened("b")])
    assert [(row.recording, row.lead) for row in rows] == [("a", "12 leads")]
    assert told == [("b", "missing_lead", "III")]
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
