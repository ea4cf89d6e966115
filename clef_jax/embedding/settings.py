"""Settings of `python -m clef_jax.embed`; importing them needs neither jax nor a file format."""

import dataclasses
import pathlib

from clef_jax import command_line, plugin
from clef_jax.embedding import lead_selection
from clef_jax.errors import WrongArgument
from clef_jax.formats import Hints
from clef_jax.training import Weights

MEAN, EACH_WINDOW = "mean", "each"
SKIPPED, NOTHING_READ = 3, 2
"""Exit codes of the command when it skipped a recording, and when it could read none."""

PARQUET, NPZ = SUFFIXES = (".parquet", ".npz")
"""Suffixes of the files that embeddings are written to."""


def check_suffix(path: pathlib.Path) -> None:
    """Raises WrongArgument if embeddings cannot be written to a file of that name."""
    if path.suffix not in SUFFIXES:
        raise WrongArgument(f"--out={path} must end in {' or '.join(SUFFIXES)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Embeds recordings of any file format, sampling rate and length."""

    model: command_line.Model
    """Workdir of a training run, a model folder, a file of weights, or hf:ORG/NAME@COMMIT."""
    input: tuple[str, ...]
    """Files, folders, WFDB records, or prepared data sets."""
    out: str
    """File to write: .parquet or .npz."""
    weights: Weights = "trained"
    """Weights of a training run: trained, those of its last step, or ema, the moving average that a
    run with --ema-decay keeps."""
    variant: str | None = None
    """Preprocessing of a published encoder: prescribed by its authors, as_reference, or another
    that it has; by default the first."""
    layer: str = "last"
    """Layer whose output is written: last, a stage such as stage_5, or all, side by side."""
    lead: tuple[str, ...] = (lead_selection.ALL_LEADS,)
    """Leads to embed: all, names such as I II V5, or numbers from 0 where a file names no leads."""
    windows: str = MEAN
    """Rows to write: the mean of a recording's windows, or each window."""
    stride_seconds: float | None = None
    """Seconds from the start of one window to the start of the next; by default windows do not
    overlap."""
    sample_rate_hz: float | None = None
    """Sampling rate in Hz of files that do not state one (NPY, CSV); by default such files are
    skipped."""
    unit: str | None = None
    """Unit of files that do not state one: mV, uV, V, or adc for ADC units."""
    gain_per_mv: float | None = None
    """ADC units per millivolt, for files without a gain."""
    lead_names: tuple[str, ...] | None = None
    """Lead names, in order, of files that name no leads."""
    overwrite: bool = False
    """Replace a file that is not a table of embeddings; otherwise it is an error."""

    def __post_init__(self):
        if self.windows not in (MEAN, EACH_WINDOW):
            message = plugin.unknown("value of --windows", self.windows, (MEAN, EACH_WINDOW))
            raise WrongArgument(message)
        check_suffix(self.path)
        command_line.check_positive(self, "sample_rate_hz", "gain_per_mv", "stride_seconds")
        self.hints  # noqa: B018 - rejects an unknown unit now, not at the first file

    @property
    def path(self) -> pathlib.Path:
        """File to write."""
        return pathlib.Path(self.out).expanduser()

    @property
    def report(self) -> pathlib.Path:
        """File that lists the problems of recordings, one JSON object per line."""
        return self.path.with_name(f"{self.path.name}.quality.jsonl")

    @property
    def hints(self) -> Hints:
        """Values of the settings for what files do not state themselves."""
        return Hints.of_settings(self)
