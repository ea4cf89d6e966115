"""Tests which columns of text tables are leads, and whether the rows are of one recording."""

import numpy as np
import pytest
from formats_csv_table_test import AT_500, SIGNAL, exact, opened, refusal, rows


@pytest.mark.parametrize(
    "heading",
    ["II (mV)\n", "time (s)   II (mV)\n", "time [s] II [mV]\n"],
)
def test_a_space_before_the_unit_of_a_column_separates_no_columns(heading, tmp_path):
    columns = [np.arange(200) / 500] * ("time" in heading)
    recording = opened(tmp_path, heading + rows(" ", *columns, SIGNAL[0]), AT_500)
    assert recording.lead_names == ("II",)
    assert recording.unit_known
    exact(recording, SIGNAL[:1])


@pytest.mark.parametrize("name", ["record_id", "ecg_id", "Patient ID", "subject", "age", "id"])
def test_rows_of_several_recordings_are_refused(name, tmp_path):
    owner = np.repeat([3, 7, 9, 12], 50)
    defect = refusal(tmp_path, f"{name},ecg_mv\n" + rows(",", owner, SIGNAL[0]), AT_500)
    assert defect.problem == "ambiguous_shape"
    assert "4 values" in defect.detail
    one = opened(tmp_path, f"{name},ecg_mv\n" + rows(",", owner * 0, SIGNAL[0]), AT_500)
    exact(one, SIGNAL[:1])


def test_an_id_may_count_the_rows(tmp_path):
    exact(opened(tmp_path, "id,ii\n" + rows(",", np.arange(200), SIGNAL[0]), AT_500), SIGNAL[:1])


def test_the_light_beside_a_pulse_sensor_is_no_lead(tmp_path):
    text = "ppg0,ambient\n" + rows(",", *SIGNAL)
    assert refusal(tmp_path, text, AT_500).problem == "no_ecg_lead"


@pytest.mark.parametrize("name", ["lead", "channel", "Channel No"])
def test_rows_of_several_leads_are_refused(name, tmp_path):
    owner = np.repeat([1, 2], 100)
    text = f"{name},sample,mv\n" + rows(",", owner, np.tile(np.arange(100), 2), SIGNAL[0])
    defect = refusal(tmp_path, text, AT_500)
    assert defect.problem == "ambiguous_shape"
    assert "several leads" in defect.detail
    text = f"{name},n,label\n" + rows(",", SIGNAL[0], np.arange(200), np.zeros(200))
    exact(opened(tmp_path, text, AT_500), SIGNAL[:1])


def test_a_stated_rate_that_contradicts_the_times_is_noted(tmp_path):
    text = "# sampling rate: 500 Hz\ntime (s),II (mV)\n" + rows(
        ",", np.arange(200) / 100, SIGNAL[0]
    )
    recording = opened(tmp_path, text)
    assert recording.sample_rate_hz == 500
    (note,) = recording.notes
    assert note.problem == "wrong_rate"
    assert "100 Hz" in note.detail
    assert not opened(tmp_path, text.replace("500", "100")).notes
