"""Contents of a prepared recording: the features of all data sets, and each data set's labels.

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
    """A label of recordings, stored under its own name."""

    name: str
    kind: Literal["class", "classes", "number", "numbers"]
    """`class`: one class name, empty where unknown. `classes`: any number of class names. `number`:
    one number, NaN where unknown. `numbers`: any number of numbers."""
    description: str
    """One sentence, without a full stop."""
    unit: str = ""
    """Unit of numbers; empty for classes and for numbers without a unit."""
    classes: tuple[str, ...] = ()
    """All possible classes; empty if the source defines them."""

    @property
    def missing(self) -> Any:
        """The value that means unknown."""
        return {"class": "", "classes": (), "number": np.nan, "numbers": ()}[self.kind]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Leads, sampling rate, length, amplitude and labels of the recordings of a data set."""

    leads: tuple[str, ...]
    """Canonical lead names, in stored order; at most 16."""
    sample_rate_hz: float | None
    """Sampling rate of all recordings; None if they differ."""
    num_samples: int | None
    """Length of all recordings in samples; None if they differ."""
    optional_leads: tuple[str, ...] = ()
    """Leads that a recording may lack; they are stored as missing."""
    amplitude: Amplitude = "mv"
    """Unit of the samples: millivolts, millivolts plus a constant offset of the amplifier, or an
    unknown unit, whose amplitude is not checked."""
    labels: tuple[Label, ...] = ()

    def __post_init__(self):
        if not 1 <= len(self.leads) <= 16:
            raise ValueError(f"A layout holds 1 to 16 leads, not {len(self.leads)}.")
        taken = {label.name for label in self.labels} & {*_BASE_NAMES, *OBSERVED_NAMES}
        if taken:
            names = ", ".join(sorted(taken))
            raise ValueError(f"The labels {names} have the names of features; rename them.")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One recording as its source stores it, with the leads in the source's order.

    The voltage of a sample is `(signal - baseline) / gain_per_mv` millivolts.
    """

    signal: np.ndarray
    """int16 [L, T], samples in ADC units, `MISSING_ADC` where nothing was recorded."""
    lead_names: tuple[str, ...]
    gain_per_mv: np.ndarray
    """float32 [L], ADC units per millivolt."""
    baseline: np.ndarray
    """int32 [L], the sample value at 0 mV."""
    sample_rate_hz: float
    absent_leads: tuple[str, ...] = ()
    """Leads that the source lacks and that are stored as missing."""
    bad_checksums: tuple[str, ...] = ()
    """Leads whose samples contradict the checksum in the header."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """Clinical values as observed for one recording; NaN is missing, 1 is yes and 0 is no."""

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
    """Returns the TFDS features of a data set, in which one example is one recording."""
    import tensorflow_datasets as tfds  # a second to import; reading shards does not need it

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
    """Returns the value of each label of the layout; labels without a known value are missing.

    Args:
        known: known values by label name.

    Raises:
        ValueError: the layout does not declare a label or a class.
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
    """Returns an example as the bytes of a `tf.train.Example`, identical in every process."""
    encoded = features(layout).encode_example(example)
    # Without `deterministic`, the order of the map's entries depends on the process's hash seed.
    return _serializer(layout).get_tf_example(encoded).SerializeToString(deterministic=True)
