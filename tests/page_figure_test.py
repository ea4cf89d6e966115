"""Charts of training pages show what was logged."""

import numpy as np
from culprits import assert_names

from clef_jax.page import figure, maps


def test_curves_plot_what_was_measured_and_its_running_mean():
    np.testing.assert_allclose(figure.running_mean(np.arange(1.0, 6), 2), [1, 1.5, 2.5, 3.5, 4.5])
    lines = [{"step": i, "loss": float(i)} for i in range(1, 6)] + [{"step": 6, "loss": None}]
    (drawn,) = figure.curves({"run": lines}, ["loss"], smooth_lines=2)
    assert drawn.count('class="line') == 2
    assert_names(drawn, "from 1 at", "to 4.5 at")


def test_every_scalar_has_a_panel_even_without_values():
    shown = figure.curves({"run": [{"step": 1, "a": 1.0}]}, ["a", "b"])
    assert_names(shown[0], 'class="mark', "1 at step")
    assert_names(shown[1], ">not measured<")


def test_several_runs_have_a_line_each():
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    (drawn,) = figure.curves({"a": lines, "b": lines, "c": []}, ["loss"], smooth_lines=10)
    assert drawn.count('class="line') == 2
    assert_names(drawn, "series-0", "series-1", "c: not measured")


def test_recordings_have_a_chart_per_patient_and_view():
    raw_mv = np.random.default_rng(0).normal(size=(2, 1000))
    raw_mv[1, 300:400] = np.nan
    shown = figure.before_and_after(raw_mv, {"view": raw_mv}, ["I", "aVR"], 500.0)
    assert len(shown) == 4
    assert_names(shown[2], "lead aVR", "2 s of signal")
    assert shown[2].count('class="line trace"') == 1


def test_map_shows_every_patient_and_marks_unknown_risk():
    embedding = np.random.default_rng(0).normal(size=(30, 8))
    risk = np.linspace(0, 0.3, 30)
    risk[:4] = np.nan
    drawn = figure.embedding_map(embedding, risk)
    assert drawn.partition("<ul")[0].count("h0") == 30
    assert_names(drawn, ">unknown<", "26 are known")
    assert "scale-4" in drawn


def test_main_axes_are_the_principal_components():
    values = np.random.default_rng(0).normal(size=(40, 3)) * [3, 2, 0.1]
    position, fraction = maps.main_axes(values)
    assert position.shape == (40, 2)
    assert 0.9 < fraction.sum() <= 1
    assert abs(np.corrcoef(position[:, 0], values[:, 0])[0, 1]) > 0.9
