"""The coordinator's store, with a client that keeps it in memory."""

import pytest

from clef_jax.training import coordinator as coordinator_lib


class Client:
    """Stands in for JAX's client."""

    def __init__(self):
        self.store, self.limits_ms = {}, []

    def key_value_set(self, key, value, allow_overwrite=False):
        if key in self.store and not allow_overwrite:
            raise coordinator_lib.Unavailable("ALREADY_EXISTS")
        self.store[key] = value

    def blocking_key_value_get(self, key, limit_ms):
        self.limits_ms.append(limit_ms)
        if key not in self.store:
            raise coordinator_lib.Unavailable("DEADLINE_EXCEEDED")
        return self.store[key]

    def key_value_dir_get(self, prefix):
        return [(key, value) for key, value in self.store.items() if key.startswith(prefix)]

    def wait_at_barrier(self, name, limit_ms):
        self.limits_ms.append(limit_ms)


def make(client, process=0):
    return coordinator_lib.Coordinator(
        process=process, num_processes=2, address="127.0.0.1:1", client=client
    )


def test_a_process_that_trains_alone_has_joined_nobody():
    alone = coordinator_lib.current()
    assert not alone.has_joined
    assert (alone.process, list(alone.processes)) == (0, [0])


def test_what_one_process_writes_the_others_read():
    client = Client()
    zero, one = make(client), make(client, process=1)
    zero.write("clef_jax/beats/", "7")
    one.write("clef_jax/beats/", "8")
    one.write("clef_jax/failed/", "no disk")
    assert zero.read_all("clef_jax/beats/") == {0: "7", 1: "8"}
    assert zero.read_all("clef_jax/failed/") == {1: "no disk"}
    assert one.wait_for("clef_jax/beats/", 0, limit_seconds=2.5) == "7"
    assert client.limits_ms == [2500]


def test_a_text_is_overwritten_only_on_purpose():
    zero = make(Client())
    zero.write("clef_jax/facts/", "a")
    with pytest.raises(coordinator_lib.Unavailable):
        zero.write("clef_jax/facts/", "b")
    zero.write("clef_jax/facts/", "b", overwrite=True)
    assert zero.read_all("clef_jax/facts/") == {0: "b"}


def test_waiting_ends_with_unavailable_and_never_waits_for_ever():
    client = Client()
    with pytest.raises(coordinator_lib.Unavailable):
        make(client).wait_for("clef_jax/facts/", 1, limit_seconds=0.0)
    make(client).barrier("clef_jax/agreed", 0.0)
    assert client.limits_ms == [1, 1]
