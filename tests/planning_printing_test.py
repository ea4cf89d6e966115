import dataclasses

import pytest
import rich.console
from culprits import assert_names

from clef_jax.config import TrainConfig
from clef_jax.planning import estimate, printing, roofline, search, topology
from clef_jax.planning.hlo import Collective, Operation


@pytest.fixture(scope="module")
def plan():
    config = TrainConfig(data_dir="", workdir="", size="tiny", window_seconds=1.0)
    return estimate.make(config, topology.by_name("h100:8"))


def printed(show, *arguments):
    console = rich.console.Console(width=120, force_terminal=False, highlight=False)
    with console.capture() as capture:
        show(*arguments, console)
    return capture.get()


def as_tpu(plan):
    v5e = topology.by_name("v5e:2x4")
    costliest = (
        Operation(
            "fusion.1", "fusion", "jit(train_step)/shard_map/jit(make_view)/jit(fft)", 1, 900
        ),
        Operation("fusion.2", "fusion", "", 4, 100),
    )
    return dataclasses.replace(
        plan,
        topology=v5e,
        estimated_cycles=1_500_000,
        costliest=costliest,
        compile_seconds=61.0,
        roofline=roofline.make(v5e, plan.model_flops, plan.least_bytes, ()),
    )


def test_plan_of_gpus_says_that_nothing_was_compiled(plan):
    text = printed(printing.show, plan)
    assert_names(text, "64 patients", "h100:8", "8 devices", "8 patients", "optimiser state")
    assert_names(text, "f32[2,64,16]", "H100", *printing.verdicts(plan))
    assert_names(text, "pairs/s")
    assert "cycles" not in text


def test_plan_of_tpus_names_cycles_clock_and_costliest_operations(plan):
    text = printed(printing.show, as_tpu(plan))
    assert_names(text, "61 s", "1,500,000 cycles", "1.5 GHz", "1.000", "make_view/fft", "fusion.2")
    assert_names(text, "pairs/s")
    assert printing.verdicts(as_tpu(plan))[-1].split()[0] != printing.verdicts(plan)[-1].split()[0]


def test_one_device_has_no_collectives(plan):
    alone = dataclasses.replace(plan, topology=topology.by_name("h100:1"))
    text = printed(printing.show, alone)
    assert "Collectives" not in text  # no such table
    assert len(printing.verdicts(alone)) == len(printing.verdicts(plan)) - 1


def test_a_step_that_does_not_fit_is_told_what_to_change(plan):
    memory = dataclasses.replace(plan.memory, refused_bytes=2**40, fits=False)
    advice = ("--remat keeps less.",)
    refused = dataclasses.replace(plan, memory=memory, advice=advice)
    first, second, *rest = printing.verdicts(refused)
    assert second.strip() == advice[0]
    assert not any("pairs/s" in line for line in rest)
    unknown = dataclasses.replace(plan, memory=dataclasses.replace(plan.memory, fits=None))
    assert len({first, printing.verdicts(plan)[0], printing.verdicts(unknown)[0]}) == 3


def test_too_large_collectives_are_named(plan):
    signals = Collective("all-gather", "", 1, 64 * 2 * 500 * 4, 8, "f32[64,2,500]")
    large = dataclasses.replace(plan, collectives=(*plan.collectives, signals))
    (sentence,) = [x for x in printing.verdicts(large) if "f32[64,2,500]" in x]
    assert_names(sentence, "1")
    assert not any("f32[64,2,500]" in x for x in printing.verdicts(plan))


def test_parameters_that_a_sharded_optimiser_puts_together_are_as_they_should_be(plan):
    memory = dataclasses.replace(plan.memory, parameters_bytes=2**30)
    kernel = Collective("all-gather", "", 1, 2**24, 8, "f32[2048,2048]")
    plain = dataclasses.replace(plan, memory=memory, collectives=(kernel,))
    assert plain.too_large_collectives == [kernel]
    assert not dataclasses.replace(plain, shard_optimizer=True).too_large_collectives
    shuffled = dataclasses.replace(kernel, kind="all-to-all")
    other = dataclasses.replace(plain, collectives=(shuffled,), shard_optimizer=True)
    assert other.too_large_collectives == [shuffled]


@pytest.mark.parametrize(
    ("origin", "want"),
    [
        ("jit(train_step)/shard_map/jit(make_view)/jit(fft)", "make_view/fft"),
        (
            "jit(train_step)/transpose(jvp(encoder/stage_1/block_0/mix))/shard_map/dot_general",
            "backward: encoder/stage_1/block_0/mix/dot_general",
        ),
        (
            "jit(train_step)/jvp()/shard_map/encoder/stage_1/block_0/mix/conv",
            "forward: encoder/stage_1/block_0/mix/conv",
        ),
        ("jit(train_step)/optimizer/mul", "optimizer/mul"),
        ("", ""),
    ],
)
def test_origins_are_places_in_our_code(origin, want):
    assert printing.scope(origin) == want


@pytest.mark.parametrize(
    ("num_bytes", "want"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1,023 B"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (3 * 2**29, "1.50 GiB"),
        (2**41, "2,048.00 GiB"),
    ],
)
def test_sizes_are_told_in_a_unit_that_suits_them(num_bytes, want):
    assert printing.format_bytes(num_bytes) == want


def test_search_is_told_with_all_its_trials(plan):
    trials = (search.Trial(8, True, 2**30, 2**31), search.Trial(9, False, 2**32, 2**31))
    text = printed(printing.show_search, search.SearchResult(8, trials), plan)
    close = text.strip().splitlines()[-1]
    assert_names(close, "64 patients", "8")
    assert_names(text, "4.00 GiB")
    text = printed(printing.show_search, search.SearchResult(8, trials[:1]), plan)
    cut_short = text.strip().splitlines()[-1]
    assert_names(cut_short, "64 patients")
    assert cut_short != close
    text = printed(printing.show_search, search.SearchResult(0, trials[1:]), plan)
    assert "64 patients" not in text
