"""Parts of recordings on their way to the encoder: which leads, which windows, what was seen.

Shapes: L leads of a recording, C leads that the encoder takes at once, W windows, S samples of a
window.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clef_jax import lead_order, leads as leads_lib
from clef_jax.embedding import window as window_lib
from clef_jax.embedding.inputs import Tell
from clef_jax.embedding.window import Windower
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding
from clef_jax.formats import Opened

ALL_LEADS = "all"


class Lead(NamedTuple):
    """What the encoder takes at once."""

    name: str
    rows: tuple[int, ...]
    """[C], among the recording's."""


@dataclasses.dataclass(eq=False)
class Passing:
    """A recording that is being read."""

    opened: Opened
    leads: tuple[Lead, ...]
    cutter: Windower
    starts: np.ndarray
    """[W], first sample of each window."""
    failed: bool = False


class Piece(NamedTuple):
    """Some windows of all chosen leads of a recording."""

    recording: Passing
    first: int
    """The number of its first window."""
    windows: np.ndarray
    """float32 [leads, W, C, S], at the encoder's rate."""
    looks: tuple[window_lib.WindowQuality, ...]
    """Of each lead."""


class Place(NamedTuple):
    """Which window of which lead a row of a batch is."""

    recording: Passing
    lead: int
    window: int
    missing_fraction: float
    problems: tuple[str, ...]
    usable: bool


def choose(opened: Opened, wanted: Sequence[str], in_channels: int, tell: Tell) -> tuple[Lead, ...]:
    """Which leads of a recording are embedded.

    Raises:
        Defect: it lacks a lead that is asked for, or that the encoder needs.
    """
    if in_channels > 1:
        rows = tuple(_row(name, opened) for name in leads_lib.STANDARD_12)
        if len(rows) != in_channels:
            raise Defect("missing_lead", f"The encoder takes {in_channels} leads without names.")
        return (Lead(f"{len(rows)} leads", rows),)
    if ALL_LEADS in wanted:
        return tuple(Lead(name or str(n), (n,)) for n, name in enumerate(opened.lead_names))
    return tuple(_one(name, opened, tell) for name in wanted)


def read(recording: Passing, first: int, count: int) -> Piece:
    """Reads windows, looks at them and resamples them.

    Raises:
        Defect: they can no longer be read.
    """
    opened, cutter = recording.opened, recording.cutter
    starts = recording.starts[first : first + count]
    begin = int(starts[0])
    end = min(int(starts[-1]) + cutter.num_samples, opened.num_samples)
    signal_mv = opened.read(begin, end - begin)
    rows = np.array([lead.rows for lead in recording.leads])
    cut = window_lib.cut(signal_mv[rows], cutter.num_samples, starts - begin)  # [leads, C, W, S]
    looks = tuple(
        window_lib.worst([_look(channel, opened) for channel in channels]) for channels in cut
    )
    return Piece(recording, first, cutter.resample(cut.swapaxes(1, 2)), looks)


def one_by_one(piece: Piece) -> Iterator[tuple[Place, np.ndarray]]:
    """Its windows [C, S], lead after lead."""
    for lead, (windows, look) in enumerate(zip(piece.windows, piece.looks, strict=True)):
        seen = zip(look.missing_fraction.tolist(), look.problems, look.usable.tolist(), strict=True)
        for number, (window, what) in enumerate(zip(windows, seen, strict=True)):
            yield Place(piece.recording, lead, piece.first + number, *what), window


def _look(channel: np.ndarray, opened: Opened) -> window_lib.WindowQuality:
    return window_lib.assess(channel, opened.sample_rate_hz, unit_known=opened.unit_known)


def _one(name: str, opened: Opened, tell: Tell) -> Lead:
    if opened.lead_names == ("",):
        return Lead(name, (0,))  # the only lead, without a name, is the one that is meant
    row = _row(name, opened)
    found = opened.lead_names[row]
    if found and leads_lib.usual(found) != leads_lib.usual(name):
        detail = f"Lead {found} stands in for lead {name}: its waves are alike."
        tell(Finding(opened.name, "other_lead", found, detail, "kept"))
    return Lead(found or name, (row,))


def _row(name: str, opened: Opened) -> int:
    if name.isdecimal() and int(name) < len(opened.lead_names):
        return int(name)
    try:
        return lead_order.find(name, opened.lead_names)
    except UserError as error:
        raise Defect("missing_lead", str(error), name) from None
