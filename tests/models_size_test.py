import itertools

import crc_weight
import jax
import pytest
from culprits import refuses
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
    with refuses("'meduim'", "'medium'", error=ValueError):
        models.create_encoder("meduim", rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("change", "culprits"),
    [({"stage_blocks": (1,)}, ("2", "1")), ({"group_width": 5}, ("8", "5"))],
)
def test_an_impossible_size_is_refused(change, culprits):
    shape = {
        "stem_channels": 8,
        "stage_channels": (8, 16),
        "stage_blocks": (1, 1),
        "middle_ratio": 0.5,
        "group_width": 8,
    }
    with refuses(*culprits, error=ValueError):
        EncoderSize(**(shape | change))


@pytest.mark.parametrize("name", models.SIZES)
def test_blocks_describe_the_network_that_is_built(name):
    size = models.SIZES[name]
    encoder = nnx.eval_shape(lambda: models.create_encoder(name, rngs=nnx.Rngs(0)))
    built = [
        (stage, number, block)
        for stage, blocks in enumerate(encoder.stage_list)
        for number, block in enumerate(blocks.blocks)
    ]
    specs = list(size.blocks())
    assert [(s.stage, s.number) for s in specs] == [(stage, number) for stage, number, _ in built]
    stem = size.stem()
    assert encoder.stem.kernel.shape == (stem.taps, stem.group_channels, stem.channels)
    for spec, (_, _, block) in zip(specs, built, strict=True):
        assert (block.stride, block.activate_input) == (spec.stride, spec.activates_input)
        for conv in spec.convolutions:
            shape = (conv.taps, conv.group_channels, conv.channels)
            kernel = getattr(block, conv.name).kernel
            assert kernel.shape == (shape if conv.taps > 1 else shape[1:])
        for linear in spec.gate:
            kernel = getattr(block.gate, linear.name).kernel
            assert kernel.shape == (linear.in_channels, linear.channels)


@pytest.mark.parametrize("name", models.SIZES)
def test_blocks_follow_each_other(name):
    size = models.SIZES[name]
    specs = list(size.blocks())
    widths = [size.stem(12).channels, *(spec.channels for spec in specs)]
    assert [spec.in_channels for spec in specs] == widths[:-1]
    assert widths[-1] == size.embedding_width
    assert [spec.activates_input for spec in specs] == [False] + [True] * (len(specs) - 1)
    assert [spec.stride for spec in specs] == [1 if spec.number else 2 for spec in specs]
    for spec in specs:
        convolutions = spec.convolutions
        assert convolutions[0].in_channels == spec.in_channels
        assert convolutions[-1].channels == spec.channels
        for before, after in itertools.pairwise(convolutions):
            assert before.channels == after.in_channels


def test_a_block_halves_time_by_one_of_its_convolutions():
    first, *_ = models.SIZES["tiny"].blocks()
    assert [conv.output_length(5) for conv in first.convolutions] == [5, 3, 5]
    assert first.output_length(5) == 3
    assert models.SIZES["tiny"].stem().output_length(4999) == 2500
