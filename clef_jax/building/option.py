"""Variants of a data set, and the options of a build."""

import dataclasses

import tensorflow_datasets as tfds

from clef_jax.building import summary as summary_lib
from clef_jax.building.settings import BuildSettings
from clef_jax.data import record


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """A variant of a data set that stores other recordings."""

    one_per_patient: bool = False
    """Keep only each patient's earliest usable recording."""
    splits_as_given: bool = False
    """Leave a patient in several splits where the source prescribes it; otherwise all recordings
    of the patient go to the first of these splits."""
    layout: record.Layout | None = None
    """The form of this variant's recordings, if it is another than the builder's `LAYOUT`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(BuildSettings):
    """Settings of a build that a program starts."""

    watch: summary_lib.Watch | None = None
    """Called with the summary after each shard."""
