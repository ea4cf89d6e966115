"""Names and weights of the prepared data sets that a run trains on.

A list is one text: a single name, or several names with weights, such as
`ptb_xl:0.5 chapman:0.2 mimic_iv_ecg:0.3`. So saved settings, and the settings of older runs, hold
one text whatever the number of data sets.
"""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from tyro.constructors import PrimitiveConstructorSpec

from clef_jax.errors import WrongArgument


class Entry(NamedTuple):
    """A prepared data set of a run."""

    name: str
    """NAME or NAME/CONFIG, with an optional version."""
    weight: float | None
    """Relative frequency with which its patients are sampled; None where every patient of all data
    sets is equally likely."""


def base_name(word: str) -> str:
    """Returns the name of a data set in NAME, NAME/CONFIG or NAME:WEIGHT."""
    return word.partition(":")[0].partition("/")[0]


def parse(text: str) -> tuple[Entry, ...]:
    """Returns the data sets of a list, in which blanks or commas stand between them.

    Raises:
        WrongArgument: the list is empty, names a data set twice, has a weight that is no positive
            number, or has weights for some data sets only.
    """
    entries = tuple(_entry(word) for word in text.replace(",", " ").split())
    if not entries:
        raise WrongArgument("--dataset needs the name of a data set.", problem="no_dataset")
    if len(entries) == 1:
        return (Entry(entries[0].name, None),)
    names = [base_name(entry.name.strip("/")) for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise WrongArgument(
                f"--dataset names {name} twice. Its patients would be compared with themselves; "
                "name each data set once, in one configuration.",
                problem="duplicate_dataset",
            )
    weighted = [entry.weight is not None for entry in entries]
    if any(weighted) and not all(weighted):
        without = ", ".join(entry.name for entry in entries if entry.weight is None)
        raise WrongArgument(
            f"--dataset has no weight for {without}; give all data sets a weight, or none.",
            problem="missing_weight",
        )
    return entries


def _entry(word: str) -> Entry:
    name, colon, number = word.partition(":")
    if not colon:
        return Entry(name, None)
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not name or not (math.isfinite(weight) and weight > 0):
        raise WrongArgument(
            f"--dataset: {word} must be NAME or NAME:WEIGHT with a weight above 0, such as "
            "ptb_xl:0.5.",
            problem="wrong_weight",
        )
    return Entry(name, weight)


def normal(text: str) -> str:
    """Returns the one spelling of a list that settings keep, so that runs can be compared.

    Raises:
        WrongArgument: as `parse`.
    """
    return " ".join(
        entry.name if entry.weight is None else f"{entry.name}:{entry.weight:.12g}"
        for entry in parse(text)
    )


def _join(words: Sequence[str]) -> str:
    return " ".join(words)


Names = Annotated[
    str,
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME[:WEIGHT] ...",
        instance_from_str=_join,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=str.split,
    ),
]
"""Type of a setting that holds a list: `--dataset=NAME`, or `--dataset NAME:WEIGHT NAME:WEIGHT`."""
