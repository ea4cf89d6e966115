"""Explains the answer to one window of a recording.

Shapes: C leads that the encoder takes at once, n segments, M occluded copies of a window.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from clef_jax import files
from clef_jax.answers import answer as answer_lib
from clef_jax.answers.answer import Answers
from clef_jax.answers.fitted import Fitted
from clef_jax.embedding import batch, prediction
from clef_jax.embedding.head import Head
from clef_jax.embedding.lead_selection import Lead
from clef_jax.embedding.pretrained import Pretrained
from clef_jax.errors import UserError
from clef_jax.explaining import occlusion, target as target_lib, window as window_lib
from clef_jax.explaining.checks import Checks
from clef_jax.explaining.method import Explainer, Picture
from clef_jax.explaining.settings import Request
from clef_jax.explaining.target import Target
from clef_jax.explaining.window import Window
from clef_jax.finding import Defect
from clef_jax.formats import Opened
from clef_jax.leads import STANDARD_12

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Contribution of each part of a window to its answer, with checks of that picture."""

    recording: str
    """Name of the recording."""
    lead_names: tuple[str, ...]
    """Names of the C leads."""
    target: Target
    method: str
    window: Window
    segment_seconds: float
    """Length of a segment."""
    picture: Picture
    """The contributions with what the method says about them."""
    recorded: np.ndarray
    """Segments that were recorded, bool [n]."""
    score: float
    """The explained number for the window, in `unit`."""
    answers: Answers
    """Answers to the window."""
    recording_answers: Answers | None
    """Answers to the recording; None if only one window of it was read."""
    num_windows: int
    """Number of windows of the recording that were read."""
    num_usable: int
    """Number of usable ones."""
    checks: Checks
    flags: tuple[str, ...]
    """Problem codes of what is unlike the recordings that the head was fitted to."""
    unit_known: bool
    """Whether the recording is in millivolts."""
    model_name: str
    model_fingerprint: str
    """SHA-256 digest of the encoder's weights and preprocessing."""
    head_fingerprint: str
    """SHA-256 digest of the head."""
    seed: int

    @property
    def output(self) -> str:
        """Name of the explained output."""
        return self.target.name

    @property
    def unit(self) -> str:
        """Unit of the contributions: `log-odds`, or `value` of a regression."""
        return self.target.unit

    @property
    def contributions(self) -> np.ndarray:
        """How far each segment raises the answer, in `unit`, float64 [C, n]; negative where it
        lowers it. Occlusion does not separate the leads: C is 1."""
        return self.picture.contributions

    @property
    def start_seconds(self) -> float:
        """Start of the window in seconds from the start of the recording."""
        return self.window.start_seconds

    @property
    def segment_start_seconds(self) -> np.ndarray:
        """Start of each segment in seconds from the start of the recording, [n]."""
        count = self.contributions.shape[1]
        return self.start_seconds + self.segment_seconds * np.arange(count)

    def plot(self) -> "Figure":
        """Plots the window on ECG paper, with what moved the answer."""
        from clef_jax.explaining import plot

        return plot.plot(self)

    def page(self) -> str:
        """Returns the page with the picture, its checks and its limits as HTML."""
        from clef_jax.explaining import page

        return page.render(self)

    def save(self, path: str | pathlib.Path, *, overwrite: bool = False) -> pathlib.Path:
        """Writes the page and returns its path.

        Raises:
            UserError: the file exists and is no such page, or cannot be written.
        """
        from clef_jax.explaining import page

        path = pathlib.Path(path).expanduser()
        files.check_output(path, page.is_page, overwrite=overwrite)
        files.write_text(path, self.page())
        return path


def explain(model: Pretrained, opened: Opened, lead: Lead, request: Request) -> Explanation:
    """Explains the answer to one window of a recording.

    Args:
        model: model with a head.
        opened: the recording.
        lead: its lead, or the leads that the encoder takes at once.
        request: what to explain.

    Raises:
        UserError: the model has no head, the method does not suit it, the output is unknown, or
            there is no answer to explain; the message says which.
    """
    try:
        return _explain(model, opened, lead, request)
    except Defect as defect:
        raise UserError(defect.detail, problem=defect.problem) from None


def _explain(model: Pretrained, opened: Opened, lead: Lead, request: Request) -> Explanation:
    head = prediction.require_head(model.head, model.name)
    encoder, part = prediction.encoder_of(head, model.embedder)
    windower = batch.make_windower(encoder, opened.sample_rate_hz)
    first = window_lib.starts(windower, opened, request.start_seconds)
    scan = window_lib.scan(encoder, part, windower, opened, lead, first)
    answers = answer_lib.answer(head, scan.mean)
    known = answers.values if answers.probabilities is None else answers.probabilities
    assert known is not None
    target = target_lib.choose(head, request.output, known)
    scores = np.where(scan.usable, target.score(scan.features), -np.inf)
    number = int(np.argmax(scores))
    window = window_lib.read(windower, opened, lead, int(scan.first[number]), scan.problems[number])
    num_segments = round(window.seconds / request.patch_seconds * occlusion.PATCH_SEGMENTS)
    explainer = Explainer(model.embedder, head, request.method, window, num_segments)
    picture = explainer.picture(target)
    return Explanation(
        recording=opened.name,
        lead_names=(lead.name,) if len(lead.rows) == 1 else STANDARD_12,
        target=target,
        method=request.method,
        window=window,
        segment_seconds=window.seconds / num_segments,
        picture=picture,
        recorded=window.is_recorded(num_segments),
        score=float(scores[number]),
        answers=answer_lib.answer(head, scan.features[number]),
        recording_answers=None if request.start_seconds is not None else answers,
        num_windows=len(scan.first),
        num_usable=int(scan.usable.sum()),
        checks=explainer.check(target, picture, request.seed),
        flags=_flags(head, opened, lead),
        unit_known=opened.unit_known,
        model_name=model.name,
        model_fingerprint=model.fingerprint,
        head_fingerprint=answer_lib.fingerprint(head),
        seed=request.seed,
    )


def _flags(head: Head, opened: Opened, lead: Lead) -> tuple[str, ...]:
    is_named = len(lead.rows) == 1 and bool(lead.name) and not lead.name.isdecimal()
    return Fitted.from_json(head.fitted).outside(
        sample_rate_hz=opened.sample_rate_hz,
        lead=lead.name if is_named else None,
        age_years=opened.patient.age_years,
    )
