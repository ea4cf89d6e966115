import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from clef_jax.training import tracing


@pytest.mark.slow
def test_the_steps_asked_for_are_recorded_for_perfetto_and_tensorboard(tmp_path):
    compute = jax.jit(lambda x: (x @ x).sum())
    x = jnp.ones((64, 64))
    done = []
    with tracing.Trace((3, 4), tmp_path) as trace:
        for number in range(1, 7):
            with trace.step(number):
                result = compute(x)
            done.append(trace.step_done(number, result))
    assert done == [False, False, False, True, False, False]
    (perfetto,) = trace.folder.rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(perfetto.read_bytes()))["traceEvents"]
    steps = {e["args"]["step_num"] for e in events if e.get("name") == "train"}
    assert steps == {"3", "4"}
    assert list(trace.folder.rglob("*.xplane.pb"))


def test_nothing_is_recorded_unless_asked_for(tmp_path):
    with tracing.Trace(None, tmp_path) as trace, trace.step(1):
        assert not trace.step_done(1, None)
    with tracing.Trace((1, 2), tmp_path) as trace, trace.step(5):  # resumed behind it
        assert not trace.step_done(5, None)
    assert not trace.folder.exists()
