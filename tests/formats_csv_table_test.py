"""Tests text tables in the layouts that people and devices write."""

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
    np.testing.assert_array_equal(recording.read(9, 20), got[:, 9:29])


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


@pytest.mark.parametrize(("rate", "digits"), [(2000, 3), (1000, 3), (360, 3), (500, 2)])
def test_times_with_few_digits_are_even(rate, digits, tmp_path):
    times = (np.arange(200) / rate).round(digits)
    recording = opened(tmp_path, "time,II (mV)\n" + rows(",", times, SIGNAL[0]))
    assert recording.sample_rate_hz == pytest.approx(rate, rel=0.02)
    assert recording.notes == ()


@pytest.mark.parametrize("unit", [1, 0.004])
def test_times_or_numbers_without_a_name_may_have_gaps(unit, tmp_path):
    times = np.arange(200) * unit
    times[100:] += 100
    recording = opened(tmp_path, rows(",", times, SIGNAL[0]), Hints(sample_rate_hz=250, units="mV"))
    assert [note.problem for note in recording.notes] == ["uneven_time", "unnamed_lead"]
    exact(recording, SIGNAL[:1])


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


BEATS = np.exp(-(((np.arange(1200) % 80 - 30) / 4) ** 2)) + 0.1 * np.sin(np.arange(1200) / 7)
TWELVE = np.stack([BEATS * (1 + k / 10) for k in range(12)]).round(4)
AT_100 = Hints(sample_rate_hz=100)


def lines(separator, table):
    return "\n".join(separator.join(f"{value:.4f}" for value in row) for row in table) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("length", [30, 60, 1200])
def test_a_lead_in_each_row_is_read_as_a_lead(separator, length, tmp_path):
    table = TWELVE[: max(length // 100, 2), :length]
    hints = Hints(sample_rate_hz=10, units="mV")
    exact(opened(tmp_path, lines(separator, table), hints), table)
    numbered = "\n".join(
        f"{i}{separator}{line}" for i, line in enumerate(lines(separator, table).split("\n")[:-1])
    )
    exact(opened(tmp_path, numbered + "\n", hints), table)


def test_rows_of_leads_may_be_longer_than_what_is_read_to_find_the_layout(tmp_path):
    table = np.tile(TWELVE, 15)
    exact(opened(tmp_path, lines(",", table), AT_100), table)


def test_a_row_of_times_above_rows_of_leads_gives_the_rate(tmp_path):
    table = np.vstack([np.arange(1200) / 250, TWELVE])
    recording = opened(tmp_path, "\n".join(",".join(f"{v:.4f}" for v in row) for row in table))
    assert recording.sample_rate_hz == 250
    exact(recording, TWELVE)


@pytest.mark.parametrize(
    ("table", "rate"),
    [
        (np.tile(BEATS[:188], (40, 1)), 125),  # more rows than leads
        (np.tile(BEATS[:188], (12, 1)), 125),  # shorter than two seconds
        (np.tile(BEATS[:187], (2000, 1)), 125),
        (np.tile(BEATS[:50], (2000, 1)), 125),
        (np.tile(BEATS[:30], (20, 1)), 10),
        (np.hstack([TWELVE, np.full((12, 1), 3)]), 100),  # a class in the last column
        (np.hstack([np.arange(12, 24)[:, None], TWELVE]), 100),  # an identifier in the first
        (TWELVE[:, :20], 10),
    ],
)
def test_beats_and_tables_without_a_clear_axis_of_time_are_refused(table, rate, tmp_path):
    defect = refusal(tmp_path, lines(",", table), Hints(sample_rate_hz=rate))
    assert defect.problem == "ambiguous_shape"


def test_named_leads_tell_whether_they_are_rows_or_columns(tmp_path):
    names = tuple(f"V{i}" for i in range(1, 21))
    table = np.tile(BEATS[:150], (20, 1)) * np.arange(1, 21)[:, None]
    hints = Hints(sample_rate_hz=125, lead_names=names)
    for text in (lines(",", table), lines(",", table.T)):
        recording = opened(tmp_path, text, hints)
        assert recording.lead_names[:2] == ("V1", "V2")
        exact(recording, table.round(4))


@pytest.mark.parametrize("heading", ["Zeit;I;II\ns;mV;mV", "Zeitpunkt [s];I (mV);II (mV)"])
def test_a_column_of_time_is_known_by_its_unit_or_in_another_language(heading, tmp_path):
    times = np.arange(200) / 250
    text = f"{heading}\n" + rows(";", times, *SIGNAL, decimal=",")
    recording = opened(tmp_path, text)
    assert (recording.sample_rate_hz, recording.lead_names) == (250, ("I", "II"))
    exact(recording)


def test_a_counter_and_bits_beside_the_signal_are_no_leads(tmp_path):
    adc = (SIGNAL * 1000).round() + 512
    count = np.arange(200) % 16
    facts = (
        '# {"00:07:80": {"sensor": ["ECG", "EDA"], "sampling rate": 1000, "label": ["A1", "A3"], '
        '"column": ["nSeq", "I1", "A1", "A3"]}}\n# EndOfHeader\n'
    )
    numbers = rows("\t", count, count % 2, adc[0], adc[1])
    recording = opened(tmp_path, facts + numbers, name="x.txt")
    assert (recording.lead_names, recording.sample_rate_hz) == (("ECG",), 1000)
    assert not recording.unit_known
    exact(recording, adc[:1])
    ending = facts.replace("EDA", "RAW").replace("ECG", "RAW") + numbers.replace("\n", "\t\n")
    exact(opened(tmp_path, ending, name="x.txt"), adc)  # each line ends with a delimiter
    exact(opened(tmp_path, rows("\t", count, *adc), AT_500), adc)  # without names


def test_what_is_known_to_be_no_signal_is_left_out(tmp_path):
    text = "patient_id,age,value,label\n" + rows(
        ",", *np.full((2, 200), 7), SIGNAL[0], count_of_1()
    )
    recording = opened(tmp_path, text, AT_500)
    assert recording.lead_names == ("value",)
    (tmp_path / "labels.csv").write_text("record_id,label\n1,0\n2,1\n")
    assert not csv_table.looks_like(tmp_path / "labels.csv")


def count_of_1():
    return np.arange(200) % 2


def test_a_broken_line_is_told_without_quoting_it(tmp_path):
    text = rows(",", *SIGNAL) + "Jane,Doe\n" + rows(",", *SIGNAL)
    defect = refusal(tmp_path, text, AT_500)
    assert defect.problem == "unreadable"
    assert "Jane" not in defect.detail
    assert refusal(tmp_path, rows(",", *SIGNAL) + "1,2,3\n", AT_500).problem == "unreadable"


def test_times_that_do_not_rise_are_refused(tmp_path):
    text = "time,II\n" + rows(",", np.zeros(200), SIGNAL[0])
    assert refusal(tmp_path, text).problem == "wrong_rate"
