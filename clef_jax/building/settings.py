"""Settings of a build, for the command and the builders; importing them needs no TFDS."""

import dataclasses
from typing import Annotated, Literal

import tyro

from clef_jax.building.clinical import Settings

Compression = Literal["none", "zstd"]
Prefer = Literal["earliest", "best_known"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """Settings of a build. Only sources, clinical settings and windows change what is stored."""

    clinical_source: str | None = None
    """Folder of clinical tables, a table of precomputed risks, or none to build with unknown risk;
    by default the tables are read from the source folder."""
    label_source: str | None = None
    """Folder or table of labels that the data set's README describes; by default it is read from
    the source folder."""
    leave_out: str | None = None
    """Table of recordings whose patients are excluded, so that they can be a test set
    (mimic_iv_ecg); by default no patient is excluded."""
    prefer: Prefer = "earliest"
    """Recording that is stored where one of each patient is (mimic_iv_ecg/one_per_patient): the
    earliest usable one, or of those with the most inputs of the risk score (best_known) the
    earliest usable one."""
    max_windows: int = 1
    """Maximum windows per class and patient, or per long recording."""
    workers: int = 1
    """Number of processes that read and write; the result does not depend on it."""
    beam_options: str | None = None
    """Options of Apache Beam, which then writes the shards, for example
    "runner=FlinkRunner,flink_master=HOST:8081"; needs the extra beam. The workers must have the
    folders of --source and --data-dir under the same paths; otherwise give --remote-source and
    --remote-scratch."""
    remote_source: str | None = None
    """URL of the recordings for Beam's workers, for example gs://BUCKET/FOLDER; --source then needs
    only the tables."""
    remote_scratch: str | None = None
    """URL of an empty folder to which Beam's workers write the shards; they are then moved to
    --data-dir."""
    compression: Compression = "none"
    """Compression of the records: none takes as much space as the source; zstd takes a third of it,
    for slow or small disks, and is read at less than half the speed."""
    strict: bool = False
    """Stop at the first recording that must be quarantined, and write no data set."""
    overwrite: bool = False
    """Replace an existing data set, and discard the shards of an interrupted build."""
    clinical: Annotated[Settings, tyro.conf.arg(name="")] = Settings()
