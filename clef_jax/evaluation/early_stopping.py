"""Training that stops when its validation loss stops improving, and keeps the best parameters."""

from collections.abc import Callable
from typing import Protocol, TypeVar

Params = TypeVar("Params")


class Settings(Protocol):
    """Settings of a training that stops early."""

    @property
    def max_epochs(self) -> int: ...
    @property
    def patience_epochs(self) -> int: ...
    @property
    def min_improvement(self) -> float: ...


def train(
    params: Params,
    run_epoch: Callable[[Params], Params],
    validation_loss: Callable[[Params], float],
    settings: Settings,
) -> tuple[Params, float, int]:
    """Trains until the validation loss stops improving.

    Args:
        params: Parameters at the start.
        run_epoch: Maps parameters to those after one more epoch.
        validation_loss: Computes the loss of parameters on the validation recordings.
        settings: Numbers of epochs, and the smallest improvement that counts.

    Returns:
        The parameters with the lowest validation loss, which may be those at the start, this loss,
        and the number of epochs.
    """
    best, best_loss, best_epoch, epoch = params, validation_loss(params), 0, 0
    for epoch in range(1, settings.max_epochs + 1):
        params = run_epoch(params)
        loss = validation_loss(params)
        if loss < best_loss - settings.min_improvement:
            best, best_loss, best_epoch = params, loss, epoch
        elif epoch - best_epoch >= settings.patience_epochs:
            break
    return best, best_loss, epoch
