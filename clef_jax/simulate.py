"""Simulates a cohort: `python -m clef_jax.simulate --patients=512 --out=DIR`.

The folder has the layout of MIMIC-IV-ECG 1.0 with MIMIC-IV's hospital tables in `hosp/`, so that
everything else runs without any download. Nobody in it exists. The ECGs carry information about
age, pressure and disease as large as textbooks say and no larger, which makes the cohort a test of
programs, never of medicine.

`--dataset=NAME` writes a small tree in the form of another data set, with the defects that its
source has.
"""

import dataclasses
import pathlib
import time
from collections.abc import Sequence

import rich.console
import rich.progress
import tyro

from clef_jax.errors import UserError, exit_on_user_error
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
    """Simulate a cohort in the layout of MIMIC-IV-ECG and MIMIC-IV. Nobody in it exists."""

    dataset: str = _MIMIC
    """Whose layout; of others than MIMIC-IV-ECG there are small trees with their own defects."""
    out: pathlib.Path
    """New or empty folder; `planted_NAME.csv` beside it lists the defects put in on purpose."""
    patients: int = 512
    """Number of patients. A larger cohort begins with the patients of a smaller one."""
    seed: int = 0
    """Seed of everything random: the same seed gives the same bytes."""
    records_per_patient: float = 2.2
    """Mean number of recordings per patient, from 1 to 10; each takes 120 kB."""
    defect_rate_multiplier: float = 1.0
    """Planted defects per recording, as a multiple of MIMIC-IV-ECG's 1.7 %."""
    overwrite: bool = False
    """Replace a simulated cohort that is already there; never touches other folders."""

    def __post_init__(self):
        if not 1 <= self.patients <= patient.MAX_PATIENTS:
            raise UserError(f"--patients must be from 1 to {patient.MAX_PATIENTS:,}.")
        if self.seed < 0:
            raise UserError("--seed must not be negative.")
        if not 1.0 <= self.records_per_patient <= 10.0:
            raise UserError("--records-per-patient must be from 1 to 10.")
        if not 0.0 <= self.defect_rate_multiplier <= defect.MAX_MULTIPLIER:
            raise UserError(
                f"--defect-rate-multiplier must be from 0 to {defect.MAX_MULTIPLIER:.0f}, above "
                "which every recording would be spoilt."
            )

    def description(self) -> str:
        """What the folder says about itself."""
        return (
            "A cohort simulated by `python -m clef_jax.simulate`. Nobody in it exists.\n"
            f"patients={self.patients} seed={self.seed} "
            f"records_per_patient={self.records_per_patient:g} "
            f"defect_rate_multiplier={self.defect_rate_multiplier:g}\n"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """What a simulated cohort holds."""

    patients: int
    records: int
    defects: int


def main(argv: Sequence[str] | None = None) -> None:
    console = rich.console.Console(highlight=False)
    begin_seconds = time.monotonic()
    with exit_on_user_error():
        config = tyro.cli(SimulateConfig, args=argv, prog="python -m clef_jax.simulate")
        if config.dataset != _MIMIC:
            _write_small_tree(config, console)
            return
        counts = simulate(config, console)
    console.print(
        f"{counts.records:,} recordings of {counts.patients:,} simulated patients in {config.out}, "
        f"{counts.defects} planted defects in {tree.planted_path(config.out)}, "
        f"{time.monotonic() - begin_seconds:.0f} s.",
        soft_wrap=True,
    )


def _write_small_tree(config: SimulateConfig, console: rich.console.Console) -> None:
    from clef_jax.building import catalog

    write = catalog.simulated(config.dataset).write
    out = config.out.resolve()
    tree.make_room(out, overwrite=config.overwrite)
    made = write(out, config.patients)
    (out / tree.MARKER).write_text(
        f"A tree in the form of {config.dataset}, simulated by `python -m clef_jax.simulate`. "
        "Nobody in it exists.\n",
        newline="\n",
    )
    config_name = f"/{made.config}" if made.config else ""
    console.print(
        f"A tree in the form of {config.dataset} is in {out}. Prepared as "
        f"{config.dataset}{config_name} it gives {len(made.stored)} recordings; "
        f"{len(made.planted)} defects are planted in it.",
        soft_wrap=True,
    )


def simulate(config: SimulateConfig, console: rich.console.Console | None = None) -> Counts:
    """Writes a cohort. Without a console there is no progress bar.

    Raises:
        UserError: the folder holds something that may not be replaced.
    """
    out = config.out.resolve()
    tree.make_room(out, overwrite=config.overwrite)
    records = defects = 0
    with tree.Tree(out, config.description()) as cohort:
        for index in rich.progress.track(
            range(config.patients), "Simulating patients", console=console, disable=console is None
        ):
            one_records, one_defects = write_patient(config, index, cohort)
            records, defects = records + one_records, defects + one_defects
    return Counts(patients=config.patients, records=records, defects=defects)


def write_patient(config: SimulateConfig, index: int, cohort: tree.Tree) -> tuple[int, int]:
    """One patient's path from the seed to the files. Returns the numbers of records and defects."""
    seed = config.seed
    person = patient.draw(seed, index)
    visits = visit.draw(seed, person, config.records_per_patient)
    cohort.write_patient(hospital.tables(seed, person, visits))
    defects = 0
    for study in visits:
        beating = heart.draw(seed, person, study)
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
