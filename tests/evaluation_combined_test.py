"""Features of several models stand side by side, and none outweighs the others."""

import jax
import numpy as np
import pytest
from culprits import refuses
from prepared import build

from clef_jax import mesh as mesh_lib
from clef_jax.building import catalog
from clef_jax.data import index as index_lib
from clef_jax.embedding import encoder as encoder_lib, folder as model_folder, prepared
from clef_jax.evaluation import blocks, knn, linear, models, probe
from clef_jax.evaluation.combined import Combined
from clef_jax.evaluation.examples import Examples

pytestmark = pytest.mark.usefixtures("quick_compiler")

ONE = mesh_lib.make_mesh(jax.devices()[:1])


def collect(*names, num_seeds=1, layer="last"):
    return models.collect(names, "none", ONE, size="tiny", num_seeds=num_seeds, seed=0, layer=layer)


def test_factors_give_each_model_the_same_variance():
    varies = np.ones(10, bool)
    varies[-1] = False
    found = blocks.factors(varies, (8, 2)) ** 2
    assert found[:8].sum() == pytest.approx(4.5)
    assert found[8] == pytest.approx(4.5)
    assert (found[varies].sum()) == pytest.approx(9)
    np.testing.assert_array_equal(blocks.factors(varies, ()), np.ones(10))


def test_a_wide_model_does_not_outweigh_a_narrow_one():
    """One informative feature beside two hundred of noise is found again by every probe."""
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=(2, 400, 1)), rng.normal(size=(2, 400, 200)) * 50
    target = (signal > 0).astype(float)
    features = [np.concatenate([noise[n], signal[n]], axis=1) for n in (0, 1)]
    train = Examples(features[0], target[0], np.arange(400))
    for method, strengths in (("linear", [1.0]), ("knn", [20.0])):
        accuracy = {}
        for widths in ((), (200, 1)):
            found = probe.fit("binary", train, method=method, strengths=strengths, widths=widths)(
                features[1]
            )
            accuracy[widths] = ((found > 0.5) == target[1]).mean()
        assert accuracy[200, 1] > 0.85
        assert accuracy[200, 1] > accuracy[()] + 0.1


def test_one_model_is_fitted_as_before():
    rng = np.random.default_rng(0)
    train = Examples(rng.normal(size=(50, 4)), rng.integers(0, 2, (50, 1)) * 1.0, np.arange(50))
    for module, strength in ((linear, 0.1), (knn, 5)):
        (one,) = module.fit_all("binary", train, [strength])
        (same,) = module.fit_all("binary", train, [strength], ())
        np.testing.assert_array_equal(one(train.features), same(train.features))


def test_names_are_combined_with_every_seed_and_of_three(tmp_path):
    model_folder.save(encoder_lib.random("tiny", ONE, seed=5), tmp_path / "a+b")
    path = str(tmp_path / "a+b")
    np.savez(tmp_path / "x.npz", id=np.arange(2), features=np.zeros((2, 3)))
    stored = f"embeddings:{tmp_path / 'x.npz'}"
    found = collect(path, f"{path}+classical", f"untrained+{stored}+{path}", num_seeds=2)
    assert [model.name for model in found] == [
        "a+b",
        "a+b + rhythm and spectrum",
        f"random tiny, seed 0 + {stored} + a+b",
        f"random tiny, seed 1 + {stored} + a+b",
    ]
    assert isinstance(found[1], Combined)
    last = encoder_lib.layer_slice(found[0], "last")
    assert found[1].widths == (last.stop - last.start, 38)
    assert len({model.fingerprint for model in found}) == 4
    with refuses("/nowhere"):
        collect("/nowhere+classical")


def test_features_are_those_of_the_parts_on_the_layer(tmp_path):
    tree = catalog.simulated("cinc2017").write(tmp_path / "source", 30)
    made = build("cinc2017", tree.source, tmp_path / "data")
    index = index_lib.load(made.data_path, "train")
    (both,) = collect("untrained+classical", layer="stage_2")
    found = both.embed_split(index, "I", tmp_path / "cache")
    parts = [prepared.embed(part, index, "I", tmp_path / "cache") for part in both.parts]
    columns = both.parts[0].layers["stage_2"]
    width = columns.stop - columns.start
    np.testing.assert_array_equal(found.features[:, :width], parts[0].features[:, columns])
    np.testing.assert_array_equal(found.features[:, width:], parts[1].features)
    assert found.windows_per_second > 0
