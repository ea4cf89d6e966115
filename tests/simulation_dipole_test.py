"""The dipole is projected onto the leads as in the literature."""

import numpy as np
import pytest

from clef_jax.simulation import dipole


def test_moving_the_dipole_nearer_an_electrode_enlarges_its_lead():
    forward = np.array([[0.0, 0.0, -1.0]])
    middle = dipole.project(forward, np.zeros((1, 3)), dipole.DOWER)[0]
    np.testing.assert_allclose(middle, dipole.DOWER @ forward[0])
    near = dipole.project(forward, np.array([[0.0, 0.0, -3.0]]), dipole.DOWER)[0]
    v2 = dipole.PROJECTED.index("V2")
    assert near[v2] > 1.5 * middle[v2]
    np.testing.assert_allclose(near[:2], middle[:2])


@pytest.mark.parametrize("axis_degrees", [-90.0, 0.0, 75.0, 170.0])
def test_frontal_vector_solves_einthovens_triangle(axis_degrees):
    one, two = dipole.DOWER[:2] @ dipole.frontal_vector(axis_degrees, 1.3, 0.4)
    axis = np.deg2rad(axis_degrees)
    assert one == pytest.approx(1.3 * np.cos(axis), abs=1e-12)
    assert two == pytest.approx(1.3 * np.cos(axis - np.pi / 3), abs=1e-12)
