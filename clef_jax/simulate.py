"""Simulates a cohort of ECG recordings and clinical tables, in the layout of a real data set.

`python -m clef_jax.simulate --patients=512 --out=DIR`

The folder has the layout of MIMIC-IV-ECG 1.0 with MIMIC-IV's hospital tables in `hosp/`, so that
all other commands run without a download. The patients do not exist. The ECGs depend on age, blood
pressure and disease as strongly as the literature states and no more; the cohort tests programs,
and no result on it is a medical result.

`--dataset=NAME` writes a small source folder in the layout of another data set, with the faults
that its source has.
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence

import rich.console
import rich.progress

from clef_jax import command_line, files
from clef_jax.errors import UserError, counted, exit_on_user_error
from clef_jax.simulation import (
    defect,
    heart,
    hospital,
    measurement,
    patient,
    recording,
    tree,
    visit,
)

_MIMIC = "mimic_iv_ecg"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Simulates a cohort of ECG recordings and clinical tables. The patients do not exist."""

    dataset: str = _MIMIC
    """Data set whose layout is simulated; other data sets than mimic_iv_ecg are small and have the
    faults of their source."""
    out: pathlib.Path
    """New or empty folder to write; the file planted_NAME.csv beside it lists the planted
    faults."""
    patients: int = 512
    """Number of patients. A smaller cohort's patients are the first patients of a larger one."""
    seed: int = 0
    """Random seed; the same seed and settings give the same bytes."""
    records_per_patient: float = 2.2
    """Mean number of recordings per patient, from 1 to 10; a recording takes 120 kB."""
    defect_rate_multiplier: float = 1.0
    """Rate of planted faults, as a multiple of the 1.7 % of recordings in MIMIC-IV-ECG."""
    overwrite: bool = False
    """Replace a simulated cohort in the folder; folders with other content are never changed."""

    def __post_init__(self):
        if not 1 <= self.patients <= patient.MAX_PATIENTS:
            raise UserError(f"--patients must be from 1 to {patient.MAX_PATIENTS:,}.")
        command_line.check_seed(self.seed)
        if not 1.0 <= self.records_per_patient <= 10.0:
            raise UserError("--records-per-patient must be from 1 to 10.")
        if not 0.0 <= self.defect_rate_multiplier <= defect.MAX_MULTIPLIER:
            raise UserError(
                f"--defect-rate-multiplier must be from 0 to {defect.MAX_MULTIPLIER:.0f}, above "
                "which every recording would have a fault."
            )

    def description(self) -> str:
        """Returns the text of the file that describes the folder."""
        return (
            "A cohort simulated by `clef-jax simulate`. The patients do not exist.\n"
            f"patients={self.patients} seed={self.seed} "
            f"records_per_patient={self.records_per_patient:g} "
            f"defect_rate_multiplier={self.defect_rate_multiplier:g}\n"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of patients, recordings and planted faults of a simulated cohort."""

    patients: int
    records: int
    defects: int


SETTINGS = SimulateConfig


def main(argv: Sequence[str] | None = None) -> None:
    console = rich.console.Console(highlight=False)
    begin_seconds = time.monotonic()
    with exit_on_user_error():
        config = command_line.parse(SETTINGS, argv, "simulate")
        files.check_output_folder(config.out)
        if config.dataset != _MIMIC:
            _write_small_tree(config, console)
            return
        counts = simulate(config, console)
    out = config.out if config.out.name not in ("", "..") else config.out.resolve()
    console.print(
        f"{counted(counts.records, 'recording')} of "
        f"{counted(counts.patients, 'simulated patient')} in {config.out}, "
        f"{counted(counts.defects, 'planted fault')} listed in {tree.planted_path(out)}, "
        f"{time.monotonic() - begin_seconds:.0f} s.",
        soft_wrap=True,
    )


def _write_small_tree(config: SimulateConfig, console: rich.console.Console) -> None:
    from clef_jax.building import catalog

    write = catalog.simulated(config.dataset).write
    out = config.out.resolve()
    with tree.new_folder(out, overwrite=config.overwrite) as folder:
        made = write(folder, config.patients)
        (folder / tree.MARKER).write_text(
            f"A source folder in the layout of {config.dataset}, simulated by "
            "`clef-jax simulate`. The patients do not exist.\n",
            newline="\n",
        )
    config_name = f"/{made.config}" if made.config else ""
    console.print(
        f"Simulated a source folder in the layout of {config.dataset} in {out}. Prepared as "
        f"{config.dataset}{config_name}, it gives {counted(len(made.stored), 'recording')}; it "
        f"holds {counted(len(made.planted), 'planted fault')}.",
        soft_wrap=True,
    )


def simulate(config: SimulateConfig, console: rich.console.Console | None = None) -> Counts:
    """Writes a cohort and returns its counts.

    Args:
        config: settings of the cohort.
        console: shows a progress bar; by default none is shown.

    Raises:
        UserError: the folder holds files that must not be replaced, or cannot be written.
    """
    out = config.out.resolve()
    tree.check_planted(out)
    records = defects = 0
    with tree.new_folder(out, overwrite=config.overwrite) as folder:
        with tree.Tree(folder, config.description()) as cohort:
            for index in rich.progress.track(
                range(config.patients),
                "Simulating patients",
                console=console,
                disable=console is None,
            ):
                one_records, one_defects = write_patient(config, index, cohort)
                records, defects = records + one_records, defects + one_defects
        cohort.write_planted(tree.planted_path(out))
    return Counts(patients=config.patients, records=records, defects=defects)


def write_patient(config: SimulateConfig, index: int, cohort: tree.Tree) -> tuple[int, int]:
    """Simulates and writes one patient; returns the numbers of recordings and planted faults."""
    seed = config.seed
    person = patient.sample(seed, index)
    visits = visit.sample(seed, person, config.records_per_patient)
    cohort.write_patient(hospital.tables(seed, person, visits))
    defects = 0
    for study in visits:
        beating = heart.sample(seed, person, study)
        recorded = recording.record(seed, person, study, beating)
        adc, planted = defect.plant(
            seed, person, study, recorded.adc, rate_multiplier=config.defect_rate_multiplier
        )
        measured = measurement.measure(seed, person, study, beating, recorded.rhythm)
        cohort.write_record(person, study, adc, measured, planted)
        defects += planted is not None
    return len(visits), defects


if __name__ == "__main__":
    main()
