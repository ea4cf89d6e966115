import base64

import numpy as np
import pytest

from clef_jax.page import figure


def drawn(panel):
    return [line.get_xydata() for line in panel.get_lines()]


def test_figures_are_pngs_that_a_page_can_hold():
    uri = figure.as_data_uri(figure.curves([{"step": 1, "loss": 2.0}], ["loss"]))
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_curves_draw_what_was_measured_and_its_running_mean():
    lines = [{"step": i, "loss": float(i)} for i in range(1, 6)] + [{"step": 6, "loss": None}]
    (panel,) = [a for a in figure.curves(lines, ["loss"], smooth_lines=2).axes if a.axison]
    measured, smooth = drawn(panel)
    np.testing.assert_array_equal(measured[:, 1], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(smooth[:, 1], [1, 1.5, 2.5, 3.5, 4.5])


def test_every_scalar_has_a_panel_even_without_values():
    shown = figure.curves([{"step": 1, "a": 1.0}], ["a", "b", "c", "d"])
    assert [panel.get_title() for panel in shown.axes if panel.axison] == ["a", "b", "c", "d"]


def test_recordings_have_a_row_per_patient_and_seconds_below():
    raw_mv = np.random.default_rng(0).normal(size=(2, 1000))
    shown = figure.before_and_after(raw_mv, {"view": raw_mv}, ["I", "aVR"], 500.0)
    assert len(shown.axes) == 4
    (line,) = drawn(shown.axes[0])
    assert line[-1, 0] == pytest.approx(999 / 500)
    assert shown.axes[2].get_ylabel() == "lead aVR"


def test_map_shows_every_patient_and_tells_unknown_risk_apart():
    embedding = np.random.default_rng(0).normal(size=(30, 8))
    risk = np.linspace(0, 0.3, 30)
    risk[:4] = np.nan
    panel = figure.embedding_map(embedding, risk).axes[0]
    unknown, known = (collection.get_offsets() for collection in panel.collections)
    assert (len(unknown), len(known)) == (4, 26)
    np.testing.assert_allclose(panel.collections[1].get_array(), 100 * risk[4:])
