"""Processes that do not find each other say so, in time."""

import socket

import pytest
from train_command import WITHIN_SECONDS, fail, flags, free_address, start

from clef_jax import train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"coordinator_address": "nowhere"}, "must be HOST:PORT, or auto"),
        ({"coordinator_address": "127.0.0.1:1"}, "needs --num-processes=N"),
        (
            {"coordinator_address": "127.0.0.1:1", "num_processes": 2, "process_id": 2},
            "from 0 to N - 1",
        ),
        (
            {"coordinator_address": "no.such.host.invalid:1", "num_processes": 2, "process_id": 1},
            "does not know the host no.such.host.invalid",
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused(settings, sentence, data_dir, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(flags(data_dir, tmp_path, **settings))
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_no_cluster_to_ask_is_told(data_dir, tmp_path):
    told = fail(start(data_dir, tmp_path, coordinator_address="auto"), WITHIN_SECONDS)
    assert "found no cluster here" in told


def alone(data_dir, workdir, address, process_id):
    return start(
        data_dir,
        workdir,
        coordinator_address=address,
        num_processes=2,
        process_id=process_id,
        join_timeout_seconds=5,
    )


def test_a_process_that_does_not_come_is_told_by_the_one_that_waits(data_dir, tmp_path):
    address = free_address()
    told = fail(alone(data_dir, tmp_path, address, 0), WITHIN_SECONDS)
    assert f"Not all 2 processes came to {address} within 5 s" in told


def test_a_wrong_coordinator_is_told(data_dir, tmp_path):
    address = free_address()
    told = fail(alone(data_dir, tmp_path, address, 1), WITHIN_SECONDS)
    assert f"Process 0 did not answer at {address} within 5 s" in told


def test_an_address_in_use_is_told(data_dir, tmp_path):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = fail(alone(data_dir, tmp_path, address, 0), WITHIN_SECONDS)
    assert "Is another program using that port?" in told
