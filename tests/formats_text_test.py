"""Tests how text tables are understood: encodings, quotes, clocks and stated rates."""

import time

import numpy as np
import pytest
from culprits import refuses
from formats_csv_table_test import AT_500, SIGNAL, exact, opened, rows

from clef_jax import formats
from clef_jax.finding import Defect


def test_commas_that_may_separate_thousands_are_not_taken_for_decimal_signs(tmp_path):
    text = '"I","II"\n' + "".join(f'"{1000 + i:,}","{2000 - i:,}"\n' for i in range(200))
    (tmp_path / "x.csv").write_text(text)
    with refuses(error=Defect, problem="unknown_format"):
        list(formats.open(tmp_path / "x.csv", AT_500))


@pytest.mark.parametrize(
    "heading",
    [
        "(" * 60_000 + "x",
        "# " + "[" * 60_000,
        "1" * 60_000 + "x",
        "fs" + " " * 60_000,
        "a_" * 30_000,
    ],
)
def test_long_lines_above_a_table_take_no_long_time(heading, tmp_path):
    start = time.process_time()
    exact(opened(tmp_path, f"{heading}\n" + rows(",", *SIGNAL), AT_500))
    assert time.process_time() - start < 5


def test_a_comment_may_name_the_columns(tmp_path):
    np.savetxt(tmp_path / "x.csv", SIGNAL.T, delimiter=",", header="V1 (uV),aVR (mV)")
    (recording,) = formats.open(tmp_path / "x.csv", AT_500)
    assert (recording.lead_names, recording.unit_known) == (("V1", "aVR"), True)
    exact(recording, SIGNAL * [[0.001], [1]])


def test_a_first_line_of_integers_does_not_settle_the_decimal_sign(tmp_path):
    signal = SIGNAL.copy()
    signal[:, 0] = 0, 1
    exact(opened(tmp_path, "I;II\n" + rows(";", *signal, decimal=","), AT_500), signal)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_micro_sign_is_understood_in_any_encoding(encoding, tmp_path):
    text = "I (µV);II [µV]\n" + rows(";", *SIGNAL)
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    (recording,) = formats.open(tmp_path / "x.csv", AT_500)
    assert recording.unit_known
    exact(recording, SIGNAL / 1000)


def test_quoted_numbers_with_decimal_commas_are_read_between_commas(tmp_path):
    fields = [[f'"{value:.4f}"'.replace(".", ",") for value in lead] for lead in SIGNAL]
    text = '"I","II"\n' + "\n".join(map(",".join, zip(*fields, strict=True)))
    exact(opened(tmp_path, text, AT_500))


@pytest.mark.parametrize(
    "clock",
    [
        "2026-03-01T23:59:{:09.6f}+01:00",
        "2026-03-01 23:59:{:09.6f}Z",
        "2026-03-01 23:59:{:09.6f}-0530",
        "01.03.2026 23:59:{:09.6f}",
        "11:59:{:09.6f} PM",
    ],
)
def test_clocks_with_zones_dates_and_halves_of_the_day_give_the_rate(clock, tmp_path):
    texts = [clock.format(i / 250) for i in range(200)]
    text = "timestamp,II (mV)\n"
    text += "\n".join(f"{t},{value:.4f}" for t, value in zip(texts, SIGNAL[0], strict=True))
    recording = opened(tmp_path, text)
    assert (recording.sample_rate_hz, recording.notes) == (250, ())
    exact(recording, SIGNAL[:1])


def test_a_day_between_two_dates_is_a_jump_and_midnight_is_none(tmp_path):
    def text(*clocks):
        return "time,II (mV)\n" + "".join(f"{clock},0.{i}\n" for i, clock in enumerate(clocks))

    hours = [f"{hour:02d}:00:00" for hour in (22, 23, 0, 1, 2)]
    assert opened(tmp_path, text(*hours)).notes == ()
    days = [f"2026-03-01 00:00:0{i}" for i in range(4)] + ["2026-03-02 00:00:04"]
    assert [n.problem for n in opened(tmp_path, text(*days)).notes] == ["uneven_time"]


@pytest.mark.parametrize(
    ("name", "start", "step"),
    [
        ("time_ns", 0, 4_000_000),
        ("sensor timestamp [ns]", 599_616_000_000_000_000, 4_000_000),
        ("timestamp", 1_709_287_200_000, 4),
        ("timestamp", 1_709_287_200_000_000_000, 4_000_000),
    ],
)
def test_times_in_nanoseconds_or_since_1970_give_the_rate(name, start, step, tmp_path):
    numbers = zip(range(start, start + 200 * step, step), SIGNAL[0], strict=True)
    text = f"{name},II\n" + "".join(f"{time},{value:.4f}\n" for time, value in numbers)
    recording = opened(tmp_path, text)
    assert recording.sample_rate_hz == 250
    exact(recording, SIGNAL[:1])


@pytest.mark.parametrize(
    ("stated", "rate"),
    [("1,000 Hz", 1000), ("250,000", 250), ("0,5 kHz", 500), ("500.0 Hz", 500)],
)
def test_a_stated_rate_may_have_a_comma(stated, rate, tmp_path):
    text = f"Sampling rate: {stated}\nI\tII\n" + rows("\t", *SIGNAL)
    assert opened(tmp_path, text).sample_rate_hz == rate


@pytest.mark.parametrize("stated", ["1e400 Hz", "250-500 Hz", "5e+2 Hz"])
def test_the_beginning_of_another_number_is_no_rate(stated, tmp_path):
    with pytest.raises(Defect) as caught:
        opened(tmp_path, f"Sampling rate: {stated}\nI\tII\n" + rows("\t", *SIGNAL), None)
    assert caught.value.problem == "no_rate"
