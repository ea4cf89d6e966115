"""Settings of a build, shared by the command and the builders; importing them needs no TFDS."""

import dataclasses
from typing import Annotated

import tyro

from clef_jax.building.clinical import Settings
from clef_jax.building.shard import Compression


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How to run a build. Only sources, clinical settings and windows change what is stored."""

    clinical_source: str | None = None
    """A folder of clinical tables, a table with ready risks, or "none" to build with unknown risk.
    By default the tables are looked for in the source folder."""
    label_source: str | None = None
    """A folder or table of labels that the data set's README speaks of, if it is not in the source
    folder."""
    leave_out: str | None = None
    """A table that names recordings whose patients are left out, so that they can serve as a test
    (mimic_iv_ecg)."""
    max_windows: int = 1
    """Windows to keep of each class and patient, or of each long recording, at most."""
    workers: int = 1
    """Processes that read and write; the result is the same for any number."""
    beam_options: str | None = None
    """Write with Apache Beam instead, for example "runner=FlinkRunner,flink_master=HOST:8081". This
    needs the extra `beam`. The workers must see the folders of --source and --data-dir under the
    same paths, or use the two that follow."""
    remote_source: str | None = None
    """A URL of the recordings for Beam's workers, gs://BUCKET/FOLDER for example. --source then
    needs the tables only."""
    remote_scratch: str | None = None
    """A URL of an empty folder where Beam's workers leave the shards; they end up in --data-dir."""
    compression: Compression = "none"
    """Of the records: none takes as much space as the source and is read more than twice as fast
    as zstd, which takes a third of it: for slow or small disks."""
    strict: bool = False
    """Stop at the first recording that must be left out, and leave no data set."""
    overwrite: bool = False
    """Replace the data set if it is there already, and keep nothing of a build that was stopped."""
    clinical: Annotated[Settings, tyro.conf.arg(name="")] = Settings()
