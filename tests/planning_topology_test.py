import importlib.util

import pytest
from culprits import refuses

from clef_jax import mesh as mesh_lib
from clef_jax.planning import topology

WITHOUT_COMPILER = importlib.util.find_spec("libtpu") is None


@pytest.mark.parametrize(
    ("name", "chip", "num_devices", "island"),
    [
        ("v5e:16x16", "v5e", 256, 256),
        ("V5E:4x4", "v5e", 16, 16),
        ("v4:4x4x4", "v4", 64, 64),
        ("v5p:4x4x4", "v5p", 64, 64),
        ("2xv5e:16x16", "v5e", 512, 256),
        ("tpu7x:2x2x1", "tpu7x", 8, 8),
        ("h100:8", "h100", 8, 8),
        ("h100:4", "h100", 4, 4),
        ("a100:64", "a100", 64, 8),
        ("b200:2x8", "b200", 16, 8),
        ("h100:12", "h100", 12, 6),
        ("cpu:8", "cpu", 8, 8),
    ],
)
def test_names_tell_chip_and_number_of_devices(name, chip, num_devices, island):
    found = topology.by_name(name)
    assert (found.chip.name, found.num_devices) == (chip, num_devices)
    assert found.island_devices == island


@pytest.mark.parametrize(
    ("name", "culprits"),
    [
        ("v5x:4x4", ("--topology=v5x:4x4", "'v5x'")),
        ("h10:8", ("'h10'", "'h100'")),
        ("v5e", ("--topology=v5e", "v5e:16x16")),
        ("v5e:4x4x4", ("--topology=v5e:4x4x4", "v5e:4x4")),
        ("v5p:4x4", ("--topology=v5p:4x4", "v5p:4x4x4")),
        ("v5e:0x4", ("--topology=v5e:0x4", "v5e:4x4")),
        ("h100:2x4x2", ("--topology=h100:2x4x2", "h100:8")),
        ("2xh100:8", ("--topology=2xh100:8", "h100:8")),
        ("cpu:0", ("--topology=cpu:0", "cpu:8")),
        ("0xv5e:4x4", ("--topology=0xv5e:4x4", "v5e:4x4")),
    ],
)
def test_other_names_are_refused_with_what_would_do(name, culprits):
    with refuses(*culprits):
        topology.by_name(name)


def test_gpus_have_an_abstract_mesh_and_cpus_their_own():
    assert topology.make_mesh(topology.by_name("h100:72")).shape == {mesh_lib.DATA: 72}
    mesh = topology.make_mesh(topology.by_name("cpu:4"))
    assert (mesh.shape, mesh_lib.platform(mesh)) == ({mesh_lib.DATA: 4}, "cpu")


def test_more_cpu_devices_than_simulated_are_refused():
    with refuses("--topology=cpu:9", "8 CPU devices", "jax_num_cpu_devices"):
        topology.make_mesh(topology.by_name("cpu:9"))


@pytest.mark.skipif(not WITHOUT_COMPILER, reason="the TPU compiler is here")
def test_without_the_compiler_a_sentence_says_how_to_get_it():
    with refuses("--topology=v5e:4x4", "clef_jax[tpu]"):
        topology.make_mesh(topology.by_name("v5e:4x4"))


@pytest.mark.plan_tpu
@pytest.mark.parametrize(
    "name",
    ["v5e:1x1", "v5e:4x4", "2xv5e:2x2", "v6e:2x2", "v4:2x2x1", "v5p:2x2x1", "tpu7x:2x2x1"],
)
def test_slices_are_as_large_as_their_names_say(name):
    pytest.importorskip("libtpu")
    found = topology.by_name(name)
    mesh = topology.make_mesh(found)
    assert (mesh.size, mesh_lib.platform(mesh)) == (found.num_devices, "tpu")


@pytest.mark.plan_tpu
def test_slices_that_there_are_not_are_refused_in_a_sentence():
    pytest.importorskip("libtpu")
    with refuses("v5e:3x5"):
        topology.make_mesh(topology.by_name("v5e:3x5"))
