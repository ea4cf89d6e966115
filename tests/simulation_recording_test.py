"""Recordings fulfil the leads' identities and contain the intended beats and waves."""

import dataclasses

import numpy as np
import pytest
from scipy.signal import butter, find_peaks, sosfiltfilt

from clef_jax.simulation import dipole, heart, patient, recording, rhythm, visit
from clef_jax.simulation.heart import Heart

SECONDS = recording.NUM_SAMPLES / recording.SAMPLE_RATE_HZ
HZ = recording.SAMPLE_RATE_HZ

STEADY = Heart(
    heart_rate_bpm=70.0,
    respiratory_variability=0.01,
    slow_variability=0.01,
    respiration_hz=0.25,
    fibrillating=False,
    ventricular_ectopy=0.0,
    atrial_ectopy=0.0,
    pr_ms=160.0,
    p_duration_ms=105.0,
    p_amplitude=1.0,
    conduction="normal",
    qrs_ms=92.0,
    qt_ms=390.0,
    axis_degrees=50.0,
    voltage=1.0,
    t_amplitude=1.0,
    t_angle_degrees=0.0,
    st_level_mv=0.0,
    scar="none",
    ectopic_azimuth_degrees=120.0,
)


def record(change=None, number=0, seed=5):
    """A recording of a given heart in some patient's chest."""
    beating = dataclasses.replace(STEADY, **(change or {}))
    person = patient.sample(seed, number)
    study = visit.sample(seed, person, 2.2)[0]
    return recording.record(seed, person, study, beating)


def lead(adc, name):
    return adc[recording.LEADS.index(name)].astype(float) / recording.GAIN_PER_MV


def clean_beat(change=None):
    """[8, samples] of one beat without any disturbance, from 0.4 s before its QRS complex."""
    beats = rhythm.Rhythm(
        onset_seconds=np.array([5.0]),
        origin=np.array([rhythm.SINUS]),
        rr_seconds=np.array([60.0 / 70.0]),
        respiration_phase=0.0,
    )
    beating = dataclasses.replace(STEADY, **(change or {}))
    signal_mv = recording.heart_potential(beating, beats, dipole.DOWER)
    return dict(zip(dipole.PROJECTED, signal_mv[:, 2300:2800], strict=True))


def r_peaks(adc):
    """Begins of the QRS complexes as an independent detector finds them."""
    sos = butter(2, [8.0, 30.0], "bandpass", fs=HZ, output="sos")
    steep = np.sqrt(
        sum(np.gradient(sosfiltfilt(sos, lead(adc, n))) ** 2 for n in ("I", "II", "V2"))
    )
    energy = np.convolve(steep, np.ones(40) / 40, "same")
    peaks, _ = find_peaks(energy, height=0.4 * np.percentile(energy, 98), distance=int(0.25 * HZ))
    return peaks


def test_einthoven_and_goldberger_hold_to_rounding():
    for number in range(6):
        adc = record(number=number, change={"fibrillating": number % 2 == 1}).adc.astype(int)
        one, two, three, avr, avf, avl = adc[:6]
        np.testing.assert_array_equal(three, two - one)
        assert np.abs(2 * avr + one + two).max() <= 1
        assert np.abs(2 * avf - two - three).max() <= 1
        assert np.abs(2 * avl - one + three).max() <= 1


def test_shape_and_amplitudes_are_those_of_an_ecg():
    adc = record().adc
    assert adc.dtype == np.int16
    assert adc.shape == (12, 5000)
    assert np.all(np.ptp(adc, axis=1) > 0.15 * recording.GAIN_PER_MV)
    assert np.all(np.abs(adc.astype(int)) < 5 * recording.GAIN_PER_MV)


@pytest.mark.parametrize("rate_bpm", [50.0, 75.0, 110.0, 150.0])
def test_heart_rate_in_the_signal_is_the_parameter(rate_bpm):
    change = {"heart_rate_bpm": rate_bpm, "qt_ms": 400.0 * (60.0 / rate_bpm) ** (1 / 3)}
    if rate_bpm > 100:
        change["pr_ms"] = 130.0
    made = record(change)
    found = 60.0 * HZ / np.diff(r_peaks(made.adc)).mean()
    assert found == pytest.approx(rate_bpm, rel=0.03)
    assert len(r_peaks(made.adc)) == pytest.approx(made.rhythm.inside(SECONDS).sum(), abs=1)


def test_respiratory_variability_is_seen_in_the_intervals():
    calm = np.diff(r_peaks(record({"respiratory_variability": 0.005}).adc)).std()
    swinging = np.diff(r_peaks(record({"respiratory_variability": 0.1}).adc)).std()
    assert swinging > 3 * calm


def test_fibrillation_is_irregular():
    def spread(fibrillating):
        rr = [np.diff(r_peaks(record({"fibrillating": fibrillating}, n).adc)) for n in range(8)]
        return np.median([intervals.std() / intervals.mean() for intervals in rr])

    assert spread(False) < 0.05
    assert spread(True) > 0.12


def test_fibrillation_has_no_p_wave():
    # The average beat: f waves are not locked to the QRS complex and cancel.
    def average_p_mv(change):
        beats = []
        for number in range(12):
            made = record(change, number)
            for onset in made.rhythm.onset_seconds[made.rhythm.inside(SECONDS)]:
                first = int((onset - 0.2) * HZ)
                if first >= 0 and onset > 0.6:
                    span = lead(made.adc, "II")[first : first + 95]
                    beats.append(span - np.linspace(span[0], span[-1], 95))
        return np.mean(beats, axis=0)

    slow = {"heart_rate_bpm": 55.0, "qt_ms": 380.0}
    p_mv = np.max(average_p_mv(slow))
    no_p_mv = np.max(average_p_mv({**slow, "fibrillating": True}))
    assert 0.06 < p_mv < 0.25
    assert no_p_mv < 0.3 * p_mv


def test_waves_have_a_cardiologists_proportions():
    beat = clean_beat()
    onset = 200  # of the QRS complex
    p, qrs, t = slice(100, 195), slice(onset, onset + 50), slice(onset + 90, onset + 200)
    for name in ("I", "II", "V4", "V5", "V6"):
        r_mv = beat[name][qrs].max()
        assert r_mv > 0.4, name
        assert 0.1 * r_mv < beat[name][t].max() < 0.7 * r_mv, name
    assert 0.08 < beat["II"][p].max() < 0.25
    assert beat["II"][p].max() < beat["II"][t].max()
    average_r = -(beat["I"] + beat["II"]) / 2
    assert average_r[qrs].min() < -0.5
    assert average_r[t].max() < 0.05
    # R grows from V1 to V4 and falls again, S is deepest in V2 or V3.
    r = [beat[f"V{n}"][qrs].max() for n in range(1, 7)]
    assert r[0] < r[1] < r[2] < r[3]
    assert r[5] < max(r[3], r[4])
    s = [beat[f"V{n}"][qrs].min() for n in range(1, 7)]
    assert int(np.argmin(s)) in (1, 2)
    assert s[5] > -0.3
    ratio = [high / -low for high, low in zip(r, s, strict=True)]
    assert ratio[0] < 1 < ratio[4]


@pytest.mark.parametrize("axis_degrees", [-60.0, -20.0, 20.0, 60.0, 100.0])
def test_electrical_axis_in_the_limb_leads_is_the_parameter(axis_degrees):
    beat = clean_beat({"axis_degrees": axis_degrees})
    qrs = slice(200, 250)
    one, two = beat["I"][qrs].sum(), beat["II"][qrs].sum()
    found = np.rad2deg(np.arctan2((2 * two - one) / np.sqrt(3), one))
    assert found == pytest.approx(axis_degrees, abs=4)


@pytest.mark.parametrize("qt_ms", [350.0, 400.0, 460.0])
def test_t_wave_ends_at_qt(qt_ms):
    beat = clean_beat({"qt_ms": qt_ms})["V4"]
    after = np.arange(len(beat)) - 200
    t_wave = np.where(after > 60, beat, 0.0)
    # The tangent of the steepest descent meets the baseline: the clinical end of T.
    steepest = int(np.argmin(np.gradient(t_wave[: 200 + 300])[262:])) + 262
    end = steepest - t_wave[steepest] / np.gradient(t_wave)[steepest]
    assert (end - 200) * 1000 / HZ == pytest.approx(qt_ms, abs=15)


@pytest.mark.parametrize("pr_ms", [130.0, 180.0, 240.0])
def test_p_wave_begins_at_pr(pr_ms):
    beat = clean_beat({"pr_ms": pr_ms})["II"]
    begin = int(np.argmax(beat > 0.1 * beat[:195].max()))
    assert (200 - begin) * 1000 / HZ == pytest.approx(pr_ms, abs=15)


def test_wide_complexes_and_their_blocks():
    def duration_ms(beat):
        speed = np.sqrt(sum(np.gradient(x) ** 2 for x in beat.values()))[190:320]
        moving = np.flatnonzero(speed > 0.08 * speed.max())
        return (moving[-1] - moving[0]) * 1000 / HZ

    narrow = clean_beat()
    right = clean_beat({"conduction": "right_block", "qrs_ms": 142.0})
    left = clean_beat({"conduction": "left_block", "qrs_ms": 150.0})
    assert 75 < duration_ms(narrow) < 110
    assert duration_ms(right) > 115
    assert duration_ms(left) > 115
    late = slice(200 + 48, 200 + 80)
    assert right["V1"][late].max() > 0.3  # R'
    assert right["V6"][late].min() < -0.1  # slurred S
    assert left["V1"][200:280].max() < 0.1 < 0.5 < left["V6"][200:280].max()
    assert left["V6"][300:400].min() < -0.05  # discordant T


def test_scars_show_where_they_are():
    usual = clean_beat()
    inferior, anterior = clean_beat({"scar": "inferior"}), clean_beat({"scar": "anterior"})
    septal = slice(200, 215)
    assert inferior["II"][septal].min() < -0.25 < usual["II"][septal].min()
    assert usual["V2"][septal].max() > 0.2 > anterior["V2"][septal].max()


def test_ventricular_beats_are_early_wide_and_followed_by_a_pause():
    made = [record({"ventricular_ectopy": 0.15}, number) for number in range(20)]
    early, pause = [], []
    for item in made:
        beats = item.rhythm
        for n in np.flatnonzero(beats.origin == rhythm.VENTRICULAR):
            if 0 < n < len(beats.origin) - 1:
                early.append(beats.rr_seconds[n])
                pause.append(beats.rr_seconds[n] + beats.rr_seconds[n + 1])
    assert len(early) > 10
    mean_rr = STEADY.mean_rr_seconds
    assert np.max(early) < 0.8 * mean_rr
    np.testing.assert_allclose(pause, 2 * mean_rr, rtol=0.06)  # fully compensatory


def test_recordings_of_one_patient_differ_but_the_chest_stays():
    person = patient.sample(1, 4)
    studies = visit.sample(1, person, 10.0)
    hearts = [heart.sample(1, person, study) for study in studies[:2]]
    first, second = (
        recording.record(1, person, study, beating)
        for study, beating in zip(studies, hearts, strict=False)
    )
    assert hearts[0].conduction == hearts[1].conduction
    assert not np.array_equal(first.adc, second.adc)
