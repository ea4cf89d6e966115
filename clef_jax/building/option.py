"""Configs of a data set, and the options of a build."""

import dataclasses

import tensorflow_datasets as tfds

from clef_jax.building import summary as summary_lib
from clef_jax.building.settings import BuildSettings
from clef_jax.data import record


@dataclasses.dataclass(kw_only=True)
class Config(tfds.core.BuilderConfig):
    """A config of a data set: which recordings it stores, and in which layout."""

    one_per_patient: bool = False
    """Store only each patient's earliest usable recording."""
    splits_as_given: bool = False
    """Store a patient in several splits where the source prescribes it; by default all recordings
    of the patient are in the first of these splits."""
    layout: record.Layout | None = None
    """Layout of the recordings; by default the builder's `LAYOUT`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(BuildSettings):
    """Settings of a build that is started from Python."""

    watch: summary_lib.Watch | None = None
    """Called with the summary after each shard."""
