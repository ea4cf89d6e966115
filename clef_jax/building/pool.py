"""Writes the shards of a build in worker processes, in order and with bounded memory."""

import collections
import concurrent.futures
import concurrent.futures.process
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterable, Iterator

from clef_jax.building import resume, shard
from clef_jax.errors import UserError

_TASKS_PER_WORKER = 3
"""Maximum number of submitted tasks per worker whose results have not been yielded."""


def run(tasks: Iterable[shard.Task], num_workers: int) -> Iterator[shard.Summary]:
    """Writes shards and yields their summaries in the order of the tasks.

    Tasks are taken from their iterator only as workers become free.

    Args:
        tasks: a task for each shard.
        num_workers: number of processes; 1 writes in this process.

    Raises:
        UserError: a worker was killed, usually because memory ran out.
    """
    if num_workers == 1:
        yield from map(resume.write, tasks)
        return
    # Spawned, not forked: this process has threads (DuckDB's, the progress bar's).
    pool = concurrent.futures.ProcessPoolExecutor(
        num_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    tasks = iter(tasks)
    waiting: collections.deque[concurrent.futures.Future[shard.Summary]] = collections.deque()
    try:
        for task in itertools.islice(tasks, _TASKS_PER_WORKER * num_workers):
            waiting.append(pool.submit(resume.write, task))
        while waiting:
            yield waiting.popleft().result()
            for task in itertools.islice(tasks, 1):
                waiting.append(pool.submit(resume.write, task))
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError(
            "A worker process was killed while it wrote a shard. If the machine ran out of memory, "
            "start again with fewer --workers.",
            problem="worker_died",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Makes a worker ignore Ctrl-C, and end when its parent ends, even if that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
