"""Tests that scalars reach TensorBoard, and that a full disk ends only them."""

import json

from culprits import assert_names
from full_disk import no_file_above
from tensorboardX.proto import event_pb2

from clef_jax.training import logs, tensorboard


def events(folder):
    """The events of the only file in a folder: each has a header of 12 bytes and a sum of 4."""
    (file,) = folder.iterdir()
    data, read = file.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        read.append(event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return read


def test_scalars_are_read_back_after_a_mark_that_replaces_earlier_ones(tmp_path):
    board = tensorboard.TensorBoard(tmp_path, first_step=5)
    board.add(5, {"loss": 0.5, "validation/rank": 3.0})
    board.close()
    read = events(tmp_path)
    marks = [event for event in read if event.HasField("session_log")]
    assert [mark.step for mark in marks] == [5]
    scalars = {
        (event.step, value.tag): value.simple_value
        for event in read
        for value in event.summary.value
    }
    assert scalars == {(5, "loss"): 0.5, (5, "validation/rank"): 3.0}


def test_a_full_disk_ends_the_curves_without_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "FLUSH_SECONDS", 0.0)
    board = tensorboard.TensorBoard(tmp_path, first_step=1)
    with no_file_above(1000):
        for step in range(1, 200):
            board.add(step, {"loss": 0.5})
    assert board.error is not None
    board.close()


def test_the_run_says_that_its_curves_end_and_continues(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with logs.Log(tmp_path, step=0, total_steps=10) as log:
        log.scalars(1, {"loss": 1.0})
        monkeypatch.setattr(tensorboard.event_file_writer.EventsWriter, "write_event", fail)
        for step in (2, 3):
            log.scalars(step, {"loss": 1.0})
    shown = capsys.readouterr().out
    assert_names(shown, "step 2", "No space left", logs.METRICS_FILE)
    assert "step 3" not in shown
    lines = (tmp_path / logs.METRICS_FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
