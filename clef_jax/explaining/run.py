"""Explains the answer to a recording of a file, and writes the page."""

import itertools

import rich.console

from clef_jax import files
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import inputs, lead_selection, prediction, pretrained
from clef_jax.embedding.lead_selection import Lead
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.errors import UserError, counted, printable
from clef_jax.explaining import explanation as explanation_lib, page
from clef_jax.explaining.settings import Config
from clef_jax.finding import Finding
from clef_jax.formats import Opened, Survey
from clef_jax.leads import same_lead

_MOST_NAMES = 8
"""Most names that a message lists."""
_MOST_RECORDINGS = 1000
"""Most recordings whose names are compared before a message lists some of them."""


def run(config: Config) -> int:
    """Explains the answer and writes the page; returns 0.

    Raises:
        UserError: the recording cannot be read, the model has no head, or there is no answer to
            explain; the message says which.
    """
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    files.check_output(config.path, page.is_page, overwrite=config.overwrite)
    notes: list[Finding] = []
    opened = open_recording(config, notes)
    model = pretrained.load(config.model, variant=config.variant)
    prediction.require_head(model.head, model.name)
    if config.lead:
        model = model.for_leads([config.lead])
    lead = choose_lead(model, opened, config.lead, notes)
    explained = explanation_lib.explain(model, opened, lead, config.request)
    explained.save(config.path, overwrite=config.overwrite)
    for note in notes:
        console.print(printable(f"Note: {note.problem}: {note.detail}"))
    for sentence in page.summary(explained):
        console.print(printable(sentence))
    console.print(f"The picture and its checks are in {printable(str(config.path))}.")
    return 0


def open_recording(config: Config, notes: list[Finding]) -> Opened:
    """Returns the recording that the settings name.

    Args:
        config: the settings.
        notes: receives findings about the recording.

    Raises:
        UserError: there is no such recording, it cannot be read, or there are several.
    """
    survey = Survey()
    given = list(inputs.files((config.recording,), survey))
    notes += survey.refused
    recordings = inputs.recordings(given, config.hints, notes.append)
    if config.record is not None:
        names = []
        for opened in itertools.islice(recordings, _MOST_RECORDINGS):
            if config.record in (opened.name, opened.part, opened.name.rpartition("/")[2]):
                notes[:] = [note for note in notes if note.record_id == opened.name]
                return opened
            names.append(opened.name)
        raise UserError(
            f"{config.recording} holds no recording {config.record!r}. {_listed(names)}",
            problem="unknown_recording",
        )
    found = list(itertools.islice(recordings, _MOST_NAMES + 1))
    if not found:
        details = " ".join(dict.fromkeys(note.detail for note in notes))
        raise UserError(
            f"{config.recording} holds no recording that can be read. {details}".rstrip(),
            problem=notes[0].problem if notes else "no_recording",
        )
    if len(found) > 1:
        raise UserError(
            f"{config.recording} holds several recordings; name one with --record. "
            f"{_listed([opened.name for opened in found])}",
            problem="several_recordings",
        )
    return found[0]


def _listed(names: list[str]) -> str:
    if not names:
        return "No recording could be read."
    shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    return f"It holds {shown}."


def choose_lead(
    model: Pretrained, opened: Opened, wanted: str | None, notes: list[Finding]
) -> Lead:
    """Returns the lead to explain, or all leads that the encoder takes at once.

    Args:
        model: model with a head.
        opened: the recording.
        wanted: name or number of the lead; by default the one that the head was fitted to, or the
            only one.
        notes: receives a finding if a similar lead replaces the requested one.

    Raises:
        UserError: the recording lacks the lead, or has several and none is requested.
    """
    from clef_jax.finding import Defect

    in_channels = model.in_channels
    if wanted is None and in_channels == 1 and len(opened.lead_names) > 1:
        fitted = Fitted.from_json(model.head.fitted if model.head else None).leads
        has = [x for x in fitted if any(n and same_lead(x, n) for n in opened.lead_names)]
        if not has:
            names = ", ".join(name or str(n) for n, name in enumerate(opened.lead_names))
            raise UserError(
                f"{opened.name} has {counted(len(opened.lead_names), 'lead')} ({names}), and none "
                "is known to be that of the fit; name one with --lead, or lead= in Python.",
                problem="several_leads",
            )
        wanted = has[0]
    try:
        chosen = (wanted or lead_selection.ALL_LEADS,)
        return lead_selection.select(opened, chosen, in_channels, notes.append)[0]
    except Defect as defect:
        raise UserError(defect.detail, problem=defect.problem) from None
