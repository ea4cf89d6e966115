"""What one prepared recording holds. Every data set stores this dictionary and nothing else.

Shapes: L leads, T time.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

MISSING_ADC = -32768
"""The sample value that means "not recorded", as in WFDB's 16-bit format."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """The form that all recordings of one data set share."""

    leads: tuple[str, ...]
    """Canonical lead names, in stored order; at most 16."""
    sample_rate_hz: float
    num_samples: int

    def __post_init__(self):
        if not 1 <= len(self.leads) <= 16:
            raise ValueError(f"A layout holds 1 to 16 leads, not {len(self.leads)}.")

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate_hz


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


@functools.cache
def features(layout: Layout) -> Any:
    """The TFDS features of a data set: one example is one recording."""
    import tensorflow_datasets as tfds  # a second to import, and reading shards does not need it

    num_leads = len(layout.leads)
    clinical = {name: tfds.features.Scalar(np.float32) for name in OBSERVED_NAMES}
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
            "recorded_at": tfds.features.Text(),
            **clinical,
            "risk": tfds.features.Scalar(np.float32),
            "completeness": tfds.features.Scalar(np.float32),
            "risk_extrapolated": tfds.features.Scalar(np.bool_),
        }
    )


@functools.cache
def _serializer(layout: Layout) -> Any:
    from tensorflow_datasets.core import example_serializer

    return example_serializer.ExampleSerializer(features(layout).get_serialized_info())


def serialize(example: dict[str, Any], layout: Layout) -> bytes:
    """One example as the bytes of a `tf.train.Example`, the same bytes in every process."""
    encoded = features(layout).encode_example(example)
    # TFDS leaves the order of the map's entries to the process's hash seed.
    return _serializer(layout).get_tf_example(encoded).SerializeToString(deterministic=True)
