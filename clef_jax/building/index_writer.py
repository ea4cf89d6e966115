"""Makes the index of a data set from the summaries of its shards.

Shapes: N records of a split.
"""

import collections
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax.building.shard import Summary
from clef_jax.data import index, index as index_lib
from clef_jax.data.record import Label, Layout


def metadata(
    *,
    dataset: str,
    layout: Layout,
    settings: Mapping[str, Any],
    classes: Mapping[str, tuple[str, ...]],
    by_split: Mapping[str, Sequence[Summary]],
    shard_names: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Returns the contents of `clef_index.json`.

    Args:
        dataset: name, config and version of the data set.
        layout: layout of its recordings.
        settings: settings of the clinical values.
        classes: classes of the labels whose classes the source defines, by label name.
        by_split: summaries of the shards of each split that hold records, in order.
        shard_names: file names of these shards.
    """
    return {
        "dataset": dataset,
        "leads": list(layout.leads),
        "sample_rate_hz": layout.sample_rate_hz,
        "num_samples": layout.num_samples,
        "amplitude": layout.amplitude,
        "labels": [_label(label, classes, by_split) for label in layout.labels],
        "fingerprint": fingerprint(
            {split: [summary.digest for summary in group] for split, group in by_split.items()}
        ),
        "cohort_quantiles": cohort_quantiles(by_split.get(index_lib.TRAIN, ())),
        "settings": dict(settings),
        "splits": {
            split: {
                "shards": list(shard_names[split]),
                "shard_lengths": [summary.num_stored for summary in group],
                "shard_digests": [summary.digest.hex() for summary in group],
                "label_counts": label_counts(group),
            }
            for split, group in by_split.items()
        },
    }


def label_counts(group: Sequence[Summary]) -> dict[str, dict[str, int]]:
    """Returns the number of stored records by label and class; numbers have the class ""."""
    counts: dict[str, collections.Counter[str]] = {}
    for summary in group:
        for name, by_class in summary.label_counts.items():
            counts.setdefault(name, collections.Counter()).update(by_class)
    return {name: dict(sorted(by_class.items())) for name, by_class in counts.items()}


def _label(
    label: Label,
    classes: Mapping[str, tuple[str, ...]],
    by_split: Mapping[str, Sequence[Summary]],
) -> dict[str, Any]:
    """Returns the description of a label; undeclared classes are those that occur."""
    known = label.classes or classes.get(label.name)
    if known is None:
        group = [summary for summaries in by_split.values() for summary in summaries]
        known = tuple(name for name in label_counts(group).get(label.name, {}) if name)
    described = {n: getattr(label, n) for n in ("name", "kind", "unit", "description")}
    return {**described, "classes": list(known)}


def fingerprint(shard_digests: Mapping[str, Sequence[bytes]]) -> str:
    """Returns a SHA-256 of the stored records, independent of compression and file names.

    Args:
        shard_digests: SHA-256 of the records of each shard, by split.
    """
    digest = hashlib.sha256()
    for split, digests in sorted(shard_digests.items()):
        digest.update(split.encode())
        for shard_digest in digests:
            digest.update(shard_digest)
    return digest.hexdigest()


def cohort_quantiles(group: Sequence[Summary]) -> list[float] | None:
    """Returns quantiles 0 to 1 of the risk at each patient's first stored recording.

    Returns None if no risk is known.
    """
    risks = [np.zeros(0)]
    for summary in group:
        first = np.concatenate([[0], np.cumsum(summary.patient_counts)[:-1]]).astype(int)
        risks.append(summary.columns["risk"][first])
    risk = np.concatenate(risks)
    known = risk[~np.isnan(risk)]
    return (
        np.quantile(known, np.linspace(0, 1, index_lib.NUM_QUANTILES)).tolist()
        if len(known)
        else None
    )


def columns(group: Sequence[Summary]) -> dict[str, np.ndarray]:
    """Returns the arrays of `index.columns` for one split."""
    counts = [count for summary in group for count in summary.patient_counts]
    names = group[0].columns
    return index.columns(
        counts,
        {name: np.concatenate([_rows(summary, name) for summary in group]) for name in names},
    )


def _rows(summary: Summary, name: str) -> np.ndarray:
    values = summary.columns[name]
    return np.broadcast_to(values, (summary.num_stored, *values.shape[1:]))
