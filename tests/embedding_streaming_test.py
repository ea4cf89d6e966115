"""A stream gives what the complete signal gives, however it is cut into packets."""

import tracemalloc
import types

import jax
import numpy as np
import pytest
from culprits import refuses

from clef_jax import leads, mesh as mesh_lib
from clef_jax.answers.fitted import Fitted
from clef_jax.baselines.classical import Classical
from clef_jax.embedding import batch, encoder as encoder_lib, pretrained, streaming
from clef_jax.embedding.head import Head
from clef_jax.embedding.recipe import PaddedRecipe, Recipe
from clef_jax.errors import UserError
from clef_jax.simulation import simulated_ecg

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


@pytest.fixture(scope="module")
def model():
    return pretrained.Pretrained(encoder_lib.random("tiny", ONE, seed=0))


class Averager:
    """An encoder without a network: averages of the parts of a window, and where it has gaps."""

    name, mesh, costs, fingerprint = "averages", ONE, types.MappingProxyType({}), "averages"

    def __init__(self, recipe=None, in_channels=1):
        self.recipe, self.in_channels = recipe or Recipe(), in_channels
        self.num_encoded = 0
        width = 10 * in_channels
        self.layers = {"means": slice(0, width), "gaps": slice(width, 2 * width)}
        self.num_features = 2 * width

    def window_rate_hz(self, sample_rate_hz):
        return self.recipe.sample_rate_hz

    def __call__(self, signal_mv, sample_rate_hz):
        self.num_encoded += len(signal_mv)
        parts = signal_mv.astype(np.float64).reshape(len(signal_mv), 10 * self.in_channels, -1)
        gaps = ~np.isfinite(parts)
        means = np.where(gaps, 0, parts).mean(axis=2)
        return np.concatenate([means, gaps.mean(axis=2)], axis=1).astype(np.float32)


def averager(in_channels=1, **recipe):
    return pretrained.Pretrained(Averager(Recipe(**recipe), in_channels))


def beats(seconds, rate, seed=0, names=("I",)):
    count = round(seconds * rate)
    made = simulated_ecg.make(seed, names, sample_rate_hz=round(rate), num_samples=count)
    return made.astype(float)


def packets(signal, generator, longest):
    """Cuts a signal [..., T] into packets of 0 to `longest` samples."""
    start = 0
    while start < signal.shape[-1]:
        length = int(generator.integers(0, longest + 1))
        yield signal[..., start : start + length]
        start += length


def streamed(stream, parts):
    done = [window for part in parts for window in stream.push(part)]
    return [*done, *stream.finish()]


def assert_same(done, offline, atol=1e-5):
    assert [x.start_seconds for x in done] == offline.start_seconds.tolist()
    np.testing.assert_allclose([x.embedding for x in done], offline.features, atol=atol)
    assert [x.problems for x in done] == offline.quality.problems
    assert [x.usable for x in done] == offline.quality.usable.tolist()
    np.testing.assert_allclose(
        [x.missing_fraction for x in done], offline.quality.missing_fraction, atol=1e-12
    )


def with_gaps(signal, generator):
    """A flat stretch, a spike and gaps of any length, of which some cover whole windows."""
    total = signal.shape[-1]
    for _ in range(int(generator.integers(0, 4))):
        start, length = (int(generator.integers(0, total)) for _ in range(2))
        signal[..., start : start + length // 2] = generator.choice([np.nan, np.inf, 0.25])
    signal[..., int(generator.integers(0, total))] = 30.0
    return signal


@pytest.mark.parametrize("seed", range(40))
def test_any_split_of_any_signal_gives_the_windows_of_the_complete_signal(seed):
    generator = np.random.default_rng(seed)
    rate = float(generator.choice([50, 64, 99.7, 128, 130, 130.02, 250, 333.3, 500, 1000]))
    window_seconds = float(generator.choice([1, 2.5, 10]))
    in_channels = int(generator.choice([1, 1, 2]))
    stride = generator.choice([None, 1.0, 0.3, 0.97]) if window_seconds < 10 else None
    seconds = window_seconds * generator.uniform(0.3, 6) + 2
    names = ("I", "II")[:in_channels]
    signal = with_gaps(beats(seconds, rate, seed, names), generator)
    model = averager(in_channels, window_seconds=window_seconds)
    offline = model.windows(signal, rate, "all", stride_seconds=stride)
    longest = int(generator.choice([1, 7, 73, 2000, 10**6]))
    parts = packets(signal if in_channels > 1 else signal[0], generator, longest)
    assert_same(streamed(model.stream(rate, "all", stride_seconds=stride), parts), offline)


@pytest.mark.parametrize(
    ("rate", "seconds", "stride", "longest"),
    [(130, 34, 5.0, 73), (500, 21, None, 33), (128.5, 25, 3.3, 900), (60, 7, None, 20)],
)
def test_an_encoder_gives_the_embeddings_of_the_complete_signal(
    model, rate, seconds, stride, longest
):
    generator = np.random.default_rng(int(rate))
    signal = beats(seconds, rate)[0]
    signal[int(3 * rate) : int(4.5 * rate)] = np.nan
    for layer in (None, "stage_1"):
        offline = model.windows(signal, rate, layer, stride_seconds=stride)
        stream = model.stream(rate, layer, stride_seconds=stride)
        assert_same(streamed(stream, packets(signal, generator, longest)), offline)


def test_an_encoder_of_twelve_leads_takes_them_in_any_stated_order():
    model = averager(in_channels=12)
    signal = beats(25, 250, names=leads.STANDARD_12)
    offline = model.windows(signal, 250)
    assert_same(streamed(model.stream(250), [signal[:, :3000], signal[:, 3000:]]), offline)
    names = ["resp", *reversed(leads.STANDARD_12)]
    other = np.concatenate([np.ones((1, signal.shape[1])), signal[::-1]])
    assert_same(streamed(model.stream(250, lead_names=names), [other]), offline)
    with refuses("V6", problem="missing_lead"):
        model.stream(250, lead_names=names[:1] + names[2:])


@pytest.mark.parametrize(
    "seconds", [2, 3.1, 9.99, 10, 10.9, 11, 17], ids=lambda seconds: f"{seconds}s"
)
@pytest.mark.parametrize("recipe", [Recipe(), PaddedRecipe()], ids=["mirrored", "padded"])
def test_the_end_is_covered_as_that_of_a_complete_signal(seconds, recipe):
    model = pretrained.Pretrained(Averager(recipe))
    signal = beats(seconds, 100)[0]
    offline = model.windows(signal, 100, "all")
    stream = model.stream(100, "all")
    done = [x for part in np.array_split(signal, 9) for x in stream.push(part)]
    assert len(done) == int(seconds // 10)
    assert_same(done + stream.finish(), offline)


def test_a_window_is_returned_as_soon_as_its_last_sample_is_there():
    stream = averager().stream(130, stride_seconds=2)
    signal = beats(13, 130)[0]
    assert stream.push(signal[:1299]) == []
    assert [x.start_seconds for x in stream.push(signal[1299:1300])] == [0]
    assert stream.push(signal[1300:1559]) == []
    assert [x.start_seconds for x in stream.push(signal[1559:1560])] == [2]
    assert stream.push([]) == []
    assert stream.num_samples == 1560


@pytest.mark.parametrize("lost", [1, 130, 5000])
def test_lost_samples_are_a_gap(lost):
    model = averager()
    signal = beats(90, 130)[0]
    stream = model.stream(130, "all", stride_seconds=5)
    done = [*stream.push(signal[:3000]), *stream.skip(lost), *stream.skip(0)]
    done += stream.push(signal[3000 + lost :]) + stream.finish()
    signal[3000 : 3000 + lost] = np.nan
    assert_same(done, model.windows(signal, 130, "all", stride_seconds=5))


def test_a_long_gap_needs_no_encoder(model):
    stream, network = model.stream(130), averager()
    gap = stream.skip(130 * 60)
    empty = model.windows(np.full(1300, np.nan), 130)
    np.testing.assert_allclose([x.embedding for x in gap], [empty.features[0]] * 6, atol=1e-6)
    assert {x.problems for x in gap} == {("no_samples",)}
    counted = network.stream(130)
    before = network.embedder.num_encoded
    assert len(counted.skip(130 * 3600)) == 360
    assert network.embedder.num_encoded == before


def test_every_kind_of_packet_is_converted_as_by_embed(model):
    signal = beats(10, 130)[0]
    steps = np.rint(1000 * signal).astype(np.int16)
    steps[200:300] = -32768
    masked = np.ma.masked_array(steps, steps == -32768)
    gaps = np.where(steps == -32768, np.nan, steps)
    for parts, unit, whole in (
        ([steps], None, steps),
        ([steps.tolist()], None, steps),
        ([masked], None, steps),
        ([steps[:700], [], masked[700:]], "uV", steps),
        ([steps[:700], gaps[700:]], "uV", gaps),
        ([signal.astype(np.float32)[None]], None, signal),
        ([(signal / 1000).tolist()], "V", signal / 1000),
    ):
        stream = model.stream(130, unit=unit)
        done = [x for part in parts for x in stream.push(part)]
        want = model.embed(whole, 130, unit=unit)
        np.testing.assert_allclose(done[0].embedding, want, atol=1e-5)


def test_units_of_one_stream_do_not_change():
    model = averager()
    stream = model.stream(130)
    stream.push([0.1, 0.2])
    with refuses(problem="mixed_units"):
        stream.push([0, 0, 0])
    assert stream.num_samples == 2
    stream.push([])
    stated = model.stream(130, unit="mV")
    stated.push([0, 0, 0])
    stated.push([0.5])
    assert stated.num_samples == 4


def test_a_stream_in_adc_units_has_no_implausible_amplitude():
    signal = np.rint(1000 * beats(20, 130)[0]) + 30_000
    for unit, want in ((None, set()), ("uV", set()), ("mV", {"implausible_amplitude"})):
        stream = averager().stream(130, unit=unit)
        done = stream.push(signal.astype(int))
        assert {name for x in done for name in x.problems} == want


def timed(stream, signal, starts_seconds, length, offset=1000.0):
    """Pushes packets of `length` samples with their times; packets without a time are lost."""
    done = []
    for number, start in enumerate(starts_seconds):
        part = signal[number * length : (number + 1) * length]
        if start is not None:
            done += stream.push(part, offset + start)
    return done


def test_times_show_what_was_lost():
    model = averager()
    rate, length = 130, 73
    signal = beats(60, rate)[0]
    count = len(signal) // length
    generator = np.random.default_rng(0)
    starts = [n * length / rate + generator.uniform(-0.04, 0.04) for n in range(count)]
    lost = {5, 30, 31, 32, 70}
    stream = model.stream(rate, "all")
    done = timed(stream, signal, [None if n in lost else t for n, t in enumerate(starts)], 73)
    total = stream.num_samples
    assert abs(total - count * length) <= 8
    missing = sum(x.missing_fraction for x in done) * 1300
    assert abs(missing - len(lost) * length) <= 50
    for x in done:
        assert abs(x.time_seconds - (1000 + x.start_seconds)) < 0.06


@pytest.mark.parametrize("true_rate", [129.8, 130.2])
def test_a_recorder_whose_clock_drifts_loses_nothing(true_rate):
    stream = averager().stream(130)
    quiet = np.sin(np.arange(65) / 5)
    for number in range(3600):
        done = stream.push(quiet, number * 65 / true_rate)
    assert stream.num_samples == 3600 * 65
    assert done[-1].time_seconds == pytest.approx(3590 * 65 / true_rate, abs=10)
    stream.push(quiet, 3600 * 65 / true_rate + 2.0)
    assert stream.num_samples == pytest.approx(3601 * 65 + 260, abs=15)


def test_skipped_samples_and_times_agree():
    stream = averager().stream(130)
    stream.push(np.zeros(130), 5.0)
    stream.skip(130)
    stream.push(np.zeros(130), 7.0)
    assert stream.num_samples == 390


def test_times_that_cannot_be_are_refused_and_change_nothing():
    stream = averager().stream(130)
    stream.push(np.zeros(1300), 5.0)
    with refuses(problem="time_goes_back"):
        stream.push(np.zeros(130), 5.0)
    with refuses(problem="too_long"):
        stream.push(np.zeros(130), 1e18)
    with refuses(problem="not_finite"):
        stream.push(np.zeros(130), np.nan)
    with refuses("'noon'", problem="not_a_number"):
        stream.push(np.zeros(130), "noon")
    assert stream.num_samples == 1300
    stream.push(np.zeros(130), 15.05)
    assert stream.num_samples == 1430


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (np.zeros((2, 50)), "wrong_shape"),
        (np.zeros((50, 1)), "wrong_shape"),
        (np.zeros((1, 1, 50)), "wrong_shape"),
        (0.5, "wrong_shape"),
        (None, "not_a_number"),
        ("0.5", "not_a_number"),
        ([True, False], "not_a_number"),
        ([1j], "not_a_number"),
        ([0.5, None], "not_a_number"),
    ],
)
def test_what_is_no_packet_is_refused_and_changes_nothing(packet, problem):
    stream = averager().stream(130)
    stream.push([0.1])
    with refuses(problem=problem):
        stream.push(packet)
    assert stream.num_samples == 1


def test_a_ragged_packet_is_refused():
    with pytest.raises(UserError):
        averager(in_channels=2).stream(130).push([[0.5], [0.5, 0.5]])


@pytest.mark.parametrize("packet", [np.zeros(50), np.zeros((1, 50)), np.zeros((50, 2))])
def test_a_packet_without_all_leads_is_refused(packet):
    with refuses(problem="wrong_shape"):
        averager(in_channels=2).stream(130).push(packet)


@pytest.mark.parametrize("lost", [-1, 0.5, True, None, "3"])
def test_lost_samples_are_counted_in_whole_numbers(lost):
    with refuses(problem="not_a_number"):
        averager().stream(130).skip(lost)


def test_a_gap_of_years_is_refused():
    for lost in (130 * 86_400 * 401, 10**400):
        with refuses(problem="too_long"):
            averager().stream(130).skip(lost)


def test_a_finished_stream_takes_nothing_more():
    stream = averager().stream(130)
    stream.push(beats(3, 130)[0])
    assert [x.problems for x in stream.finish()] == [("short",)]
    for call in (lambda: stream.push([0.5]), lambda: stream.skip(1), stream.finish):
        with refuses(problem="finished"):
            call()


def test_a_stream_without_a_beat_has_no_end_but_goes_on():
    stream = averager().stream(130)
    stream.push(np.zeros(259))
    with refuses(problem="too_short"):
        stream.finish()
    stream.push(np.zeros(1))
    assert len(stream.finish()) == 1


@pytest.mark.parametrize(
    ("settings", "culprit", "problem"),
    [
        ({"sample_rate_hz": 49}, "49", "wrong_rate"),
        ({"sample_rate_hz": "fast"}, "'fast'", "not_a_number"),
        ({"sample_rate_hz": 130, "unit": "volts per second"}, "volts per second", None),
        ({"sample_rate_hz": 130, "stride_seconds": 11}, "11", None),
        ({"sample_rate_hz": 130, "layer": "stage_9"}, "stage_9", None),
        ({"sample_rate_hz": 130, "max_jitter_seconds": -1}, "-1", "wrong_jitter"),
        ({"sample_rate_hz": 130, "max_jitter_seconds": np.nan}, "nan", "wrong_jitter"),
    ],
)
def test_settings_that_make_no_stream_are_refused(settings, culprit, problem):
    with refuses(culprit, problem=problem):
        averager().stream(**settings)


def test_the_encoder_is_compiled_before_the_first_window(model, monkeypatch):
    seen = []
    encode = batch.encode
    monkeypatch.setattr(
        streaming.batch, "encode", lambda *given: seen.append(given[1].shape) or encode(*given)
    )
    model.stream(130)
    assert seen == [(1, 1, 5000)]


def test_a_day_needs_no_more_memory_than_a_window_and_a_packet():
    rate, seconds, window_seconds = 50, 86_400, 60.0
    model = averager(sample_rate_hz=float(rate), window_seconds=window_seconds)
    stream = model.stream(rate)
    packet = np.random.default_rng(0).standard_normal(rate * 60)
    stream.push(packet)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(seconds // 60 - 1):
            stream.push(packet)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream.num_samples == rate * seconds
    window_bytes = round(rate * window_seconds) * packet.itemsize
    assert after - before < window_bytes  # a day has 1,440 windows
    assert peak - before < 10 * (window_bytes + packet.nbytes)  # also what one window is made of


FITTED = Fitted(recordings=9, leads=("I",), sample_rate_hz=(130, 250)).to_json()


def head_of(width, kind="binary", **fields):
    generator = np.random.default_rng(0)
    is_number = kind == "regression"
    return Head(
        weight=generator.normal(size=(2, width)).astype(np.float32),
        bias=np.array([0.1, -0.2], np.float32),
        names=("a", "b"),
        layer="stage_2",
        kind=kind,
        centre=np.full(2, 60.0 * is_number),
        scale=np.full(2, 1.0 + is_number),
        threshold=None if is_number else np.array([0.5, 0.4]),
        prevalence=None if is_number else np.array([0.3, 0.1]),
        half_width=np.array([3.0, 4.0]) if is_number else None,
        coverage=0.9 if is_number else None,
        fitted=FITTED,
        **fields,
    )


HEADS = {
    "linear": lambda width: head_of(width, "multilabel"),
    "numbers": lambda width: head_of(width, "regression"),
    "rhythm and spectrum": lambda width: head_of(
        width + Classical(Recipe(), ONE).num_features,
        "multilabel",
        features=("embedding", "classical"),
    ),
    "attention": lambda width: head_of(
        width, "multilabel", query=np.random.default_rng(1).normal(size=(2, width))
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_model_with_a_head_answers_as_it_would_about_the_complete_signal(model, name):
    head = HEADS[name](model.layers["stage_2"])
    answering = pretrained.Pretrained(model.embedder, head)
    signal = beats(47, 130)[0]
    signal[130 * 12 : 130 * 14] = np.nan  # a lost packet
    signal[130 * 20 : 130 * 31] = np.nan  # a window and more
    prevalence = None if name == "numbers" else {"a": 0.02}
    stream = answering.stream(130, "stage_1", lead="V5", stride_seconds=5, prevalence=prevalence)
    done = [*stream.push(signal[: 130 * 20]), *stream.skip(130 * 11)]
    done += [*stream.push(signal[130 * 31 :]), *stream.finish()]
    with pytest.warns(UserWarning, match="no samples"):
        want = answering.predict(
            signal, 130, "V5", stride_seconds=5, each_window=True, prevalence=prevalence
        )
    assert [x.start_seconds for x in done] == want.start_seconds.tolist()
    assert [bool(x.answer.usable) for x in done] == want.usable.tolist() != [True] * len(done)
    assert [x.answer.problems for x in done] == want.problems
    assert all("unfitted_lead" in x.answer.problems for x in done)
    for field in ("probabilities", "decisions", "values", "lower", "upper"):
        given = [getattr(x.answer, field) for x in done]
        if getattr(want, field) is None:
            assert given == [None] * len(done)
        else:
            np.testing.assert_allclose(given, getattr(want, field), atol=1e-5, err_msg=field)
    same = ("thresholds", "prevalence", "coverage", "model_fingerprint", "head_fingerprint")
    for field in same:
        np.testing.assert_equal(getattr(done[0].answer, field), getattr(want, field))
    assert_same(done, model.windows(signal, 130, "stage_1", stride_seconds=5))


def test_a_prevalence_needs_a_head(model):
    with refuses(problem="no_head"):
        model.stream(130, prevalence=0.1)
    assert model.stream(130).push(beats(10, 130)[0])[0].answer is None
