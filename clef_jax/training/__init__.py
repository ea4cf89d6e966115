"""Pre-training: state, step, loop, checkpoints, and the processes of one run."""

from typing import Literal

CHECKPOINTS_FOLDER = "checkpoints"
"""Folder in a run's workdir that holds its checkpoints; it marks a training run."""

TRAINED, EMA = "trained", "ema"
"""Weights that a run keeps: those of its last step, and their exponential moving average."""

Weights = Literal["trained", "ema"]
