"""The sidecar index of a prepared data set: what training must know before it reads a shard.

`prepare` writes `clef_index.json` and one `index_<split>.npz` per split next to the shards, so that
training starts in seconds however many recordings there are.

Shapes: N records, P patients, L leads.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clef_jax import files, plugin
from clef_jax.errors import UserError

FORMAT = 2
TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""Names of the splits."""

METADATA_FILE = "clef_index.json"
COMPACT_COLUMNS = ("gain_per_mv", "baseline", "sample_rate_hz", "num_samples")
"""Columns that are the same for all records of most data sets; one row is stored then."""
UNFINISHED = "unfinished_"
"""Begins the name of the folder that an unfinished build keeps its shards in."""


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
    """int64 [N]."""
    patient: np.ndarray
    """int64 [N], the patient's number from 0 within the split, ascending."""
    row: np.ndarray
    """int64 [N], the record's position in the split: shards in order, then within the shard."""
    risk: np.ndarray
    """float32 [N], ten-year risk in [0, 1], NaN where unknown."""
    completeness: np.ndarray
    """float32 [N], share of the risk score's inputs that were observed."""
    usable_leads: np.ndarray
    """bool [N, L], the leads that training may draw."""
    gain_per_mv: np.ndarray
    """float32 [N, L]."""
    baseline: np.ndarray
    """int32 [N, L], the sample value at 0 mV."""
    patient_offset: np.ndarray
    """int64 [P + 1]; entries `patient_offset[p]` to `patient_offset[p + 1]` are patient p's."""
    cohort_quantiles: np.ndarray
    """float32 [101], quantiles 0, 0.01, ... 1 of the training patients' risk; NaN if unknown."""
    fingerprint: str
    """SHA-256 over every stored byte of every split: identifies the data."""
    shard_paths: tuple[str, ...]
    shard_lengths: np.ndarray
    """int64 [shards], records in each."""
    settings: Mapping[str, Any]
    """How the clinical values were made: score, region, windows, source."""

    @property
    def num_records(self) -> int:
        return len(self.row)

    @property
    def num_patients(self) -> int:
        return len(self.patient_offset) - 1

    @property
    def common_rate_hz(self) -> float:
        """The sampling rate that all recordings share.

        Raises:
            UserError: they have different ones.
        """
        rates = np.unique(self.sample_rate_hz)
        if len(rates) > 1:
            raise UserError(
                f"The recordings of {self.dataset} are sampled at {len(rates)} rates, "
                f"{rates[0]:g} to {rates[-1]:g} Hz; this needs one.",
                problem="several_rates",
            )
        return float(rates[0])

    def lead_row(self, name: str) -> int:
        """Returns a lead's number among the stored leads.

        Raises:
            UserError: the data set has no such lead.
        """
        if name not in self.lead_names:
            raise UserError(
                f"{self.dataset} has no lead {name}; it has {', '.join(self.lead_names)}.",
                problem="missing_lead",
            )
        return self.lead_names.index(name)

    def position(self, row: np.ndarray) -> np.ndarray:
        """Where these rows of the split stand in the arrays above."""
        return np.searchsorted(self.row, row)


def load(version_dir: str | pathlib.Path, split: str) -> Index:
    """The index of one split of a prepared data set.

    Raises:
        UserError: no finished data set is there, it has no such split, or another format.
    """
    version_dir = pathlib.Path(version_dir)
    metadata = read_metadata(version_dir)
    splits = metadata["splits"]
    if split not in splits:
        raise UserError(
            plugin.unknown(f"split of {metadata['dataset']}", split, sorted(splits)),
            problem="unknown_split",
        )
    with np.load(version_dir / f"index_{split}.npz", allow_pickle=False) as arrays:
        stored = dict(arrays.items())
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


def splits(version_dir: str | pathlib.Path) -> tuple[str, ...]:
    """The names of a prepared data set's splits."""
    return tuple(sorted(read_metadata(pathlib.Path(version_dir))["splits"]))


def read_metadata(version_dir: pathlib.Path) -> dict[str, Any]:
    path = version_dir / METADATA_FILE
    if not path.is_file():
        raise UserError(
            f"{path} does not exist, so {version_dir} is no data set that clef_jax.prepare "
            "finished. Run `python -m clef_jax.prepare` with --overwrite.",
            problem="not_prepared",
        )
    metadata = json.loads(path.read_text())
    if metadata["format"] != FORMAT:
        raise UserError(
            f"{path} has format {metadata['format']}, this version reads format {FORMAT}. "
            "Prepare the data set again with `python -m clef_jax.prepare --overwrite`.",
            problem="other_format",
        )
    return metadata


def find(data_dir: str | pathlib.Path, dataset: str) -> pathlib.Path:
    """The folder of a prepared data set, newest version first.

    Args:
        data_dir: the `--data-dir` that was given to prepare.
        dataset: `name` (its default config) or `name/config`, with an optional `/version`.

    Raises:
        UserError: it is not prepared there, or only half.
    """
    data_dir = pathlib.Path(data_dir)
    name, _, rest = dataset.strip("/").partition("/")
    if not rest:
        rest = _default_config(data_dir / name)
    wanted = data_dir / name / rest
    found = [p.parent for p in (wanted / METADATA_FILE, *wanted.glob(f"*.*.*/{METADATA_FILE}"))]
    finished = [p for p in found if _is_finished(p)]
    if finished:
        return max(finished, key=_version)
    raise _not_prepared(data_dir, dataset, wanted)


def _default_config(folder: pathlib.Path) -> str:
    """TFDS notes a data set's default config beside its configs."""
    noted = folder / ".config" / "metadata.json"
    return json.loads(noted.read_text())["default_config_name"] if noted.is_file() else ""


def _is_finished(version_dir: pathlib.Path) -> bool:
    """Unfinished and replaced data sets stand in folders of other names beside it."""
    is_version = re.fullmatch(r"\d+\.\d+\.\d+", version_dir.name) is not None
    return is_version and (version_dir / METADATA_FILE).is_file()


def _version(version_dir: pathlib.Path) -> tuple[int, ...]:
    return tuple(int(part) for part in version_dir.name.split("."))


def prepared(data_dir: str | pathlib.Path) -> list[str]:
    """Every finished data set under a folder, as `name/config`."""
    data_dir = pathlib.Path(data_dir)
    found = {p.parent for n in (2, 3) for p in data_dir.glob("*/" * n + METADATA_FILE)}
    return sorted({str(p.parent.relative_to(data_dir)) for p in found if _is_finished(p)})


def _not_prepared(data_dir: pathlib.Path, dataset: str, wanted: pathlib.Path) -> UserError:
    command = f"python -m clef_jax.prepare --dataset={dataset} --source=... --data-dir={data_dir}"
    if not data_dir.is_dir():
        return UserError(
            f"The data folder {data_dir} does not exist. Prepare the data with `{command}`.",
            problem="missing_folder",
        )
    if any(wanted.glob("incomplete.*")) or any(wanted.glob(f"{UNFINISHED}*")):
        return UserError(
            f"{dataset} in {data_dir} is half built: a prepare is still running, or was "
            f"killed. If none runs, start it again: `{command}`.",
            problem="half_built",
        )
    others = prepared(data_dir)
    hint = f" It holds {', '.join(others)}." if others else ""
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
    """Writes the index files of a data set; the JSON file, which completes them, is the last.

    Args:
        version_dir: the folder of the shards.
        metadata: everything that `load` reads from the JSON file but the format number.
        splits: for each split the per-record arrays of `columns`.
    """
    for split, arrays in splits.items():
        file = version_dir / f"index_{split}.npz"
        with files.appearing(file) as half, half.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # pyright: ignore[reportArgumentType]
    text = json.dumps({"format": FORMAT, **metadata}, indent=1, allow_nan=False)
    files.write_text(version_dir / METADATA_FILE, text + "\n")


def columns(
    patient_counts: Sequence[int], per_record: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The arrays of one split from its records in stored order, a patient's records together.

    Args:
        patient_counts: records of each patient, in stored order.
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
