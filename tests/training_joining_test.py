"""Processes that cannot connect end with an error in time."""

import socket

import pytest
from culprits import assert_names
from train_command import WITHIN_SECONDS, fail, flags, free_address, start

from clef_jax import train

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "culprits"),
    [
        ({"coordinator_address": "nowhere"}, ("--coordinator-address=nowhere", "HOST:PORT")),
        ({"coordinator_address": "127.0.0.1:1"}, ("--num-processes=N", "--process-id")),
        (
            {"coordinator_address": "127.0.0.1:1", "num_processes": 2, "process_id": 2},
            ("0 to N - 1", "2 and 2"),
        ),
        (
            {"coordinator_address": "no.such.host.invalid:1", "num_processes": 2, "process_id": 1},
            ("host no.such.host.invalid",),
        ),
    ],
)
def test_an_address_that_cannot_be_is_refused(settings, culprits, data_dir, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(flags(data_dir, tmp_path, **settings))
    assert_names(capsys.readouterr().err, *culprits)


def test_no_cluster_to_ask_is_told(data_dir, tmp_path):
    told = fail(start(data_dir, tmp_path, coordinator_address="auto"), WITHIN_SECONDS)
    assert_names(told, "--coordinator-address=auto", "SLURM", "HOST:PORT")


def alone(data_dir, workdir, address, process_id):
    return start(
        data_dir,
        workdir,
        coordinator_address=address,
        num_processes=2,
        process_id=process_id,
        join_timeout_seconds=2,
    )


def test_a_process_that_does_not_come_is_told_by_the_one_that_waits(data_dir, tmp_path):
    address = free_address()
    told = fail(alone(data_dir, tmp_path, address, 0), WITHIN_SECONDS)
    assert_names(told, "2 processes", address, "2 s", "--join-timeout-seconds")


def test_a_wrong_coordinator_is_told(data_dir, tmp_path):
    address = free_address()
    told = fail(alone(data_dir, tmp_path, address, 1), WITHIN_SECONDS)
    assert_names(told, "Process 0", address, "2 s")
    assert "--join-timeout-seconds" not in told


def test_an_address_in_use_is_told(data_dir, tmp_path):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        told = fail(alone(data_dir, tmp_path, address, 0), WITHIN_SECONDS)
    assert_names(told, f"--coordinator-address={address}", "port")
