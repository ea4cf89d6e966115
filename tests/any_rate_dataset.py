"""A prepared data set of one lead, made of arrays of any rate and length."""

import contextlib
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from clef_jax.building import builder
from clef_jax.building.listing import Entry, Listing
from clef_jax.data import index as index_lib
from clef_jax.data.record import Layout, Observed, Recording
from clef_jax.simulation import simulated_ecg

GAIN_PER_MV = 200.0


def read(source, entry):
    with np.load(source / f"{entry.record_id}.npz") as file:
        return Recording(
            signal=file["signal"],
            lead_names=("I",),
            gain_per_mv=np.full(1, GAIN_PER_MV, np.float32),
            baseline=np.full(1, -7, np.int32),
            sample_rate_hz=float(file["sample_rate_hz"]),
        )


def _entry(path):
    with np.load(path) as file:
        age, male = (float(file[name]) for name in ("age_years", "male"))
    observed = Observed(age_years=age, male=male)
    return Entry(record_id=path.stem, patient_id=path.stem, split="train", observed=observed)


class AnyRate(builder.RecordingBuilder):
    """Arrays in files named after the record."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "There is nothing to download."
    LAYOUT = Layout(leads=("I",), sample_rate_hz=None, num_samples=None)
    READ = staticmethod(read)

    @contextlib.contextmanager
    def _listing(self, source: pathlib.Path):
        entries = [_entry(path) for path in sorted(source.glob("*.npz"))]
        yield Listing(entries=entries, num_records=len(entries), num_patients=len(entries))


def ecg(seed, seconds, sample_rate_hz):
    """int16 [1, T] of a simulated person."""
    num_samples = round(seconds * sample_rate_hz)
    signal = simulated_ecg.make(
        seed, ("I",), sample_rate_hz=sample_rate_hz, num_samples=num_samples
    )
    return (np.rint(signal * GAIN_PER_MV) - 7).astype(np.int16)


def build(folder, recordings, observed=None, **options):
    """The index of a data set of recordings: name to int16 [1, T] and rate in Hz.

    `observed` has age and sex by name, where they are known; there is no other clinical data.
    """
    source = folder / "source"
    source.mkdir(parents=True)
    for name, (signal, sample_rate_hz) in recordings.items():
        age, male = (observed or {}).get(name, (np.nan, np.nan))
        about = {"age_years": age, "male": male}
        np.savez(source / f"{name}.npz", signal=signal, sample_rate_hz=sample_rate_hz, **about)
    made = AnyRate(data_dir=folder / "data", options=builder.Options(**options))
    made.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=str(source)))
    return index_lib.load(made.data_path, "train")


COHORT_RATE_HZ = 300.0


def build_cohort(folder, **options):
    """The index of forty recordings of lead I at 300 Hz; age and sex of two people are unknown."""
    people = [f"p{number:02}" for number in range(40)]
    recordings = {x: (ecg(i, 3.0, COHORT_RATE_HZ), COHORT_RATE_HZ) for i, x in enumerate(people)}
    observed = {x: (41.0 + i, float(i % 2)) for i, x in enumerate(people[2:])}
    return build(folder, recordings, observed, **options)
