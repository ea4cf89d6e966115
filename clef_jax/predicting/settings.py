"""Settings of `python -m clef_jax.predict`; importing them needs neither jax nor a file format."""

import dataclasses
import pathlib

from clef_jax import command_line
from clef_jax.embedding.settings import NOTHING_READ, SKIPPED
from clef_jax.errors import WrongArgument
from clef_jax.formats import Hints

__all__ = ["NOTHING_READ", "SKIPPED", "SUFFIXES", "Config"]

PARQUET, CSV, JSON_LINES = SUFFIXES = (".parquet", ".csv", ".jsonl")
"""Suffixes of the files that answers are written to."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Answers the questions of a model's head about recordings."""

    model: command_line.Model
    """A model folder with a head, as fit writes it, a file of weights with a classifier, or
    hf:ORG/NAME@COMMIT."""
    input: tuple[str, ...]
    """Files, folders, WFDB records, or prepared data sets."""
    out: str
    """File to write: .parquet, .csv or .jsonl, with a row for each answer."""
    each_window: bool = False
    """Answer for each window of 10 s and write a page with the answers over time, as for a Holter;
    by default there is one answer for each recording."""
    prevalence: tuple[str, ...] = ()
    """Fraction of positives among the people whose recordings these are: 0.02, or AF=0.02 where the
    head has several outputs. By default the one that the head assumes."""
    lead: tuple[str, ...] = ()
    """Leads to answer for: all, names such as I II V5, or numbers from 0 where a file names no
    leads. By default the one that the head was fitted to, where a recording has it, else all."""
    variant: str | None = None
    """Preprocessing of a published encoder; by default the first that it has."""
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
    """Replace files that predict did not write; otherwise it is an error."""

    def __post_init__(self):
        if self.path.suffix not in SUFFIXES:
            *first, last = SUFFIXES
            raise WrongArgument(f"--out={self.out} must end in {', '.join(first)} or {last}.")
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
    def about(self) -> pathlib.Path:
        """JSON file that states model, head, settings, intended use and limits."""
        return self.path.with_name(f"{self.path.name}.about.json")

    @property
    def page(self) -> pathlib.Path:
        """Page with the answers over time."""
        return self.path.with_name(f"{self.path.name}.html")

    @property
    def hints(self) -> Hints:
        """Values of the settings for what files do not state themselves."""
        return Hints.of_settings(self)
