"""The objective agrees with plain NumPy and has the invariants of its specification."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses

from clef_jax.objectives import clef, simclr

pytestmark = pytest.mark.usefixtures("quick_compiler")

COHORT = tuple(np.quantile(np.random.default_rng(5).gamma(2, 0.04, 500), np.linspace(0, 1, 101)))
EVERY_CONFIG = [
    clef.Config(
        risk_distance=distance,
        negative_weights=weights,
        missing=missing,
        unknown_risk=unknown,
        cohort=COHORT,
    )
    for distance, weights, missing, unknown in itertools.product(
        ("batch_minmax", "cohort", "rank"),
        ("softmax", "raw", "mean_one"),
        ("missing_rate", "completeness", "confidence", "off"),
        ("neutral", "zero"),
    )
]

FEW_CONFIGS = [clef.PAPER, clef.RELEASED, EVERY_CONFIG[34], EVERY_CONFIG[69]]
"""Every value of every option at least once."""


def batch(num_patients=8, dimension=6, seed=0):
    rng = np.random.default_rng(seed)
    views = rng.standard_normal((2, num_patients, dimension)).astype(np.float32)
    risk = rng.gamma(2, 0.04, num_patients).astype(np.float32)
    completeness = rng.integers(0, 7, num_patients).astype(np.float32) / 6
    return tuple(map(jnp.asarray, (*views, risk, completeness)))


@functools.partial(jax.jit, static_argnums=4)
def value_and_gradient(view_a, view_b, risk, completeness, config):
    def loss(views):
        return clef.loss(*views, risk, completeness, config)

    return jax.value_and_grad(loss)((view_a, view_b))


def test_the_paper_s_objective_as_written_in_plain_numpy():
    view_a, view_b, risk, completeness = (np.asarray(x, np.float64) for x in batch())
    n = len(risk)
    squared = (risk[:, None] - risk[None, :]) ** 2
    distance = (0.2 + 0.8 * squared / (squared.max() + 1e-6)) * (1 - np.eye(n))
    missing = 1 - completeness
    weight = np.tile(distance * np.exp(-missing[:, None] * missing[None, :]), (2, 2))
    z = np.concatenate([view_a, view_b])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T
    softmax = np.exp(weight) / np.exp(weight).sum(axis=1, keepdims=True)
    patient = np.arange(2 * n) % n
    negative = patient[:, None] != patient[None, :]
    positive = np.exp(s[np.arange(2 * n), (np.arange(2 * n) + n) % (2 * n)] / 0.07)
    total = positive + (softmax * np.exp(s / 0.07) * negative).sum(axis=1)
    nce = -np.log(positive / total).mean()
    scaled = (s - s.min()) / (s.max() - s.min() + 1e-6)
    alignment = ((scaled - (1 - weight)) ** 2).mean()
    terms = clef.terms(*batch())
    np.testing.assert_allclose(terms["nce"], nce, atol=1e-5)
    np.testing.assert_allclose(terms["alignment"], alignment, atol=1e-5)
    np.testing.assert_allclose(terms["loss"], nce + alignment, atol=1e-5)


def test_the_few_configurations_hold_every_option():
    for field in ("risk_distance", "negative_weights", "missing", "unknown_risk"):
        every = {getattr(config, field) for config in EVERY_CONFIG}
        assert {getattr(config, field) for config in FEW_CONFIGS} == every


def test_presets():
    assert clef.Config() == clef.PAPER == clef.OBJECTIVE.presets["paper"].config
    released = clef.OBJECTIVE.presets["released"].config
    assert (released.nce_weight, released.alignment_weight) == (0.5, 0.5)
    assert (released.missing, released.unknown_risk) == ("off", "zero")
    best = clef.OBJECTIVE.presets["best"]
    assert best.config == clef.Config(projection_width=128)
    assert best.training["window_seconds"] == 8.0


@pytest.mark.parametrize("distance", ["batch_minmax", "cohort", "rank"])
def test_equal_risks_with_mean_one_weights_are_exactly_nt_xent(distance):
    view_a, view_b, _, completeness = batch()
    risk = jnp.full(8, 0.1)
    config = clef.Config(
        negative_weights="mean_one",
        missing="off",
        alignment_weight=0.0,
        risk_distance=distance,
        cohort=COHORT,
    )
    value, gradient = value_and_gradient(view_a, view_b, risk, completeness, config)
    want, want_gradient = jax.value_and_grad(lambda views: simclr.loss(*views, risk, completeness))(
        (view_a, view_b)
    )
    np.testing.assert_allclose(value, want, rtol=1e-6)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-6)


@pytest.mark.parametrize("config", FEW_CONFIGS)
def test_the_order_of_patients_does_not_matter(config):
    arrays = batch()
    order = np.random.default_rng(1).permutation(8)
    value, gradient = value_and_gradient(*arrays, config)
    permuted, permuted_gradient = value_and_gradient(*(x[order] for x in arrays), config)
    np.testing.assert_allclose(permuted, value, rtol=1e-5)
    for got, want in zip(permuted_gradient, gradient, strict=True):
        np.testing.assert_allclose(got, want[order], atol=1e-5)


@pytest.mark.parametrize("distance", ["batch_minmax", "rank", "cohort"])
@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1.0, 2.0), (100.0, -5.0)])
def test_the_unit_and_the_origin_of_risk_do_not_matter(distance, scale, shift):
    view_a, view_b, risk, completeness = batch()
    risk = 10 * risk.at[3].set(jnp.nan)
    cohort = 10 * np.asarray(COHORT)
    config = clef.Config(risk_distance=distance, cohort=cohort)
    moved = clef.Config(risk_distance=distance, cohort=cohort * scale + shift)
    want = clef.loss(view_a, view_b, risk, completeness, config)
    got = clef.loss(view_a, view_b, risk * scale + shift, completeness, moved)
    np.testing.assert_allclose(got, want, rtol=1e-5)


HARD = {
    "two patients": lambda a, b, r, c: (a[:2], b[:2], r[:2], c[:2]),
    "one patient": lambda a, b, r, c: (a[:1], b[:1], r[:1], c[:1]),
    "equal risks": lambda a, b, r, c: (a, b, jnp.full_like(r, 0.1), c),
    "unknown risks": lambda a, b, r, c: (a, b, jnp.full_like(r, jnp.nan), c),
    "one known risk": lambda a, b, r, c: (a, b, r.at[1:].set(jnp.nan), c),
    "infinite risk": lambda a, b, r, c: (a, b, r.at[0].set(jnp.inf).at[1].set(-jnp.inf), c),
    "unknown completeness": lambda a, b, r, c: (a, b, r, c.at[0].set(jnp.nan)),
    "identical embeddings": lambda a, b, r, c: (jnp.ones_like(a), jnp.ones_like(b), r, c),
    "zero embeddings": lambda a, b, r, c: (jnp.zeros_like(a), jnp.zeros_like(b), r, c),
    "one zero embedding": lambda a, b, r, c: (a.at[0].set(0), b, r, c),
    "float16": lambda a, b, r, c: (a.astype(jnp.float16) * 1000, b.astype(jnp.float16), r, c),
    "bfloat16": lambda a, b, r, c: (a.astype(jnp.bfloat16), b.astype(jnp.bfloat16), r, c),
}


@pytest.mark.parametrize("hard", HARD)
def test_value_and_gradient_are_finite_whatever_comes(hard):
    arrays = HARD[hard](*batch())
    for config in FEW_CONFIGS:
        value, gradient = value_and_gradient(*arrays, config)
        assert value.dtype == jnp.float32
        assert np.isfinite(value), config
        for x in gradient:
            assert np.isfinite(np.asarray(x, np.float32)).all(), config


def test_weights_may_all_be_zero():
    config = clef.Config(min_distance=0.0, negative_weights="raw", missing="off")
    arrays = HARD["equal risks"](*batch())
    value, gradient = value_and_gradient(*arrays, config)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    config = dataclasses.replace(config, negative_weights="mean_one", alignment_weight=0.0)
    value, _ = value_and_gradient(*arrays, config)
    np.testing.assert_allclose(value, simclr.loss(*arrays), rtol=1e-6)


def test_low_precision_embeddings_lose_nothing_in_the_loss():
    view_a, view_b, risk, completeness = batch()
    rounded = view_a.astype(jnp.bfloat16), view_b.astype(jnp.bfloat16)
    got = clef.loss(*rounded, risk, completeness)
    want = clef.loss(*(x.astype(jnp.float32) for x in rounded), risk, completeness)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("distance", ["batch_minmax", "cohort", "rank"])
def test_an_unknown_risk_is_at_the_mean_distance(distance):
    _, _, risk, completeness = batch()
    unknown = risk.at[2].set(jnp.nan).at[5].set(jnp.inf)
    config = clef.Config(risk_distance=distance, missing="off", cohort=COHORT)
    weights, known = clef.pair_weights(unknown, completeness, config)
    neutral = np.asarray(weights)[~np.asarray(known) & ~np.eye(8, dtype=bool)]
    assert np.ptp(neutral) == 0
    others = np.asarray([0, 1, 3, 4, 6, 7])
    among_known = np.asarray(clef.pair_weights(risk[others], completeness[others], config)[0])
    np.testing.assert_allclose(np.asarray(weights)[np.ix_(others, others)], among_known, rtol=1e-5)
    if distance == "batch_minmax":
        mean = among_known[~np.eye(6, dtype=bool)].mean()
        np.testing.assert_allclose(neutral[0], mean, rtol=1e-5)
    else:
        clean, _ = clef.pair_weights(jnp.asarray(COHORT), jnp.ones(len(COHORT)), config)
        expected = np.asarray(clean)[~np.eye(len(COHORT), dtype=bool)].mean()
        np.testing.assert_allclose(neutral[0], expected, rtol=0.03)


def test_an_unknown_risk_is_excluded_from_the_alignment():
    view_a, view_b, risk, completeness = batch(num_patients=12)
    known = jnp.arange(12) != 4
    risk = jnp.where(known, risk, jnp.nan)
    weights, _ = (np.tile(x, (2, 2)) for x in clef.pair_weights(risk, completeness))
    z = np.concatenate([view_a, view_b]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    s = z @ z.T
    scaled = (s - s.min()) / (s.max() - s.min() + 1e-6)
    keep = np.flatnonzero(np.tile(known, 2))
    error = ((scaled - (1 - weights)) ** 2)[np.ix_(keep, keep)].mean()
    terms = clef.terms(view_a, view_b, risk, completeness)
    np.testing.assert_allclose(terms["alignment"], error, atol=1e-5)
    nothing = clef.terms(view_a, view_b, jnp.full(12, jnp.nan), completeness)
    assert nothing["alignment"] == 0
    assert nothing["loss"] == nothing["nce"]


def test_what_missing_inputs_do():
    _, _, risk, _ = batch()
    completeness = jnp.asarray([1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0])

    def weights(missing):
        config = clef.Config(missing=missing)
        return np.asarray(clef.pair_weights(risk, completeness, config)[0])

    plain = weights("off")
    np.testing.assert_allclose(weights("missing_rate")[0, 1], plain[0, 1])
    np.testing.assert_allclose(weights("missing_rate")[4, 5], plain[4, 5] * np.exp(-1), rtol=1e-6)
    np.testing.assert_allclose(
        weights("missing_rate")[2, 3], plain[2, 3] * np.exp(-0.25), rtol=1e-6
    )
    np.testing.assert_allclose(weights("completeness")[0, 1], plain[0, 1] * np.exp(-1), rtol=1e-6)
    np.testing.assert_allclose(weights("completeness")[4, 5], plain[4, 5])
    mean = plain[~np.eye(8, dtype=bool)].mean()
    np.testing.assert_allclose(weights("confidence")[0, 1], plain[0, 1], rtol=1e-6)
    np.testing.assert_allclose(weights("confidence")[4, 5], mean, rtol=1e-5)
    half = 0.25 * plain[2, 3] + 0.75 * mean
    np.testing.assert_allclose(weights("confidence")[2, 3], half, rtol=1e-5)


@pytest.mark.parametrize("distance", ["cohort", "rank"])
def test_cohort_scales_do_not_depend_on_the_batch(distance):
    _, _, risk, completeness = batch()
    config = clef.Config(risk_distance=distance, cohort=COHORT)
    alone, _ = clef.pair_weights(risk[:3], completeness[:3], config)
    together, _ = clef.pair_weights(risk, completeness, config)
    np.testing.assert_array_equal(alone, together[:3, :3])


@pytest.mark.parametrize(
    ("settings", "culprits"),
    [
        ({"temperature": 0.0}, ("temperature=0.0", "0")),
        ({"temperature": float("nan")}, ("temperature=nan",)),
        ({"min_distance": 1.5}, ("min_distance=1.5", "[0, 1]")),
        ({"nce_weight": -1.0}, ("nce_weight=-1.0",)),
        ({"missing": "missing"}, ("missing='missing'", "missing_rate, completeness")),
        ({"cohort": (2.0, 1.0)}, ("cohort",)),
    ],
)
def test_invalid_settings_are_rejected(settings, culprits):
    with refuses(*culprits, error=ValueError):
        clef.Config(**settings)


@pytest.mark.parametrize("distance", ["cohort", "rank"])
def test_a_distance_within_the_cohort_needs_its_quantiles(distance):
    with refuses(f"risk_distance={distance!r}", "`cohort`", error=ValueError):
        clef.loss(*batch(), clef.Config(risk_distance=distance))


def test_an_array_of_quantiles_makes_a_hashable_configuration():
    config = clef.Config(risk_distance="rank", cohort=np.linspace(0, 1, 5))
    assert config.cohort == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert hash(config) == hash(dataclasses.replace(config, cohort=list(config.cohort)))


def test_arrays_that_do_not_fit_are_refused():
    view_a, view_b, risk, completeness = batch()
    with refuses("risk", "(3,)", error=ValueError):
        clef.loss(view_a, view_b, risk[:3], completeness)
    with refuses(view_a.shape, view_b[:, :2].shape, error=ValueError):
        clef.loss(view_a, view_b[:, :2], risk, completeness)


@pytest.mark.parametrize(
    "cohort", [(1.0,), ((1.0, 2.0),), (2.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))]
)
def test_invalid_quantiles_are_rejected(cohort):
    with refuses("cohort", error=ValueError):
        clef.Config(cohort=cohort)
