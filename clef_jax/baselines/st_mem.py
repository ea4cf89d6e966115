"""ST-MEM: a vision transformer over patches of 75 samples (Na et al. 2024, arXiv 2402.09450).

A token is a patch of one lead. A separator precedes and follows each lead's patches; every token of
a lead carries the lead's vector. All tokens of all leads attend to each other.

Shapes: B batch, C leads, T time (samples), n patches of a lead, D = 768 features.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clef_jax.baselines import Context, _network
from clef_jax.baselines._network import Network
from clef_jax.embedding import published
from clef_jax.embedding.encoder import Encoder
from clef_jax.errors import UserError

TITLE = "ST-MEM"
_PATCH_SAMPLES, _WIDTH, _NUM_BLOCKS, _NUM_HEADS, _HIDDEN = 75, 768, 12, 12, 3072
_SIGNATURE = "sep_embedding"
_MARK = "block0.attn.fn.to_qkv.weight"
_LEAD = re.compile(r"lead_embeddings\.\d+")
_DECODER = re.compile(
    r"(?:to_decoder_embedding|decoder_(?:blocks|norm|head))\..+|mask_embedding|decoder_pos_embed"
)
"""Arrays of the masked auto-encoder that its encoder does not use."""
_ALIAS = "to_patch_embedding."
"""Arrays that the masked auto-encoder's file holds a second time, outside its encoder."""


_RATE_HZ, _CROP, _STARTS = 250.0, 2250, (0, 125, 250)
"""Sampling rate, number of samples of a view, and first samples of the views that are averaged."""


class STMEM(Network):
    """The encoder of ST-MEM."""

    @property
    def in_channels(self) -> int:
        return sum(_LEAD.fullmatch(key) is not None for key in self.weights)

    def stages(self, signal: jax.Array) -> Iterator[tuple[str, jax.Array]]:
        patches = self._patches(signal)
        yield "to_patch_embedding", patches
        num_leads, num_patches = patches.shape[1:3]
        tokens = self._tokens(patches)
        yield "block0 input", tokens
        for number in range(_NUM_BLOCKS):
            tokens = self._block(f"block{number}", tokens)
            yield f"block{number}", tokens
        mean = self._mean(tokens, num_leads, num_patches)
        yield "mean", mean
        yield "features", self.layer_norm("norm", mean)

    def layers(self, signal: jax.Array) -> dict[str, jax.Array]:
        num_leads, num_patches = signal.shape[2], signal.shape[1] // _PATCH_SAMPLES
        features = {}
        for name, value in self.stages(signal):
            if value.ndim == 3 and not name.endswith("input"):
                features[name] = self._mean(value, num_leads, num_patches)
        return features | {"features": value}

    def time_steps(self, signal: jax.Array) -> dict[str, jax.Array]:
        batch, num_leads = signal.shape[0], signal.shape[2]
        steps = {}
        for name, value in self.stages(signal):
            if value.ndim == 3 and not name.endswith("input"):
                by_lead = value.reshape(batch, num_leads, -1, _WIDTH)
                steps[name] = by_lead[:, :, 1:-1].mean(1)
        return steps | {"features": self.layer_norm("norm", list(steps.values())[-1])}

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns the classifier's logits, [B, classes], if the file has a classifier."""
        return self.linear("head", features)

    def _patches(self, signal: jax.Array) -> jax.Array:
        """Returns the embedded patches, [B, C, n, D]."""
        batch, num_samples, num_leads = signal.shape
        if num_leads != self.in_channels:
            raise UserError(
                f"This ST-MEM takes {self.in_channels} leads, but the signal has {num_leads}.",
                problem="wrong_lead_count",
            )
        if num_samples % _PATCH_SAMPLES or not num_samples:
            raise UserError(
                f"ST-MEM takes a multiple of {_PATCH_SAMPLES} samples, not {num_samples}.",
                problem="wrong_length",
            )
        patches = signal.swapaxes(1, 2).reshape(batch, num_leads, -1, _PATCH_SAMPLES)
        patches = self.layer_norm("to_patch_embedding.1", patches)
        return self.layer_norm("to_patch_embedding.3", self.linear("to_patch_embedding.2", patches))

    def _tokens(self, patches: jax.Array) -> jax.Array:
        """Adds positions, separators and leads, and returns the tokens, [B, C (n + 2), D]."""
        batch, num_leads, num_patches, _ = patches.shape
        first, positions, last = self._positions(num_patches, patches.dtype)
        separator = self["sep_embedding"]
        left, right = (
            jnp.broadcast_to(row[None, None, None], (batch, num_leads, 1, _WIDTH))
            for row in (separator + first, separator + last)
        )
        tokens = jnp.concatenate([left, patches + positions[None, None], right], axis=2)
        leads = jnp.stack([self[f"lead_embeddings.{lead}"] for lead in range(num_leads)])
        return (tokens + leads[None, :, None]).reshape(batch, -1, _WIDTH)

    def _positions(self, num_patches: int, dtype: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the positions of the left separator, the patches [n, D], the right separator."""
        table = self["pos_embedding"][0]
        stored = len(table) - 2
        positions = table[1 : 1 + min(num_patches, stored)]
        if num_patches > stored:  # positions were fixed in pre-training, so their formula goes on
            more = jnp.asarray(positions_of(np.arange(stored, num_patches)), dtype)
            positions = jnp.concatenate([positions, more])
        return table[0], positions, table[-1]

    def _block(self, name: str, tokens: jax.Array) -> jax.Array:
        normed = self.layer_norm(f"{name}.attn.norm", tokens)
        qkv = self.linear(f"{name}.attn.fn.to_qkv", normed)
        query, key, value = (
            part.reshape(*part.shape[:2], _NUM_HEADS, -1) for part in jnp.split(qkv, 3, axis=-1)
        )
        mixed = _network.attention(query, key, value, scale=query.shape[-1] ** -0.5)
        tokens = tokens + self.linear(f"{name}.attn.fn.to_out.0", mixed)
        hidden = self.linear(f"{name}.ff.fn.net.0", self.layer_norm(f"{name}.ff.norm", tokens))
        return tokens + self.linear(f"{name}.ff.fn.net.3", jax.nn.gelu(hidden, approximate=False))

    def _mean(self, tokens: jax.Array, num_leads: int, num_patches: int) -> jax.Array:
        """Returns the mean over all tokens but the separators, [B, D]."""
        by_lead = tokens.reshape(tokens.shape[0], num_leads, num_patches + 2, -1)
        return by_lead[:, :, 1:-1].mean((1, 2))


def positions_of(numbers: np.ndarray) -> np.ndarray:
    """Returns the fixed positions of patches by number, float64 [n, D]: sines, then cosines."""
    half = _WIDTH // 2
    angles = numbers[:, None] * 10_000.0 ** (-np.arange(half) / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def make(context: Context) -> Iterator[Encoder]:
    """Yields nothing: ST-MEM is evaluated from its weight file with `--model`."""
    del context
    yield from ()


def recognises(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether weights are those of ST-MEM."""
    return _network.holds(state_dict, _MARK)


def from_torch(state_dict: Mapping[str, Any]) -> STMEM:
    """Returns the network with published or fine-tuned weights.

    Args:
        state_dict: arrays by the published names, of the encoder alone, with or without `head`, or
            of the whole masked auto-encoder, whose decoder is not used. Mappings may be nested.

    Raises:
        UserError: keys are unknown, missing or misshapen, or the two copies of the patch embedding
            differ; the message names them.
    """
    arrays, prefix = _network.select(state_dict, _SIGNATURE)
    outer = prefix.removesuffix("encoder.") if prefix.endswith("encoder.") else None
    if outer is not None:
        arrays = _encoder_of(arrays, prefix, outer)
    bare = [key.removeprefix(prefix) for key in arrays]
    shapes = _shapes(
        num_leads=sum(_LEAD.fullmatch(key) is not None for key in bare) or 1,
        num_positions=_axis(arrays, f"{prefix}pos_embedding", 1, default=32),
    )
    num_classes = _axis(arrays, f"{prefix}head.bias", 0, default=0)
    head = {"head.weight": (num_classes, _WIDTH), "head.bias": (num_classes,)}
    if any(key in bare for key in head):
        shapes |= head
    return STMEM(_network.take(arrays, shapes, title=TITLE, prefix=prefix))


def _encoder_of(arrays: Mapping[str, Any], prefix: str, outer: str) -> dict[str, Any]:
    """Returns the arrays without the decoder of a masked auto-encoder and its copies."""
    kept = {}
    for key, value in arrays.items():
        name = key.removeprefix(outer)
        if key.startswith(prefix):
            kept[key] = value
        elif name.startswith(_ALIAS):
            twin = arrays.get(f"{prefix}{name}")
            if twin is None or not np.array_equal(twin, value):
                raise UserError(
                    f"The weights do not fit {TITLE}: {key} and {prefix}{name}, which are the same "
                    "array in a published file, differ.",
                    problem="wrong_weights",
                )
        elif not _DECODER.fullmatch(name):
            kept[key] = value  # unknown, which `take` reports
    return kept


def _axis(arrays: Mapping[str, Any], key: str, axis: int, *, default: int) -> int:
    shape = np.shape(arrays.get(key, ()))
    return shape[axis] if len(shape) > axis else default


def _shapes(num_leads: int, num_positions: int) -> dict[str, tuple[int, ...]]:
    def layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}

    shapes = {"pos_embedding": (1, max(num_positions, 3), _WIDTH), "sep_embedding": (_WIDTH,)}
    shapes |= {f"lead_embeddings.{lead}": (_WIDTH,) for lead in range(num_leads)}
    shapes |= layer("to_patch_embedding.1", _PATCH_SAMPLES)
    shapes |= layer("to_patch_embedding.2", _WIDTH, _PATCH_SAMPLES)
    shapes |= layer("to_patch_embedding.3", _WIDTH)
    for number in range(_NUM_BLOCKS):
        block = f"block{number}"
        shapes |= layer(f"{block}.attn.norm", _WIDTH)
        shapes |= layer(f"{block}.attn.fn.to_qkv", 3 * _WIDTH, _WIDTH)
        shapes |= layer(f"{block}.attn.fn.to_out.0", _WIDTH, _WIDTH)
        shapes |= layer(f"{block}.ff.norm", _WIDTH)
        shapes |= layer(f"{block}.ff.fn.net.0", _HIDDEN, _WIDTH)
        shapes |= layer(f"{block}.ff.fn.net.3", _WIDTH, _HIDDEN)
    return shapes | layer("norm", _WIDTH)


def one_lead(network: STMEM, lead: int) -> STMEM:
    """Returns the network for one lead alone, which keeps the lead's own vector.

    Args:
        network: a network of 12 leads.
        lead: number of the lead in the order I, II, III, aVR, aVL, aVF, V1 to V6.
    """
    arrays = {key: network[key] for key in network.weights if not _LEAD.fullmatch(key)}
    return STMEM(arrays | {"lead_embeddings.0": network[f"lead_embeddings.{lead}"]})


def untrained(seed: int) -> STMEM:
    """Returns a network of 12 leads with random weights (normal, standard deviation 0.02)."""
    num_patches = _CROP // _PATCH_SAMPLES
    arrays = _network.initialised(_shapes(12, num_patches + 2), seed, lambda key, shape: 0.02)
    positions = positions_of(np.arange(num_patches)).astype(np.float32)
    arrays["pos_embedding"] = np.pad(positions, ((1, 1), (0, 0)))[None]
    return STMEM(arrays)


@functools.lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    """Returns both zero-phase filters of a view as one linear map, float32 [T, T].

    Signals [..., T] are filtered by `signal @ map`.
    """
    import scipy.signal

    signal = np.eye(_CROP)
    for edge_hz, kind in ((0.67, "highpass"), (40.0, "lowpass")):
        sections = scipy.signal.butter(5, edge_hz, kind, fs=_RATE_HZ, output="sos")
        signal = scipy.signal.sosfiltfilt(sections, signal)
    return np.asarray(signal, np.float32)


def _prepare(signal_mv: jax.Array, filters: jax.Array) -> jax.Array:
    """Returns the filtered and scaled views of windows [B, C, 2500], [B V, 2250, C]."""
    views = jnp.stack([signal_mv[..., start : start + _CROP] for start in _STARTS], axis=1)
    views = views.reshape(-1, *views.shape[2:])
    # A constant is filtered out. It is subtracted beforehand for the precision of float32.
    flat = (views == views[..., :1]).all(-1, keepdims=True)
    views = jnp.where(flat, 0, views - views.mean(-1, keepdims=True))
    views = jnp.matmul(views, filters, precision=jax.lax.Precision.HIGHEST)
    centred = views - views.mean((1, 2), keepdims=True)
    deviation = jnp.sqrt(jnp.square(centred).mean((1, 2), keepdims=True))
    return (centred / jnp.where(deviation > 0, deviation, 1)).swapaxes(1, 2)


PUBLISHED = published.Published(
    title=TITLE,
    paper="Na et al. 2024, arXiv 2402.09450",
    licence="all rights reserved (README; the LICENSE file says MIT)",
    weights="Google Drive 1E7J-A1HqWa2f08T6Sfk5uWk-_CFJhOYQ, st_mem_vit_base_encoder.pth",
    checksums={
        "st_mem_vit_base_encoder.pth": (
            "6f63d370fd1a2ccf2fbddd681571adf985eeae3f652973f0071342a39b7793d6"
        )
    },
    recognises=recognises,
    from_torch=from_torch,
    to_torch=_network.arrays_of,
    untrained=untrained,
    one_lead=one_lead,
    variants={
        published.PRESCRIBED: published.Variant(
            sample_rate_hz=_RATE_HZ,
            window_seconds=10.0,
            prepare=_prepare,
            constants=_filters,
            num_views=len(_STARTS),
            sentence="Three views of 9 s at 250 Hz from each 10 s, whose features are averaged; "
            "each is filtered from 0.67 to 40 Hz and scaled over all its leads together.",
        ),
        published.AS_REFERENCE: published.reference_variant(
            num_samples=4950, sentence="The network receives the first 4,950 samples."
        ),
    },
)
