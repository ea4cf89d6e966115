"""Settings of `python -m clef_jax.explain`; importing them needs neither jax nor a file format."""

import dataclasses
import pathlib

import tyro

from clef_jax import command_line, plugin
from clef_jax.errors import WrongArgument
from clef_jax.formats import Hints

OCCLUSION, INTEGRATED_GRADIENTS = METHODS = ("occlusion", "integrated_gradients")
"""Methods; the default is the first, which suits every head."""
SUFFIX = ".html"
MIN_PATCH_SECONDS, MAX_PATCH_SECONDS = 0.05, 2.0
"""Shortest and longest part that may be occluded at a time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Answer to explain, and the method.

    Raises:
        WrongArgument: the method is unknown, or the patch too short or too long.
    """

    method: str = OCCLUSION
    output: str | None = None
    """Name of the output; by default the only one, or the most probable one."""
    start_seconds: float | None = None
    """Start of the window; by default that of the usable window with the highest answer."""
    patch_seconds: float = 0.2
    """Length of the parts that are occluded at a time; a segment is half as long."""
    seed: int = 0
    """Seed of the random heads, encoders and placements."""

    def __post_init__(self):
        if self.method not in METHODS:
            message = plugin.unknown("method", self.method, METHODS)
            raise WrongArgument(message, problem="unknown_method")
        if not MIN_PATCH_SECONDS <= self.patch_seconds <= MAX_PATCH_SECONDS:
            raise WrongArgument(
                f"A patch of {self.patch_seconds:g} s is not within {MIN_PATCH_SECONDS:g} to "
                f"{MAX_PATCH_SECONDS:g} s.",
                problem="wrong_patch",
            )
        command_line.check_seed(self.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Shows which parts of a recording moved the answer of a model, and checks the picture."""

    recording: tyro.conf.Positional[str]
    """File, or WFDB record, of any format that embed reads."""
    model: command_line.Model
    """A model folder with a head, as fit writes it, a file of weights with a classifier, or
    hf:ORG/NAME@COMMIT."""
    out: str
    """Page to write: .html."""
    output: str | None = None
    """Output of the head to explain; by default the only one, or the most probable one."""
    method: str = OCCLUSION
    """occlusion: how the answer changes when a part is missing, for every head; or
    integrated_gradients: shares of the answer's distance from that to a flat line."""
    lead: str | None = None
    """Lead to explain, by name or by number from 0; by default the one that the head was fitted to,
    where the recording has it, else the only one."""
    start_seconds: float | None = None
    """Start of the window to explain; by default that of the usable window with the highest
    answer."""
    patch_seconds: float = 0.2
    """Length of the parts that are occluded at a time; the picture has steps of half of it."""
    record: str | None = None
    """Name of the recording in a file or data set that holds several."""
    variant: str | None = None
    """Preprocessing of a published encoder; by default the first that it has."""
    sample_rate_hz: float | None = None
    """Sampling rate in Hz of a file that does not state one (NPY, CSV)."""
    unit: str | None = None
    """Unit of a file that does not state one: mV, uV, V, or adc for ADC units."""
    gain_per_mv: float | None = None
    """ADC units per millivolt, for a file without a gain."""
    lead_names: tuple[str, ...] | None = None
    """Lead names, in order, of a file that names no leads."""
    seed: int = 0
    """Seed of the random heads, encoders and placements of the checks."""
    overwrite: bool = False
    """Replace a file that explain did not write; otherwise it is an error."""

    def __post_init__(self):
        if self.path.suffix != SUFFIX:
            raise WrongArgument(f"--out={self.out} must end in {SUFFIX}.")
        command_line.check_positive(self, "sample_rate_hz", "gain_per_mv")
        self.hints  # noqa: B018 - rejects an unknown unit now, not at the file
        self.request  # noqa: B018 - rejects an unknown method now

    @property
    def path(self) -> pathlib.Path:
        """Page to write."""
        return pathlib.Path(self.out).expanduser()

    @property
    def request(self) -> Request:
        """Answer to explain, and the method."""
        return Request(
            method=self.method,
            output=self.output,
            start_seconds=self.start_seconds,
            patch_seconds=self.patch_seconds,
            seed=self.seed,
        )

    @property
    def hints(self) -> Hints:
        """Values of the settings for what the file does not state itself."""
        return Hints.of_settings(self)
