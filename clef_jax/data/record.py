"""What one prepared recording holds: the same in every data set, and that data set's own labels.

Shapes: L leads, T time.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Amplitude = Literal["mv", "mv_with_offset", "arbitrary"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """Something that a source says about a recording, stored under its own name."""

    name: str
    kind: Literal["class", "classes", "number", "numbers"]
    """One class name, "" where unknown; any number of class names; a number, NaN where unknown; any
    number of numbers."""
    description: str
    """One sentence, without a full stop."""
    unit: str = ""
    classes: tuple[str, ...] = ()
    """All classes there can be, if the source does not decide it."""

    @property
    def missing(self) -> Any:
        return {"class": "", "classes": (), "number": np.nan, "numbers": ()}[self.kind]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The form that all recordings of one data set share."""

    leads: tuple[str, ...]
    """Canonical lead names, in stored order; at most 16."""
    sample_rate_hz: float | None
    """None if every recording has a rate of its own."""
    num_samples: int | None
    """None if every recording has a length of its own."""
    optional_leads: tuple[str, ...] = ()
    """Leads that a recording may lack; they are stored as missing."""
    amplitude: Amplitude = "mv"
    """Whether samples are millivolts, millivolts on a constant offset of the amplifier's, or in no
    unit that is known: then nothing can be said about amplitudes."""
    labels: tuple[Label, ...] = ()

    def __post_init__(self):
        if not 1 <= len(self.leads) <= 16:
            raise ValueError(f"A layout holds 1 to 16 leads, not {len(self.leads)}.")
        taken = {label.name for label in self.labels} & {*_BASE_NAMES, *OBSERVED_NAMES}
        if taken:
            raise ValueError(f"The labels {', '.join(sorted(taken))} have names of other features.")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One recording as its source stores it, leads in the source's own order.

    The voltage of a sample is `(signal - baseline) / gain_per_mv` millivolts.
    """

    signal: np.ndarray
    """int16 [L, T], analogue-to-digital units, `MISSING_ADC` where nothing was recorded."""
    lead_names: tuple[str, ...]
    gain_per_mv: np.ndarray
    """float32 [L]."""
    baseline: np.ndarray
    """int32 [L], the value at 0 mV."""
    sample_rate_hz: float
    absent_leads: tuple[str, ...] = ()
    """Leads that the source does not have and that are stored as missing."""
    bad_checksums: tuple[str, ...] = ()
    """Leads whose samples contradict the checksum in the header."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """Clinical values as observed for one recording; NaN is missing, yes is 1 and no is 0."""

    age_years: float = np.nan
    male: float = np.nan
    smoker: float = np.nan
    diabetes: float = np.nan
    sbp_mmhg: float = np.nan
    total_cholesterol_mmol_l: float = np.nan
    hdl_mmol_l: float = np.nan


OBSERVED_NAMES = tuple(field.name for field in dataclasses.fields(Observed))
_BASE_NAMES = (
    "signal",
    "gain_per_mv",
    "baseline",
    "sample_rate_hz",
    "lead_names",
    "usable_leads",
    "patient_id",
    "record_id",
    "source_record",
    "start_sample",
    "recorded_at",
    "risk",
    "completeness",
    "risk_extrapolated",
)


@functools.cache
def features(layout: Layout) -> Any:
    """The TFDS features of a data set: one example is one recording."""
    import tensorflow_datasets as tfds  # a second to import, and reading shards does not need it

    num_leads = len(layout.leads)
    clinical = {name: tfds.features.Scalar(np.float32) for name in OBSERVED_NAMES}
    kinds = {
        "class": tfds.features.Text(),
        "classes": tfds.features.Sequence(tfds.features.Text()),
        "number": tfds.features.Scalar(np.float32),
        "numbers": tfds.features.Sequence(tfds.features.Scalar(np.float32)),
    }
    return tfds.features.FeaturesDict(
        {
            "signal": tfds.features.Tensor(
                shape=(num_leads, layout.num_samples), dtype=np.int16, encoding="bytes"
            ),
            "gain_per_mv": tfds.features.Tensor(shape=(num_leads,), dtype=np.float32),
            "baseline": tfds.features.Tensor(shape=(num_leads,), dtype=np.int32),
            "sample_rate_hz": tfds.features.Scalar(np.float32),
            "lead_names": tfds.features.Sequence(tfds.features.Text(), length=num_leads),
            "usable_leads": tfds.features.Tensor(shape=(num_leads,), dtype=np.bool_),
            "patient_id": tfds.features.Text(),
            "record_id": tfds.features.Text(),
            "source_record": tfds.features.Text(),
            "start_sample": tfds.features.Scalar(np.int64),
            "recorded_at": tfds.features.Text(),
            **clinical,
            "risk": tfds.features.Scalar(np.float32),
            "completeness": tfds.features.Scalar(np.float32),
            "risk_extrapolated": tfds.features.Scalar(np.bool_),
            **{label.name: kinds[label.kind] for label in layout.labels},
        }
    )


def label_values(layout: Layout, known: Mapping[str, Any]) -> dict[str, Any]:
    """Every label of the layout: as known, or as missing.

    Raises:
        ValueError: a label or a class that the layout does not declare.
    """
    unknown = set(known) - {label.name for label in layout.labels}
    if unknown:
        raise ValueError(f"The layout has no label {', '.join(sorted(unknown))}.")
    values = {}
    for label in layout.labels:
        value = known.get(label.name, label.missing)
        if label.kind in ("number", "numbers"):
            values[label.name] = np.asarray(value, np.float32)
            continue
        names = [value] if label.kind == "class" else list(value)
        outside = [name for name in names if name and label.classes and name not in label.classes]
        if outside:
            raise ValueError(f"{label.name} has no class {', '.join(outside)}.")
        values[label.name] = value if label.kind == "class" else names
    return values


@functools.cache
def _serializer(layout: Layout) -> Any:
    from tensorflow_datasets.core import example_serializer

    return example_serializer.ExampleSerializer(features(layout).get_serialized_info())


def serialize(example: dict[str, Any], layout: Layout) -> bytes:
    """One example as the bytes of a `tf.train.Example`, the same bytes in every process."""
    encoded = features(layout).encode_example(example)
    # TFDS leaves the order of the map's entries to the process's hash seed.
    return _serializer(layout).get_tf_example(encoded).SerializeToString(deterministic=True)
