"""Size, batch and steps follow from the minutes and from measured speeds, and never exceed them."""

import pytest
from culprits import refuses

from clef_jax.speedrunning import budget
from clef_jax.speedrunning.budget import Speed


class Machine:
    """A machine that takes some seconds per step of each size, for every 64 patients."""

    def __init__(self, start_seconds=10.0, **step_seconds):
        self.start_seconds, self.step_seconds, self.asked = start_seconds, step_seconds, []

    def __call__(self, size, batch):
        self.asked.append((size, batch))
        return Speed(self.start_seconds, self.step_seconds[size] * max(1, batch / 64))


SLOW = {"small": 1.0, "medium": 30.0, "large": 200.0}
FAST = {"small": 0.002, "medium": 0.02, "large": 0.1}


def test_a_slow_machine_gets_the_smallest_size_and_as_many_steps_as_fit():
    machine = Machine(**SLOW)
    choice = budget.choose(3, machine, num_patients=2000)
    assert (choice.size, choice.batch) == ("small", 64)
    assert choice.num_steps == int(60 * 3 * budget.USED - 10)
    assert machine.asked == [("small", 64)]  # a larger size is refused by its operations alone


def test_a_fast_machine_gets_a_larger_size_and_batch():
    choice = budget.choose(60, Machine(**FAST), num_patients=16_000)
    assert choice.size == "large"
    assert choice.batch > 64
    assert choice.num_steps >= budget.FULL_STEPS
    used = choice.speed.start_seconds + choice.num_steps * choice.speed.step_seconds
    assert used <= 60 * 60 * budget.USED


@pytest.mark.parametrize("minutes", [2, 5, 20, 200])
def test_steps_fit_in_the_minutes(minutes):
    choice = budget.choose(minutes, Machine(**FAST), num_patients=16_000)
    used = choice.speed.start_seconds + choice.num_steps * choice.speed.step_seconds
    assert used <= 60 * minutes


def test_wanted_size_and_batch_are_kept():
    choice = budget.choose(60, Machine(**FAST), num_patients=16_000, size="medium", batch=128)
    assert (choice.size, choice.batch) == ("medium", 128)


def test_a_batch_is_at_most_a_quarter_of_the_patients_and_the_same_on_each_device():
    choice = budget.choose(600, Machine(**FAST), num_patients=1000)
    assert choice.batch <= 250
    assert budget.first_batch(100) <= 25
    assert budget.first_batch(10_000, num_devices=24) == 72
    assert budget.first_batch(60, num_devices=8) % 8 == 0
    with refuses("1 training patient", problem="too_few_patients"):
        budget.first_batch(1)


def test_too_few_minutes_are_refused_with_the_minutes_that_suffice():
    with refuses("--minutes=0.5", problem="too_few_minutes") as caught:
        budget.choose(0.5, Machine(**SLOW), num_patients=2000)
    enough = float(str(caught.value).split("--minutes to ")[1].split()[0])
    choice = budget.choose(enough, Machine(**SLOW), num_patients=2000)
    assert choice.num_steps >= budget.MIN_STEPS


def test_rate_and_warm_up_follow_from_batch_and_steps():
    settings = budget.derived(budget.Choice("small", 256, 1000, Speed(1, 0.1)))
    assert settings["learning_rate"] == pytest.approx(2e-3)
    assert settings["warmup_steps"] == 50
    assert settings["checkpoint_every_steps"] == 300
    assert budget.derived(budget.Choice("small", 64, 10, None))["warmup_steps"] == 0
