"""Checks whether a picture of an answer's causes deserves trust.

Adebayo et al. (2018) found that many such pictures look the same for a network that has learned
nothing. So the picture is compared with those of a randomly drawn head and of a randomly
initialised encoder, and what it marks is taken out of the signal to see whether the answer changes.

Shapes: D features, K outputs, C leads, n segments, M draws.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats
from flax import nnx

from clef_jax import models
from clef_jax.embedding import encoder as encoder_lib, foreign
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.foreign import ForeignEncoder
from clef_jax.explaining.target import Target

NUM_HEADS, NUM_ENCODERS, NUM_PLACEMENTS = 5, 3, 40
"""Numbers of random heads, of random encoders, and of random placements of the marked parts."""
MARKED_FRACTION = 0.1
"""Fraction of the recorded segments that is marked and occluded."""
MAX_CORRELATION = 0.5
"""Largest mean correlation, without its sign, at which two pictures count as different."""
MIN_PLACEMENTS = 0.95
"""Smallest fraction of random placements that must change the answer less than the marked parts."""
MAX_ERROR = 0.05
"""Largest error of the sum of integrated gradients, as a fraction of the change."""

SAME_HEAD, SAME_ENCODER = "same_for_random_head", "same_for_random_encoder"
INCOMPLETE = "incomplete"
RAISING_UNMOVED, LOWERING_UNMOVED = "raising_parts_do_not_matter", "lowering_parts_do_not_matter"
"""Codes of what speaks against a picture."""


@dataclasses.dataclass(frozen=True)
class Similarity:
    """Rank correlation of a picture with each of those of networks that have learned less."""

    signed: tuple[float, ...]
    """Spearman's correlation of the contributions of the segments."""
    sizes: tuple[float, ...]
    """The same without their signs: do both mark the same places?"""

    @property
    def is_same(self) -> bool:
        """Whether the pictures count as the same, upside down or not."""
        return float(np.mean(np.abs(self.signed))) > MAX_CORRELATION

    @property
    def marks_same_places(self) -> bool:
        """Whether the pictures mark the same places, in whatever colours."""
        return float(np.mean(self.sizes)) > MAX_CORRELATION


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Removal:
    """Change of the answer when marked parts are missing, beside random parts."""

    raises: bool
    """Whether the parts that raise the answer most are marked, or those that lower it most."""
    marked: np.ndarray
    """The marked segments, bool [n]."""
    change: float
    """Change of the explained number without the marked parts."""
    random_changes: np.ndarray
    """The same without random parts of the same lengths, [M]."""

    @property
    def fraction_below(self) -> float:
        """Fraction of the random placements that change the answer less in this direction."""
        sign = -1 if self.raises else 1
        return float(np.mean(sign * self.random_changes < sign * self.change))

    @property
    def matters(self) -> bool:
        """Whether the marked parts matter more than random ones."""
        return self.fraction_below >= MIN_PLACEMENTS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Checks:
    """Results of the checks."""

    head: Similarity
    """Comparison with randomly drawn heads on the same encoder."""
    encoder: Similarity | None
    """Comparison with randomly initialised encoders below the same head; None if the network has no
    random initialisation."""
    removals: tuple[Removal, ...]
    """For what raises the answer, and for what lowers it, if there is any."""
    error: float | None
    """Error of the sum of integrated gradients, as a fraction of the change; None for occlusion."""

    @property
    def marks_same_places(self) -> bool:
        """Whether random networks mark the same places, in whatever colours."""
        compared = (self.head, self.encoder)
        return any(item is not None and item.marks_same_places for item in compared)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Codes of what speaks against the picture; empty if nothing does."""
        found = {
            SAME_HEAD: self.head.is_same,
            SAME_ENCODER: self.encoder is not None and self.encoder.is_same,
            INCOMPLETE: self.error is not None and self.error > MAX_ERROR,
        }
        codes = [code for code, holds in found.items() if holds]
        for removal in self.removals:
            if not removal.matters:
                codes.append(RAISING_UNMOVED if removal.raises else LOWERING_UNMOVED)
        return tuple(codes)


def correlate(
    picture: np.ndarray, others: Sequence[np.ndarray], recorded: np.ndarray
) -> Similarity:
    """Returns the rank correlation of a picture [C, n] with others.

    Args:
        picture: contributions of the segments.
        others: contributions for networks that have learned less.
        recorded: segments that were recorded, bool [n]; the others are ignored.
    """
    own = picture[:, recorded].ravel()
    signed, sizes = [], []
    for other in others:
        theirs = other[:, recorded].ravel()
        signed.append(_spearman(own, theirs))
        sizes.append(_spearman(np.abs(own), np.abs(theirs)))
    return Similarity(tuple(signed), tuple(sizes))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the rank correlation; 0 if one of the two is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.asarray(scipy.stats.spearmanr(a, b))[0])


def random_heads(target: Target, seed: int) -> list[Target]:
    """Returns the same output of heads whose weights are drawn at random.

    Each weight is normally distributed with the size that it has in the fitted head, because a head
    of equal sizes would read only the few features of large numbers.
    """
    rng = np.random.default_rng(seed)
    weight = np.abs(target.head.weight)
    return [target.with_weights(weight * rng.normal(size=weight.shape)) for _ in range(NUM_HEADS)]


def random_encoder(encoder: Embedder | ForeignEncoder, seed: int) -> Embedder | ForeignEncoder:
    """Returns an encoder of the same structure with random weights.

    Raises:
        UserError: a published network has no random initialisation.
    """
    if isinstance(encoder, ForeignEncoder):
        other = foreign.untrained(
            encoder.key, encoder.mesh, seed=seed, variant=encoder.variant_name
        )
        return other if encoder.lead is None else other.for_lead(encoder.lead)
    network = encoder.encoder
    initialised = models.create_encoder(
        encoder.size,
        in_channels=network.in_channels,
        dtype=network.dtype,
        remat=network.remat,
        input_affine=network.input_affine,
        rngs=nnx.Rngs(seed),
    )
    return encoder_lib.of_encoder(
        initialised, encoder.mesh, name=encoder.name, recipe=encoder.recipe
    )


def mark(picture: np.ndarray, recorded: np.ndarray, *, raises: bool) -> np.ndarray:
    """Returns the recorded segments that raise the answer most, or lower it most, bool [n].

    They are at most `MARKED_FRACTION` of the recorded ones; those of the other sign never count.

    Args:
        picture: contributions of the segments, [C, n].
        recorded: segments that were recorded, bool [n].
        raises: whether to mark what raises the answer.
    """
    size = picture.sum(axis=0) * (1 if raises else -1)
    size = np.where(recorded, size, -np.inf)
    count = max(1, round(MARKED_FRACTION * int(recorded.sum())))
    marked = np.zeros(len(size), bool)
    marked[np.argsort(-size, kind="stable")[:count]] = True
    return marked & (size > 0)


def placements(marked: np.ndarray, recorded: np.ndarray, seed: int) -> np.ndarray:
    """Returns random placements of the marked parts, bool [M, n].

    Each placement has as many parts of the same lengths, in recorded segments only.
    """
    rng = np.random.default_rng(seed)
    own = marked[recorded]
    changes = np.flatnonzero(np.diff(np.concatenate([[False], own, [False]]).astype(int)))
    lengths = changes[1::2] - changes[::2]
    num_free = int((~own).sum())
    placed = np.zeros((NUM_PLACEMENTS, len(marked)), bool)
    where = np.flatnonzero(recorded)
    for row in placed:
        # Parts stand before free segments; two of them may touch.
        before = np.sort(rng.integers(0, num_free + 1, len(lengths)))
        shuffled = rng.permutation(lengths)
        starts = before + np.concatenate([[0], np.cumsum(shuffled)[:-1]])
        for start, length in zip(starts, shuffled, strict=True):
            row[where[start : start + length]] = True
    return placed


def remove(
    picture: np.ndarray,
    recorded: np.ndarray,
    change: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> tuple[Removal, ...]:
    """Takes the marked parts out of the signal, and random parts of the same lengths.

    Args:
        picture: contributions of the segments, [C, n].
        recorded: segments that were recorded, bool [n].
        change: maps occluded segments, bool [M, n], to changes of the explained number, [M].
        seed: seed of the random placements.
    """
    removals = []
    for raises in (True, False):
        marked = mark(picture, recorded, raises=raises)
        if not marked.any():
            continue
        changes = change(np.concatenate([marked[None], placements(marked, recorded, seed)]))
        removals.append(
            Removal(
                raises=raises, marked=marked, change=float(changes[0]), random_changes=changes[1:]
            )
        )
    return tuple(removals)
