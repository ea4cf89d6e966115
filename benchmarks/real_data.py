"""Compares what the project reads of real recordings with independent readers.

`python benchmarks/real_data.py --data-dir=DIR --source ptb_xl/100hz=DIR cinc2017=DIR --files DIR`

Each raw folder is prepared, checked and read back; samples, gains, baselines, rates and leads are
compared with the package wfdb, patients and labels with the tables of the folder, read by pandas.
Each file below the folders of `--files` is opened and compared with wfdb, edfio, pydicom, SciPy,
sierraecg or a plain parser, which must be installed. The exit code is 1 if anything disagrees.
"""

import argparse
import collections
import dataclasses
import json
import lzma
import os
import pathlib
import sys
import tempfile
import warnings
from typing import Any

import independent_readers
import numpy as np
import pandas as pd
import rich.console
import rich.table
from independent_readers import Reference

from clef_jax import formats, prepare
from clef_jax.data import index as index_lib, metadata, raw
from clef_jax.finding import Defect
from clef_jax.signal.adc import MISSING_ADC

CONSOLE = rich.console.Console(highlight=False, soft_wrap=True)
MAX_SHOWN = 10
"""Number of disagreements that are printed for each row of the table."""
LARGEST_DIFFERENCE_MV = 1e-6
"""For samples of files, which are float32; those of prepared data are integers."""
FLOAT32, SIX_DIGITS = 1e-7, 5.1e-6
"""Relative rounding of stored numbers, and of numbers in tables."""


@dataclasses.dataclass
class Row:
    """A row of the table."""

    name: str
    recordings: int = 0
    samples: int = 0
    values: int = 0
    """Number of compared values other than samples: rates, gains, names, patients, labels."""
    not_compared: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Number of recordings or files that were refused or not compared, by reason."""
    disagreements: list[str] = dataclasses.field(default_factory=list)

    def compare(self, what: str, ours: Any, theirs: Any, rounding: float = FLOAT32) -> None:
        """Compares a value; numbers may differ by this relative rounding, and NaN equals NaN."""
        self.values += 1
        numbers = all(isinstance(value, int | float | np.number) for value in (ours, theirs))
        same = np.isclose(ours, theirs, rounding, 0, equal_nan=True) if numbers else ours == theirs
        if not same:
            self.disagreements.append(f"{what}: {ours} instead of {theirs}")

    def compare_samples(
        self, what: str, ours: np.ndarray, theirs: np.ndarray, largest: float = 0.0
    ) -> None:
        """Compares arrays of equal shape; NaN equals NaN."""
        self.samples += theirs.size
        if ours.shape != theirs.shape:
            self.disagreements.append(f"{what}: shape {ours.shape} instead of {theirs.shape}")
            return
        rounding = FLOAT32 if largest else 0.0
        num_different = (~np.isclose(ours, theirs, rounding, largest, equal_nan=True)).sum()
        if num_different:
            self.disagreements.append(f"{what}: {num_different} of {ours.size} samples differ")

    def cells(self) -> list[str]:
        numbers = (self.recordings, self.samples, self.values, len(self.disagreements))
        return [self.name, *(f"{number:,}" for number in numbers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=pathlib.Path, help="folder of prepared data sets")
    parser.add_argument("--source", nargs="*", default=[], metavar="DATASET=FOLDER")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of prepare")
    parser.add_argument("--expected", type=pathlib.Path, help="CSV of clinical values by `path`")
    parser.add_argument("--files", nargs="*", default=[], type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--rate-hz", type=float, help="rate of files that do not state one")
    arguments = parser.parse_args()
    if arguments.source and not arguments.data_dir:
        parser.error("--source needs --data-dir, where the data sets are prepared.")
    warnings.simplefilter("ignore")  # of the other readers
    rows = []
    for text in arguments.source:
        dataset, _, folder = text.partition("=")
        rows.append(compare_prepared(dataset, pathlib.Path(folder), arguments))
    rows += [compare_files(folder, arguments.rate_hz) for folder in arguments.files]
    columns = ("recordings", "samples", "other values", "disagreements")
    table = rich.table.Table("source", *columns, title="Compared with independent readers")
    for row in rows:
        for reason, number in sorted(row.not_compared.items()):
            CONSOLE.print(f"{row.name}: {number:,} not compared: {reason}", markup=False)
        for text in row.disagreements[:MAX_SHOWN]:
            CONSOLE.print(f"{row.name}: {text}", markup=False)
        table.add_row(*row.cells())
    CONSOLE.print(table)
    sys.exit(any(row.disagreements for row in rows))


def compare_prepared(dataset: str, source: pathlib.Path, arguments: argparse.Namespace) -> Row:
    """Prepares a raw folder, checks the result, and compares all that is stored."""
    flags = [f"--dataset={dataset}", f"--data-dir={arguments.data_dir}"]
    flags.append(f"--workers={arguments.workers}")
    prepare.main([*flags, f"--source={source}"])
    prepare.main([*flags, "--check"])
    folder = index_lib.find(arguments.data_dir, dataset)
    row, expected = Row(dataset), expected_values(dataset, source, arguments.expected)
    for split in index_lib.splits(folder):
        index = index_lib.load(folder, split)
        reader = raw.Reader(index)
        for number, values in enumerate(metadata.load(index)):
            stored = {name: _plain(value) for name, value in values.items()}
            record_id = stored["record_id"]
            reference = independent_readers.read_wfdb(source / f"{stored['source_record']}.hea")
            compare_record(row, reader, index, number, reference)
            if record_id not in expected:
                row.not_compared["without a row of the tables"] += 1
            for name, value in expected.get(record_id, {}).items():
                ours = sorted(stored[name]) if isinstance(value, list) else stored[name]
                row.compare(f"{record_id} {name}", ours, value, SIX_DIGITS)
    for line in (folder / "quality.jsonl").read_text().splitlines():
        finding = json.loads(line)
        if finding["action"] == "quarantined":
            row.not_compared[finding["problem"]] += 1
    return row


def expected_values(
    dataset: str, source: pathlib.Path, table: pathlib.Path | None
) -> dict[str, dict[str, Any]]:
    """Returns what the folder's tables and the given one state about recordings, by record id."""
    values = independent_readers.read_tables(dataset, source)
    for row in pd.read_csv(table).to_dict("records") if table else ():
        record_id = row.pop("path")
        if record_id in values:
            values[record_id] |= row
    return values


def _plain(value: Any) -> Any:
    """Returns texts as str."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def compare_record(
    row: Row, reader: raw.Reader, index: index_lib.Index, number: int, reference: Reference
) -> None:
    """Compares samples, gains, baselines, rate and leads of a stored recording."""
    assert reference.adc is not None
    assert reference.gain_per_mv is not None
    assert reference.baseline is not None
    stored_row = index.row[number : number + 1]
    (record_id,) = reader.texts(stored_row)
    num_samples = int(index.num_samples[number])
    (adc,) = reader.read(stored_row, np.arange(len(index.lead_names)), num_samples)
    names = [name.upper() for name in reference.lead_names or ()]
    if len(names) == 1 == len(index.lead_names):  # one lead needs no name
        names = [index.lead_names[0].upper()]
    row.recordings += 1
    row.compare(f"{record_id} rate", index.sample_rate_hz[number], reference.rate_hz)
    row.compare(f"{record_id} leads", sorted(n.upper() for n in index.lead_names), sorted(names))
    for lead, name in enumerate(index.lead_names):
        if name.upper() not in names:
            continue
        place, what = names.index(name.upper()), f"{record_id} {name}"
        missing = np.isnan(reference.millivolts[place])
        theirs = np.where(missing, MISSING_ADC, reference.adc[place])
        row.compare(f"{what} gain", index.gain_per_mv[number, lead], reference.gain_per_mv[place])
        row.compare(f"{what} baseline", index.baseline[number, lead], reference.baseline[place])
        row.compare_samples(what, adc[lead], theirs)


def compare_files(folder: pathlib.Path, rate_hz: float | None) -> Row:
    """Opens every file below a folder, and compares what is in it."""
    row = Row(folder.name)
    with tempfile.TemporaryDirectory() as scratch:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            if path.suffix == ".xz":
                compressed, path = path, pathlib.Path(scratch, path.stem)
                path.write_bytes(lzma.decompress(compressed.read_bytes()))
            try:
                opened = open_file(path, rate_hz)
            except Defect as defect:
                row.not_compared[f"refused as {defect.problem} ({path.suffix})"] += 1
                continue
            references = independent_readers.read_file(path)
            if references is None:
                row.not_compared[f"without an independent reader ({path.suffix})"] += 1
                continue
            row.compare(f"{name} recordings", len(opened), len(references))
            for ours, theirs in zip(opened, references, strict=False):
                compare_opened(row, f"{name} {ours.part}".strip(), ours, theirs)
    return row


def open_file(path: pathlib.Path, rate_hz: float | None) -> list[formats.Opened]:
    """Returns the recordings of a file, with the given rate if it states none."""
    try:
        return list(formats.open(path))
    except Defect as defect:
        if defect.problem != "no_rate" or rate_hz is None:
            raise
        return list(formats.open(path, formats.Hints(sample_rate_hz=rate_hz)))


def compare_opened(row: Row, name: str, ours: formats.Opened, theirs: Reference) -> None:
    """Compares samples, rate and leads of a file's recording."""
    row.recordings += 1
    samples = ours.read(0, ours.num_samples)
    row.compare_samples(name, samples, theirs.millivolts, LARGEST_DIFFERENCE_MV)
    if theirs.rate_hz is not None:
        row.compare(f"{name} rate", ours.sample_rate_hz, theirs.rate_hz)
    if theirs.lead_names is not None:
        both = (ours.lead_names, theirs.lead_names)
        row.compare(f"{name} leads", *([text.upper() for text in names] for names in both))


if __name__ == "__main__":
    main()
