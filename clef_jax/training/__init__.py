"""Pre-training: the state, the step, the loop, and the processes that take part."""

CHECKPOINTS_FOLDER = "checkpoints"
"""Folder of a run's workdir; a folder that holds it is a training run."""
