"""Undoes the decimation of SCP-ECG's bimodal compression.

Within the protected zones around the beats all samples are stored. Between them, one value stands
for several samples. As in public decoders, it is the value of the middle one, the later of two; the
others are interpolated, and the first and last values are held.
"""

import dataclasses

import numpy as np

from clef_jax.formats._scp_sections import Lead


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the values of a lead are stored."""

    segments: tuple[tuple[int, bool], ...]
    """Number of samples of consecutive segments, and whether they are protected."""
    factor: int
    """Number of samples that a value stands for."""
    copies_rest: bool
    """Whether the samples at the end of a segment that are fewer than `factor` are all stored;
    otherwise one value stands for them."""

    @property
    def num_samples(self) -> int:
        """Number of samples after the restoration."""
        return sum(length for length, _ in self.segments)

    @property
    def num_values(self) -> int:
        """Number of values that are stored."""
        return sum(self._split(*segment)[2] for segment in self.segments)

    def _split(self, length: int, is_protected: bool) -> tuple[int, int, int]:
        """Returns the numbers of decimated values, of whole samples after them, and of both."""
        if is_protected:
            return 0, length, length
        decimated, rest = divmod(length, self.factor)
        if self.copies_rest:
            return decimated, rest, decimated + rest
        decimated += rest > 0
        return decimated, 0, decimated

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Returns the samples, float64 [T], of stored values, int64 [N]."""
        parts, at = [np.zeros(0)], 0
        for segment in self.segments:
            decimated, whole, stored = self._split(*segment)
            if decimated:
                centers = self.factor // 2 + self.factor * np.arange(decimated)
                samples = np.arange(segment[0] - whole)
                parts.append(np.interp(samples, centers, values[at : at + decimated]))
            parts.append(values[at + decimated : at + stored].astype(np.float64))
            at += stored
        return np.concatenate(parts)


def split(lead: Lead, zones: tuple[tuple[int, int], ...]) -> tuple[tuple[int, bool], ...]:
    """Returns the segments of a lead within and between zones of first and last samples."""
    segments: list[tuple[int, bool]] = []
    at = lead.start
    for start, end in sorted(zones):
        start, end = max(start, at), min(end, lead.end)
        if start > end:
            continue
        segments += [(start - at, False), (end - start + 1, True)]
        at = end + 1
    segments.append((lead.end - at + 1, False))
    return tuple(segment for segment in segments if segment[0])
