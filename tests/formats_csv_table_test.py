"""Tables of text in the forms that people and devices write."""

import numpy as np
import pytest
from culprits import refuses

from clef_jax import formats
from clef_jax.finding import Defect
from clef_jax.formats import Hints, csv_table

SIGNAL = np.random.default_rng(0).normal(size=(2, 200)).round(4)
AT_500 = Hints(sample_rate_hz=500)


def opened(tmp_path, text, hints=None, name="x.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    (recording,) = formats.open(path, hints)
    assert csv_table.looks_like(path)
    return recording


def refusal(tmp_path, text, hints=None):
    with pytest.raises(Defect) as caught:
        opened(tmp_path, text, hints)
    assert caught.value.detail.endswith(".")
    return caught.value


def rows(separator, *columns, decimal="."):
    lines = zip(*columns, strict=True)
    texts = [separator.join(f"{value:g}" for value in line) for line in lines]
    return "\n".join(texts).replace(".", decimal) + "\n"


def exact(recording, signal=SIGNAL):
    got = recording.read(0, recording.num_samples)
    np.testing.assert_allclose(got, signal, rtol=1e-6)
    np.testing.assert_array_equal(recording.read(20, 30), got[:, 20:50])


@pytest.mark.parametrize(
    ("separator", "decimal"),
    [
        (",", "."),
        (", ", "."),
        (";", "."),
        (";", ","),
        ("\t", "."),
        ("\t", ","),
        (" ", "."),
        (" ", ","),
    ],
)
@pytest.mark.parametrize("heading", ["", "ii{0}AVR\n", "# device 7\n\nii{0}AVR\nmV{0}mV\n"])
def test_any_delimiter_and_decimal_sign_is_read(separator, decimal, heading, tmp_path):
    text = heading.format(separator) + rows(separator, *SIGNAL, decimal=decimal)
    recording = opened(tmp_path, text, AT_500)
    exact(recording)
    assert recording.lead_names == (("II", "aVR") if heading else ("", ""))
    assert recording.unit_known == ("mV" in heading)


def test_units_of_each_column_are_converted(tmp_path):
    text = "I (mV),V1(uV),ecg [V]\n" + rows(",", SIGNAL[0], SIGNAL[1], SIGNAL[1])
    recording = opened(tmp_path, text, AT_500)
    assert recording.lead_names == ("I", "V1", "ecg")
    exact(recording, [SIGNAL[0], SIGNAL[1] / 1000, SIGNAL[1] * 1000])


@pytest.mark.parametrize(
    ("name", "step", "rate"),
    [
        ("time", 0.004, 250),
        ("Time (ms)", 4, 250),
        ("time_ms", 8, 125),
        ("t", 1 / 360, 360),
        ("ms", 2, 500),
        ("sample", 1, None),
        ("time", 4, None),
    ],
)
def test_a_column_of_time_gives_the_rate(name, step, rate, tmp_path):
    text = f"{name},II\n" + rows(",", np.arange(200) * step, SIGNAL[0])
    if rate is None:
        assert refusal(tmp_path, text).problem == "no_rate"
        recording = opened(tmp_path, text, AT_500)
        assert recording.sample_rate_hz == 500
    else:
        recording = opened(tmp_path, text)
        assert recording.sample_rate_hz == rate
    assert recording.lead_names == ("II",)
    exact(recording, SIGNAL[:1])


@pytest.mark.parametrize(("step", "rate"), [(0.002, 500), (1, None)])
def test_a_first_column_that_rises_evenly_is_no_lead(step, rate, tmp_path):
    text = rows(",", np.arange(200) * step, *SIGNAL)
    if rate is None:
        assert refusal(tmp_path, text).problem == "no_rate"
    recording = opened(tmp_path, text, None if rate else AT_500)
    assert recording.sample_rate_hz == 500
    exact(recording)


def test_a_single_column_that_rises_is_a_lead(tmp_path):
    recording = opened(tmp_path, rows(",", np.arange(50.0)), AT_500)
    assert recording.read(0, 50).shape == (1, 50)


def test_times_with_gaps_are_noted_and_do_not_change_the_rate(tmp_path):
    times = np.arange(200) / 250
    times[100:] += 3600
    recording = opened(tmp_path, "time,II\n" + rows(",", times.round(3), SIGNAL[0]))
    assert recording.sample_rate_hz == 250
    assert [note.problem for note in recording.notes if "time" in note.problem] == ["uneven_time"]


def test_a_rate_that_contradicts_the_times_is_noted(tmp_path):
    text = "time,II (mV)\n" + rows(",", np.arange(200) / 250, SIGNAL[0])
    recording = opened(tmp_path, text, AT_500)
    assert recording.sample_rate_hz == 500
    assert [note.problem for note in recording.notes] == ["wrong_rate"]


def test_what_rdsamp_prints_is_read(tmp_path):
    lines = ["'Elapsed time','MLII','RESP'", "'hh:mm:ss.mmm','mV','pm'"]
    for i, value in enumerate(SIGNAL[0]):
        lines.append(f"'0:{i / 360:06.3f}',{value:.4f},{i}.5")
    recording = opened(tmp_path, "\n".join(lines))
    assert (recording.lead_names, recording.sample_rate_hz) == (("MLII",), 360)
    assert recording.unit_known
    assert [note.lead for note in recording.notes] == ["RESP"]
    exact(recording, SIGNAL[:1])


def test_what_a_watch_writes_is_read_and_its_owner_is_not_told(tmp_path):
    heading = (
        'Name,Jane Doe\nDate of Birth,"Jan 1, 1950"\nSample Rate,512 hertz\n'
        "Lead,Lead I\nUnit,µV\n\n"
    )
    recording = opened(tmp_path, heading + rows(",", SIGNAL[0]))
    assert (recording.lead_names, recording.sample_rate_hz) == (("I",), 512)
    assert recording.unit_known
    assert "Jane" not in repr(recording)
    exact(recording, SIGNAL[:1] / 1000)


@pytest.mark.parametrize("comment", ["# fs = 0.5 kHz", "# Sampling frequency (Hz): 500"])
def test_a_comment_may_say_the_rate(comment, tmp_path):
    recording = opened(tmp_path, f"{comment}\nII,V1\n" + rows(",", *SIGNAL))
    assert (recording.lead_names, recording.sample_rate_hz) == (("II", "V1"), 500)


def test_missing_values_are_nan(tmp_path):
    text = "I,II\n1,2\nNaN,3\n,4\n5,-\n6,inf\n"
    got = opened(tmp_path, text, AT_500).read(0, 5)
    nan = np.nan
    np.testing.assert_array_equal(got, [[1, nan, nan, 5, 6], [2, 3, 4, nan, nan]])


def test_columns_that_are_no_leads_are_left_out(tmp_path):
    numbers = rows(",", SIGNAL[0], SIGNAL[1], SIGNAL[1], SIGNAL[1])
    recording = opened(tmp_path, "II,ppg,label,I (mmHg)\n" + numbers, AT_500)
    assert recording.lead_names == ("II",)
    assert [n.problem for n in recording.notes].count("other_signal") == 3
    assert refusal(tmp_path, "ppg,resp\n" + rows(",", *SIGNAL), AT_500).problem == "no_ecg_lead"


def test_numbers_above_columns_without_names_are_no_sample(tmp_path):
    recording = opened(tmp_path, "0,1,2\n" + rows(",", *SIGNAL, SIGNAL[0]), AT_500)
    assert recording.lead_names == ("", "", "")
    exact(recording, [*SIGNAL, SIGNAL[0]])
    indexed = ",0,1,2\n" + rows(",", np.arange(200), *SIGNAL, SIGNAL[0])
    exact(opened(tmp_path, indexed, AT_500), [*SIGNAL, SIGNAL[0]])


def test_a_delimiter_at_the_end_of_lines_is_no_column(tmp_path):
    text = "".join(f"{a:g},{b:g},\n" for a, b in SIGNAL.T)
    exact(opened(tmp_path, text, AT_500))


def test_a_gain_turns_steps_into_millivolts(tmp_path):
    hints = Hints(sample_rate_hz=500, gain_per_mv=200, lead_names=("I", "II"))
    recording = opened(tmp_path, rows("\t", *(SIGNAL * 10000).round()), hints, "x.tsv")
    assert recording.lead_names == ("I", "II")
    exact(recording, (SIGNAL * 10000).round() / 200)


@pytest.mark.parametrize(
    "text",
    [
        "name,sex,age\na,male,7\nb,female,8\n",
        "idx,is_male,af\n0,True,False\n1,False,True\n",
        "Some words to read.\nAnd 2 more.\n",
        "\0\1\2\3",
        "# only a comment\n",
    ],
)
def test_other_texts_are_no_recordings(text, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    assert not csv_table.looks_like(tmp_path / "x.csv")
    with refuses(error=Defect, problem="unknown_format"):
        list(formats.open(tmp_path / "x.csv", AT_500))


def test_a_broken_line_is_told_without_quoting_it(tmp_path):
    text = rows(",", *SIGNAL) + "Jane,Doe\n" + rows(",", *SIGNAL)
    defect = refusal(tmp_path, text, AT_500)
    assert defect.problem == "unreadable"
    assert "Jane" not in defect.detail
    assert refusal(tmp_path, rows(",", *SIGNAL) + "1,2,3\n", AT_500).problem == "unreadable"


def test_times_that_do_not_rise_are_refused(tmp_path):
    text = "time,II\n" + rows(",", np.zeros(200), SIGNAL[0])
    assert refusal(tmp_path, text).problem == "wrong_rate"
