import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from culprits import refuses
from jax.sharding import PartitionSpec as P

from clef_jax import mesh as mesh_lib
from clef_jax.planning import hlo, hlo_text

TEXT = """HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%fused (p: f32[8,128]) -> f32[8,128] {
  %p = f32[8,128]{1,0:T(8,128)} parameter(0)
  ROOT %m = f32[8,128]{1,0:T(8,128)} multiply(%p, %p), metadata={op_name="jit(step)/jvp(encoder)/stem/mul"}
}

%scattered (p: f32[8,128]) -> f32[2,128] {
  %p.1 = f32[8,128]{1,0} parameter(0)
  ROOT %rs = f32[2,128]{1,0} reduce-scatter(%p.1), replica_groups={{0,1,2,3}}, dimensions={0}
}

%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[]{:T(128)}, f32[8]{0}) parameter(0)
  %fusion.9 = f32[8]{0} fusion(%s), kind=kLoop, calls=%add, backend_config={"window_config":{"estimated_cycles":"7"}}
  ROOT %t = (s32[], f32[8]{0}) tuple(%s, %fusion.9)
}

%condition (s: (s32[], f32[8])) -> pred[] {
  %s.1 = (s32[]{:T(128)}, f32[8]{0}) parameter(0)
  %limit = s32[]{:T(128)} constant(17)
  %i = s32[] get-tuple-element(%s.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

%open (s: (s32[], f32[8])) -> pred[] {
  %s.2 = (s32[], f32[8]{0}) parameter(0)
  ROOT %lt.1 = pred[] compare(%s.2, %s.2), direction=LT
}

%cheap (x: f32[8]) -> f32[8] {
  ROOT %c = f32[8]{0} copy(%x), backend_config={"estimated_cycles":"1"}
}

%dear (x: f32[8]) -> f32[8] {
  ROOT %d = f32[8]{0} copy(%x), backend_config={"estimated_cycles":"50"}
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %fusion = f32[8,128]{1,0:T(8,128)(2,1)S(1)} fusion(%x), kind=kOutput, calls=%fused, backend_config={"estimated_cycles":"1000"}
  %while = (s32[]{:T(128)}, f32[8]{0}) while(%x), condition=%condition, body=%body, metadata={op_name="jit(step)/loss/while"}
  %while.1 = (s32[], f32[8]{0}) while(%x), condition=%open, body=%body
  %while.2 = (s32[], f32[8]{0}) while(%x), condition=%open, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %if = f32[8]{0} conditional(%x, %x, %x), branch_computations={%cheap, %dear}
  %gather = (f32[2,64,16]{2,1,0}, f32[2,256,16]{2,1,0}) all-gather-start(%x), replica_groups=[1,4]<=[4], dimensions={1}, metadata={op_name="jit(step)/loss/all_gather"}
  %gathered = f32[2,256,16]{2,1,0} all-gather-done(%gather)
  %reduce = (f32[16,4,8]{2,1,0}, /*index=1*/bf16[5]{0}, pred[]) all-reduce(%x, %x, %x), replica_groups=mesh['data'=4] {'data'}, to_apply=%add
  %fusion.1 = f32[2,128]{1,0} fusion(%fusion), kind=kCustom, calls=%scattered
  ROOT %y = f32[8]{0} copy(%x)
}
"""  # noqa: E501 - lines as the compiler writes them


@pytest.fixture
def program():
    return hlo.read(TEXT)


def test_cycles_are_summed_over_what_a_step_executes(program):
    # The fusion, three loops of 17, unknown (so 1) and 3 turns, and the dearer branch.
    assert program.estimated_cycles == 1000 + 7 * (17 + 1 + 3) + 50
    assert program.num_unknown_loops == 1


def test_costliest_operations_come_first_with_the_place_they_come_from(program):
    first, second = program.costliest(2)
    assert (first.name, first.cycles, first.times) == ("fusion", 1000, 1)
    assert first.origin == "jit(step)/jvp(encoder)/stem/mul"  # from within the fusion
    assert (second.cycles, second.times, second.origin) == (119, 17, "jit(step)/loss/while")


def test_collectives_have_the_size_of_their_results(program):
    gather, reduce, scatter = program.collectives
    assert (gather.kind, gather.num_bytes, gather.group_size) == ("all-gather", 2 * 256 * 16 * 4, 4)
    assert gather.largest_shape == "f32[2,256,16]"
    assert gather.origin == "jit(step)/loss/all_gather"
    assert (reduce.kind, reduce.num_bytes) == ("all-reduce", 16 * 4 * 8 * 4 + 5 * 2 + 1)
    assert (reduce.group_size, reduce.largest_shape) == (4, "f32[16,4,8]")
    assert (scatter.kind, scatter.num_bytes) == ("reduce-scatter", 2 * 128 * 4)


def fused_gathers(*flags):
    """A module of fusions that each contain a gather on one channel, with these start flags."""
    part = """%fused.{0} (x: f32[8]) -> f32[64] {{
  %gather.{0} = f32[64]{{0}} all-gather(%x), channel_id=1, {1}
}}

"""
    config = 'backend_config={{"async_collective_fusion_config":{{"flag_start":"{}"}}}}'
    text = "".join(part.format(i, config.format(flag)) for i, flag in enumerate(flags))
    text += "ENTRY %main (x: f32[8]) -> f32[64] {\n"
    call = "  %fusion.{0} = f32[64]{{0}} fusion(%x), kind=kCustom, calls=%fused.{0}\n"
    return text + "".join(call.format(i) for i in range(len(flags))) + "}\n"


def test_an_exchange_that_goes_on_within_several_fusions_is_one():
    (gather,) = hlo.read(fused_gathers(-1, 2, 2)).collectives
    assert (gather.kind, gather.num_bytes) == ("all-gather", 256)


def test_two_exchanges_may_share_a_channel():
    assert len(hlo.read(fused_gathers(-1, 2, -1, 2)).collectives) == 2


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        ("all-reduce", 2 * 800 * 3 / 4),
        ("all-gather", 800 * 3 / 4),
        ("reduce-scatter", 800 * 3),
        ("all-to-all", 800 * 3 / 4),
        ("collective-permute", 800),
    ],
)
def test_bytes_sent_are_those_of_a_ring(kind, want):
    one = hlo.Collective(kind, "", 1, 800, 4, "f32[200]")
    assert one.sent_bytes == want
    assert dataclasses.replace(one, times=3).sent_bytes == 3 * want


def test_alone_a_device_sends_nothing():
    assert hlo.Collective("all-reduce", "", 1, 800, 1, "f32[200]").sent_bytes == 0


def test_sizes_of_types():
    sizes = [size for _, size in hlo_text.arrays("(f32[4,8]{1,0}, bf16[3], pred[2], s4[3], u8[])")]
    assert sizes == [128, 6, 2, 2, 1]
    assert hlo_text.second("(f32[2]{0:T(8,128)}, s32[3,4]{1,0})") == "s32[3,4]{1,0}"
    assert hlo_text.second("f32[2]") == "f32[2]"


def test_what_is_no_module_is_refused():
    with refuses("entry", error=ValueError):
        hlo.read("HloModule nothing")


def test_a_compiled_program_is_read():
    """HLO text of the installed compiler: a loop with a collective in each iteration."""
    mesh = mesh_lib.make_mesh(jax.devices()[:4])

    def local(x):
        def turn(_, x):
            return x + jax.lax.all_gather(x, "data", tiled=True).sum() * 1e-3

        return jax.lax.fori_loop(0, 5, turn, x)

    x = jax.ShapeDtypeStruct((64,), jnp.float32, sharding=mesh_lib.rows(mesh))
    step = jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False)
    )
    program = hlo.read(step.lower(x).compile().as_text())
    assert program.num_unknown_loops == 0
    (gather,) = program.collectives
    assert (gather.kind, gather.times, gather.group_size) == ("all-gather", 5, 4)
    np.testing.assert_equal(gather.num_bytes, 64 * 4)
