"""Names of the scalars in a run's log, in the order in which pages show them."""

from collections.abc import Sequence

_PARTS = ("nce", "alignment", "invariance", "variance", "covariance")


def loss_names(lines: Sequence[dict]) -> list[str]:
    """Returns the names of the loss and of the parts that this objective has."""
    return [name for name in ("loss", *_PARTS) if any(name in line for line in lines)]


def health_names(lines: Sequence[dict]) -> list[str]:
    """Returns the names of the measures of the representation checks, in the order of the log."""
    return [n for n in dict.fromkeys(n for line in lines for n in line) if "/" in n]
