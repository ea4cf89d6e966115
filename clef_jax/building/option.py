"""What there is to choose about a data set: its variants, and how a build runs."""

import dataclasses

import tensorflow_datasets as tfds

from clef_jax.building import shard, summary as summary_lib
from clef_jax.building.clinical import Settings
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
class Options:
    """How to run a build. Only sources, clinical settings and windows change what is stored."""

    clinical_source: str | None = None
    """A folder or file that the builder understands, "none", or None for its usual place."""
    clinical: Settings = Settings()
    label_source: str | None = None
    """A folder or file of labels that the builder understands, or None for its usual place."""
    leave_out: str | None = None
    """A table of recordings whose patients are to be left out, if the builder can do that."""
    max_windows: int = 1
    """Windows to keep of each class and patient, or of each long recording, at most."""
    num_workers: int = 1
    """Processes that read and write shards; 1 is this process."""
    beam_options: str | None = None
    """Options of an Apache Beam pipeline that writes the shards instead, separated by commas."""
    remote_source: str | None = None
    """Where Beam's workers fetch the recordings, if they do not see the source folder."""
    remote_scratch: str | None = None
    """Where they leave the shards then."""
    compression: shard.Compression = "none"
    """Of the shards: "zstd" takes a third of the space of "none", which reads twice as fast."""
    strict: bool = False
    """Stop at the first quarantined recording."""
    afresh: bool = False
    """Do not go on from a build that was stopped."""
    watch: summary_lib.Watch | None = None
