"""Selects the leads of a recording that are embedded.

Shapes: C leads that the encoder takes at once.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from clef_jax import lead_order, leads as leads_lib
from clef_jax.errors import UserError
from clef_jax.finding import Defect, Finding
from clef_jax.formats import Opened

ALL_LEADS = "all"

ReportFinding = Callable[[Finding], None]
"""Is called with what is wrong with a recording."""


class Lead(NamedTuple):
    """What the encoder takes at once."""

    name: str
    rows: tuple[int, ...]
    """[C], the leads' numbers in the recording."""


def select(
    opened: Opened, wanted: Sequence[str], in_channels: int, report_finding: ReportFinding
) -> tuple[Lead, ...]:
    """Selects the leads of a recording that are embedded.

    Args:
        wanted: `all`, or names of leads, or their numbers from 0.
        in_channels: leads that the encoder takes at once.
        report_finding: is called where a similar lead replaces the one that was asked for.

    Raises:
        Defect: the recording lacks a lead that is asked for, or that the encoder needs.
    """
    if in_channels > 1:
        rows = tuple(_row(name, opened) for name in leads_lib.STANDARD_12)
        if len(rows) != in_channels:
            raise Defect("missing_lead", f"The encoder takes {in_channels} leads without names.")
        return (Lead(f"{len(rows)} leads", rows),)
    if ALL_LEADS in wanted:
        return tuple(Lead(name or str(n), (n,)) for n, name in enumerate(opened.lead_names))
    return tuple(_by_name(name, opened, report_finding) for name in wanted)


def _by_name(name: str, opened: Opened, report_finding: ReportFinding) -> Lead:
    if opened.lead_names == ("",):
        return Lead(name, (0,))  # the only lead, without a name, is the one that is meant
    row = _row(name, opened)
    own_name = opened.lead_names[row]
    if own_name and leads_lib.usual(own_name) != leads_lib.usual(name):
        detail = f"Lead {own_name} stands in for lead {name}: its waves are alike."
        report_finding(Finding(opened.name, "other_lead", own_name, detail, "kept"))
    return Lead(own_name or name, (row,))


def _row(name: str, opened: Opened) -> int:
    if name.isdecimal() and int(name) < len(opened.lead_names):
        return int(name)
    try:
        return lead_order.find(name, opened.lead_names)
    except UserError as error:
        raise Defect("missing_lead", str(error), name) from None
