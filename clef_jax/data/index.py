"""Index of a prepared data set: everything about its records except their signals and labels.

`prepare` writes `clef_index.json` and one `index_<split>.npz` per split next to the shards, so that
training starts in seconds, whatever the number of recordings.

Shapes: N records, P patients, L leads.
"""

import dataclasses
import json
import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import files, plugin
from clef_jax.errors import UserError, counted, invocation

FORMAT = 2
TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""Names of the splits."""

NUM_QUANTILES = 101
"""Number of risk quantiles of a cohort, at even levels from 0 to 1."""

METADATA_FILE = "clef_index.json"
COMPACT_COLUMNS = ("gain_per_mv", "baseline", "sample_rate_hz", "num_samples")
"""Columns that are the same for all records of most data sets; then one row is stored."""
UNFINISHED = "unfinished_"
"""Prefix of the name of the folder that holds the shards of an interrupted build."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """One split of a prepared data set, records ordered by patient."""

    version_dir: pathlib.Path
    dataset: str
    """Name, config and version: `mimic_iv_ecg/one_per_patient/1.0.0`."""
    split: str
    lead_names: tuple[str, ...]
    sample_rate_hz: np.ndarray
    """float32 [N]."""
    num_samples: np.ndarray
    """int64 [N], the length of each record."""
    patient: np.ndarray
    """int64 [N], the patient's number from 0 within the split, ascending."""
    row: np.ndarray
    """int64 [N], the record's position in the split: shards in order, then within the shard."""
    risk: np.ndarray
    """float32 [N], ten-year risk in [0, 1], NaN where unknown."""
    completeness: np.ndarray
    """float32 [N], fraction of the risk score's inputs that were observed."""
    usable_leads: np.ndarray
    """bool [N, L], the leads that training may use."""
    gain_per_mv: np.ndarray
    """float32 [N, L], ADC units per millivolt."""
    baseline: np.ndarray
    """int32 [N, L], the sample value at 0 mV."""
    patient_offset: np.ndarray
    """int64 [P + 1]; records `patient_offset[p]` to `patient_offset[p + 1] - 1` are patient p's."""
    cohort_quantiles: np.ndarray
    """float32 [101], quantiles 0, 0.01, ... 1 of the training patients' risk; NaN if unknown."""
    fingerprint: str
    """SHA-256 of all stored bytes of all splits; identifies the data."""
    shard_paths: tuple[str, ...]
    shard_lengths: np.ndarray
    """int64 [shards], number of records of each shard."""
    settings: Mapping[str, Any]
    """Settings of the clinical values: score, region, time windows, source."""

    @property
    def num_records(self) -> int:
        return len(self.row)

    @property
    def num_patients(self) -> int:
        return len(self.patient_offset) - 1

    @property
    def common_rate_hz(self) -> float:
        """The sampling rate of all recordings in Hz.

        Raises:
            UserError: the recordings have different rates.
        """
        rates = np.unique(self.sample_rate_hz)
        if len(rates) > 1:
            raise UserError(
                f"The recordings of {self.dataset} are sampled at {counted(len(rates), 'rate')}, "
                f"{rates[0]:g} to {rates[-1]:g} Hz; all must have the same rate.",
                problem="several_rates",
            )
        return float(rates[0])

    def lead_row(self, name: str) -> int:
        """Returns a lead's position among the stored leads.

        Raises:
            UserError: the data set does not store the lead.
        """
        if name not in self.lead_names:
            raise UserError(
                f"{self.dataset} has no lead {name}. Available: {', '.join(self.lead_names)}.",
                problem="missing_lead",
            )
        return self.lead_names.index(name)

    def position(self, row: np.ndarray) -> np.ndarray:
        """Returns the positions, int64, of some rows of the split in the arrays above."""
        return np.searchsorted(self.row, row)


def load(version_dir: str | pathlib.Path, split: str) -> Index:
    """Returns the index of one split of a prepared data set.

    Raises:
        UserError: the folder holds no complete data set, the split is unknown, the index is
            damaged, or another version of clef_jax wrote it.
    """
    version_dir = pathlib.Path(version_dir)
    metadata = read_metadata(version_dir)
    splits = metadata["splits"]
    if split not in splits:
        raise UserError(
            plugin.unknown(f"split of {metadata['dataset']}", split, sorted(splits)),
            problem="unknown_split",
        )
    stored = _load_arrays(version_dir / f"index_{split}.npz")
    num_records = len(stored["row"])
    for name in COMPACT_COLUMNS:
        stored[name] = np.broadcast_to(stored[name], (num_records, *stored[name].shape[1:]))
    bits = 1 << np.arange(len(metadata["leads"]), dtype=np.uint16)
    stored["usable_leads"] = (stored["usable_leads"][:, None] & bits[None]) != 0
    quantiles = metadata["cohort_quantiles"]
    return Index(
        version_dir=version_dir,
        dataset=metadata["dataset"],
        split=split,
        lead_names=tuple(metadata["leads"]),
        cohort_quantiles=np.array(quantiles or [np.nan] * 101, np.float32),
        fingerprint=metadata["fingerprint"],
        shard_paths=tuple(str(version_dir / name) for name in splits[split]["shards"]),
        shard_lengths=np.array(splits[split]["shard_lengths"], np.int64),
        settings=metadata["settings"],
        **stored,
    )


def _load_arrays(file: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return dict(arrays.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(file, error) from error


def _damaged(file: pathlib.Path, error: Exception) -> UserError:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")
    return UserError(
        f"{file} cannot be read: {reason}. Restore it from a copy, or prepare the data set again "
        f"with {invocation('prepare --overwrite')}.",
        problem="damaged_index",
    )


def splits(version_dir: str | pathlib.Path) -> tuple[str, ...]:
    """Returns the names of a prepared data set's splits, sorted."""
    return tuple(sorted(read_metadata(pathlib.Path(version_dir))["splits"]))


def read_metadata(version_dir: pathlib.Path) -> dict[str, Any]:
    """Returns the contents of a data set's `clef_index.json`.

    Raises:
        UserError: the folder holds no complete data set, the file is damaged, or another version
            of clef_jax wrote it.
    """
    path = version_dir / METADATA_FILE
    if not path.is_file():
        raise UserError(
            f"{path} does not exist, so {version_dir} is not a complete prepared data set. Run "
            f"{invocation('prepare --overwrite')}.",
            problem="not_prepared",
        )
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if metadata["format"] != FORMAT:
        raise UserError(
            f"{path} has format {metadata['format']}, but this version reads format {FORMAT}. "
            f"Prepare the data set again with {invocation('prepare --overwrite')}.",
            problem="other_format",
        )
    return metadata


def find(data_dir: str | pathlib.Path, dataset: str) -> pathlib.Path:
    """Returns the folder of a prepared data set, of its newest version unless one is given.

    Args:
        data_dir: the `--data-dir` that was given to prepare.
        dataset: `name` (its default config) or `name/config`, with an optional `/version`.

    Raises:
        UserError: the data set is not prepared in this folder, or its build was interrupted.
    """
    data_dir = pathlib.Path(data_dir)
    name, _, rest = dataset.strip("/").partition("/")
    if not rest:
        rest = _default_config(data_dir / name)
    wanted = data_dir / name / rest
    folders = [p.parent for p in (wanted / METADATA_FILE, *wanted.glob(f"*.*.*/{METADATA_FILE}"))]
    complete = [folder for folder in folders if _is_complete(folder)]
    if complete:
        return max(complete, key=_version)
    raise _not_prepared(data_dir, dataset, wanted)


def _default_config(folder: pathlib.Path) -> str:
    """Returns a data set's default config from the file that TFDS writes; empty if it is absent."""
    file = folder / ".config" / "metadata.json"
    return json.loads(file.read_text())["default_config_name"] if file.is_file() else ""


def _is_complete(version_dir: pathlib.Path) -> bool:
    """Returns whether a folder is a complete data set; incomplete ones have other names."""
    is_version = re.fullmatch(r"\d+\.\d+\.\d+", version_dir.name) is not None
    return is_version and (version_dir / METADATA_FILE).is_file()


def _version(version_dir: pathlib.Path) -> tuple[int, ...]:
    return tuple(int(part) for part in version_dir.name.split("."))


def list_prepared(data_dir: str | pathlib.Path) -> list[str]:
    """Returns all complete data sets of a data folder as `name` or `name/config`, sorted."""
    data_dir = pathlib.Path(data_dir)
    folders = {p.parent for n in (2, 3) for p in data_dir.glob("*/" * n + METADATA_FILE)}
    return sorted({str(p.parent.relative_to(data_dir)) for p in folders if _is_complete(p)})


def _not_prepared(data_dir: pathlib.Path, dataset: str, wanted: pathlib.Path) -> UserError:
    line = f"prepare --dataset={dataset} --source=... --data-dir={data_dir}"
    command = invocation(line)
    if not data_dir.is_dir():
        return UserError(
            f"The data folder {data_dir} does not exist. Prepare the data with `{command}`.",
            problem="missing_folder",
        )
    if any(wanted.glob("incomplete.*")) or any(wanted.glob(f"{UNFINISHED}*")):
        return UserError(
            f"The build of {dataset} in {data_dir} is not complete: it is still running, or was "
            f"interrupted. If it is not running, resume it with `{command}`.",
            problem="half_built",
        )
    others = list_prepared(data_dir)
    hint = f" Available: {', '.join(others)}." if others else ""
    hint += plugin.did_you_mean(dataset, others)
    return UserError(
        f"{dataset} is not prepared in {data_dir}.{hint} Prepare it with `{command}`.",
        problem="not_prepared",
    )


def write(
    version_dir: pathlib.Path,
    metadata: Mapping[str, Any],
    splits: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Writes the index files of a data set. The JSON file is written last: it marks completeness.

    Args:
        version_dir: the folder of the shards.
        metadata: contents of the JSON file, without the format number.
        splits: for each split, the arrays that `columns` returns.
    """
    for split, arrays in splits.items():
        file = version_dir / f"index_{split}.npz"
        with files.atomic_file(file) as half, half.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # pyright: ignore[reportArgumentType]
    text = json.dumps({"format": FORMAT, **metadata}, indent=1, allow_nan=False)
    files.write_text(version_dir / METADATA_FILE, text + "\n")


def columns(
    patient_counts: Sequence[int], per_record: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the arrays that the index of one split stores.

    Args:
        patient_counts: number of records of each patient, in stored order.
        per_record: `risk`, `completeness`, `sample_rate_hz`, `num_samples`, `usable_leads` [N] (a
            bit mask, bit i for lead i); `gain_per_mv`, `baseline` [N, L].
    """
    counts = np.asarray(patient_counts, np.int64)
    compact = {
        name: values[:1] if (values == values[:1]).all() else values
        for name, values in per_record.items()
        if name in COMPACT_COLUMNS
    }
    return {
        "patient": np.repeat(np.arange(len(counts)), counts),
        "row": np.arange(counts.sum()),
        "patient_offset": np.concatenate([[0], np.cumsum(counts)]),
        **per_record,
        **compact,
    }
