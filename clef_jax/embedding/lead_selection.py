"""Selects the leads of a recording to embed.

Shapes: C leads that the encoder takes at once.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from clef_jax import lead_order, leads as leads_lib, plugin
from clef_jax.errors import UserError, counted
from clef_jax.finding import Defect, Finding, encodable
from clef_jax.formats import Opened

ALL_LEADS = "all"

_MOST_NAMES = 24
"""Most names of leads that a message lists."""

ReportFinding = Callable[[Finding], None]
"""Receives a finding about a recording."""


class Lead(NamedTuple):
    """One lead, or the leads that the encoder takes at once."""

    name: str
    rows: tuple[int, ...]
    """Rows of the leads in the recording, [C]."""


def select(
    opened: Opened, wanted: Sequence[str], in_channels: int, report_finding: ReportFinding
) -> tuple[Lead, ...]:
    """Selects the leads of a recording to embed.

    Args:
        wanted: `all`, or names of leads, or their numbers from 0.
        in_channels: number of leads that the encoder takes at once.
        report_finding: receives a finding if a similar lead replaces a requested one.

    Raises:
        Defect: the recording lacks a lead that is requested, or that the encoder needs.
    """
    if in_channels > 1:
        rows = tuple(_row(name, opened) for name in leads_lib.STANDARD_12)
        if len(rows) != in_channels:
            raise Defect(
                "missing_lead",
                f"The encoder takes {counted(in_channels, 'unnamed lead')}, but only 12 are "
                "supported.",
            )
        return (Lead(counted(len(rows), "lead"), rows),)
    if ALL_LEADS in wanted:
        names = [encodable(name) for name in opened.lead_names]
        return tuple(Lead(name or str(n), (n,)) for n, name in enumerate(names))
    return tuple(_by_name(name, opened, report_finding) for name in wanted)


def in_none(wanted: Sequence[str], recordings: Iterable[tuple[str, ...]]) -> str | None:
    """Returns a sentence about the requested leads that no recording has, None if there are none.

    Args:
        wanted: `all`, or names of leads, or their numbers from 0.
        recordings: names of the leads of each recording.
    """
    recordings = set(recordings)
    missing = [
        name
        for name in wanted
        if name != ALL_LEADS and not any(_has(name, names) for names in recordings)
    ]
    if not missing or not recordings:
        return None
    stored = sorted({name or "(without a name)" for names in recordings for name in names})
    sentences = []
    for name in missing:
        known = leads_lib.is_standard(name) or leads_lib.stands_for(name) or leads_lib.is_ecg(name)
        unknown = "" if known or name.isdecimal() else ", and it is no known lead"
        hint = plugin.did_you_mean(name, stored)
        sentences.append(f"No recording has lead {name!r}{unknown}.{hint}")
    shown = ", ".join(stored[:_MOST_NAMES]) + (", ..." if len(stored) > _MOST_NAMES else "")
    return " ".join([*sentences, f"The recordings have {shown}."])


def _has(wanted: str, names: tuple[str, ...]) -> bool:
    if names == ("",):
        return True  # an unnamed single lead is taken for the requested one
    if wanted.isdecimal() and int(wanted) < len(names):
        return True
    return any(leads_lib.same_lead(wanted, name) for name in names)


def _by_name(name: str, opened: Opened, report_finding: ReportFinding) -> Lead:
    if opened.lead_names == ("",):
        return Lead(name, (0,))  # an unnamed single lead is taken for the requested one
    row = _row(name, opened)
    own_name = opened.lead_names[row]
    if own_name and leads_lib.normalize(own_name) != leads_lib.normalize(name):
        detail = f"Lead {own_name} replaces lead {name}, whose waves are similar."
        report_finding(Finding(opened.name, "other_lead", own_name, detail, "kept"))
    return Lead(encodable(own_name or name), (row,))


def _row(name: str, opened: Opened) -> int:
    if name.isdecimal() and int(name) < len(opened.lead_names):
        return int(name)
    try:
        return lead_order.find(name, opened.lead_names)
    except UserError as error:
        raise Defect("missing_lead", str(error), name) from None
