import crc_weight
import jax
import pytest
from flax import nnx

from clef_jax import models
from clef_jax.models.size import EncoderSize


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_every_published_size_has_the_published_number_of_parameters(name):
    encoder = nnx.eval_shape(lambda: models.create_encoder(name, rngs=nnx.Rngs(0)))
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(encoder, nnx.Param)))
    assert count == crc_weight.load_golden(name)["num_parameters"]


@pytest.mark.parametrize("name", models.SIZES)
def test_every_size_embeds_in_its_own_width(name):
    size = models.SIZES[name]

    def stages(signal):
        return models.create_encoder(name, rngs=nnx.Rngs(0)).stages(signal)

    signal = jax.ShapeDtypeStruct((2, 4999, 1), "float32")
    shapes = [mean.shape for mean in jax.eval_shape(stages, signal)]
    assert shapes == [(2, channels) for channels in size.stage_channels]
    assert shapes[-1] == (2, size.embedding_width)


def test_twelve_leads_change_the_stem_only():
    def shapes(in_channels):
        encoder = nnx.eval_shape(
            lambda: models.create_encoder("tiny", in_channels=in_channels, rngs=nnx.Rngs(0))
        )
        return {path: leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(encoder))}

    one, twelve = shapes(1), shapes(12)
    assert {path for path in one if one[path] != twelve[path]} == {("stem", "kernel")}
    assert twelve["stem", "kernel"] == (16, 12, 8)


def test_an_unknown_size_names_its_nearest_neighbour():
    with pytest.raises(ValueError, match="did you mean 'medium'"):
        models.create_encoder("meduim", rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"stage_blocks": (1,)}, "2 stage widths but 1"), ({"group_width": 5}, "groups of 5")],
)
def test_an_impossible_size_is_refused(change, words):
    shape = {
        "stem_channels": 8,
        "stage_channels": (8, 16),
        "stage_blocks": (1, 1),
        "middle_ratio": 0.5,
        "group_width": 8,
    }
    with pytest.raises(ValueError, match=words):
        EncoderSize(**(shape | change))
