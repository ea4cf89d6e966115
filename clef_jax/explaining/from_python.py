"""`.explain` of a loaded model: a signal in memory."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import window as window_lib
from clef_jax.embedding.lead_selection import Lead
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.errors import UserError
from clef_jax.explaining import explanation as explanation_lib
from clef_jax.explaining.explanation import Explanation
from clef_jax.explaining.settings import Request
from clef_jax.formats import Opened
from clef_jax.leads import same_lead

_NAME = "the signal"


def explain(
    model: Pretrained,
    signal: Any,
    sample_rate_hz: float,
    lead: str | int | None = None,
    *,
    lead_names: Sequence[str] | None = None,
    unit: str | None = None,
    **options: Any,
) -> Explanation:
    """Explains the answer to one signal.

    Args:
        model: model with a head.
        signal, sample_rate_hz, lead, lead_names, unit: as in `Pretrained.embed`, but one signal. By
            default the lead is the one that the head was fitted to, if it is among the names.
        options: fields of `settings.Request`: method, output, start_seconds, patch_seconds, seed.

    Raises:
        UserError: there are several signals, an argument is wrong, or there is no answer to
            explain; the message says which.
    """
    request = Request(**options)
    if lead is None and lead_names is not None and model.in_channels == 1:
        fitted = Fitted.from_json(model.head.fitted if model.head else None).leads
        lead = next((x for x in fitted if any(same_lead(x, name) for name in lead_names)), None)
    model, signals = model.interpret(signal, lead, lead_names, unit)
    if len(signals.signal_mv) != 1:
        raise UserError(
            f"explain takes one signal, but there are {len(signals.signal_mv):,}; give one, or "
            "name the lead with lead=.",
            problem="several_signals",
        )
    signal_mv = signals.signal_mv[0]
    names = signals.lead_names or ("" if lead is None else str(lead),)
    names = names * (len(signal_mv) if len(names) == 1 else 1)
    opened = Opened(
        name=_NAME,
        lead_names=names,
        sample_rate_hz=window_lib.number(sample_rate_hz, "sampling rate", "Hz"),
        num_samples=signal_mv.shape[-1],
        unit_known=signals.unit_known,
        read=functools.partial(_slice, signal_mv),
    )
    chosen = Lead(names[0] or "0", tuple(range(len(signal_mv))))
    return explanation_lib.explain(model, opened, chosen, request)


def _slice(signal_mv: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    return signal_mv[:, start : start + num_samples]
