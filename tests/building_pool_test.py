"""Tests that tasks are taken from their iterator only as workers become free."""

from clef_jax.building import pool, resume


def test_one_worker_is_this_process_and_lazy(monkeypatch):
    taken = []

    def tasks():
        for number in range(10):
            taken.append(number)
            yield number

    monkeypatch.setattr(resume, "write", lambda task: task * 10)
    results = pool.run(tasks(), 1)
    assert [next(results), next(results)] == [0, 10]
    assert taken == [0, 1]
    assert list(results) == [20, 30, 40, 50, 60, 70, 80, 90]


def test_workers_keep_the_order_and_a_bounded_number_of_tasks(monkeypatch):
    # `abs` stands for the work: unlike a function of this file it can be sent to a spawned worker.
    monkeypatch.setattr(resume, "write", abs)
    taken = []

    def tasks():
        for number in range(40):
            taken.append(number)
            yield -number

    results = pool.run(tasks(), 2)
    assert next(results) == 0
    assert len(taken) <= 2 * 3 + 1
    assert list(results) == list(range(1, 40))
