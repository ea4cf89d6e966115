"""The public data sets that a scored run pre-trains on, without the test patients."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from clef_jax import dataset_list, objectives
from clef_jax.config import TrainConfig
from clef_jax.data import index as index_lib, selection, training_data
from clef_jax.data.index import Index
from clef_jax.errors import UserError
from clef_jax.signal import noise
from clef_jax.speedrunning import panel as panel_lib, settings
from clef_jax.speedrunning.panel import Panel


class Choice(NamedTuple):
    """Recordings to train on."""

    dataset: str
    """Data sets with their weights, as for clef-jax train."""
    exclude: str | None
    """Patients who are kept out of training, as for clef-jax train."""
    num_patients: int


def choose(config: settings.Config, panel: Panel, first: TrainConfig) -> Choice:
    """Returns the data sets that are wanted, or all public ones that can be trained on.

    Args:
        config: settings of the command.
        panel: tasks with their test patients.
        first: settings of training, which name the leads.

    Raises:
        UserError: a data set cannot be trained on, or there is none.
    """
    preset = objectives.preset(config.objective, config.preset)
    text = " ".join(config.dataset) or (first.dataset if "dataset" in preset.training else "")
    entries = dataset_list.parse(text) if text else _prepared(config, panel, first)
    exclude, num_patients = None, 0
    for entry in entries:
        settings.check_public(entry.name)
        index = index_lib.load(index_lib.find(config.data_dir, entry.name), index_lib.TRAIN)
        if not panel.trains_on(entry.name):
            raise UserError(
                f"All patients of {entry.name} are test patients, because its test split has "
                f"fewer than {panel_lib.MIN_TEST_PATIENTS}; train on another data set.",
                problem="tested_data",
            )
        condition = _exclusion(config, index)
        exclude = exclude or condition
        num_patients += selection.exclude(index, condition).num_patients
    text = text or " ".join(entry.name for entry in entries)
    return Choice(dataset_list.normal(text), exclude, num_patients)


def _prepared(
    config: settings.Config, panel: Panel, first: TrainConfig
) -> tuple[dataset_list.Entry, ...]:
    """Returns the prepared public data sets that have a requested lead, except those whose patients
    are all tested.

    Raises:
        UserError: there is none.
    """
    found = tuple(
        dataset_list.Entry(name, None)
        for name, index in _public_indexes(config)
        if panel.trains_on(name) and set(first.lead_names) & set(index.lead_names)
    )
    if not found:
        raise UserError(
            f"No public data set with the leads {first.leads} is prepared in {config.data_dir} to "
            "train on; prepare ptb_xl.",
            problem="no_training_data",
        )
    return found


def _public_indexes(config: settings.Config) -> Iterator[tuple[str, Index]]:
    for name in settings.PUBLIC:
        try:
            yield name, index_lib.load(index_lib.find(config.data_dir, name), index_lib.TRAIN)
        except UserError as error:
            if error.problem not in ("not_prepared", "half_built", "unknown_split"):
                raise


def _exclusion(config: settings.Config, index: index_lib.Index) -> str | None:
    """Returns what keeps the test folds of PTB-XL out of training; None if none is in the split."""
    labels = {label["name"] for label in index_lib.read_metadata(index.version_dir)["labels"]}
    if panel_lib.FOLD not in labels:
        return None
    text = f"{panel_lib.FOLD}={','.join(map(str, sorted(config.test_folds)))}"
    try:
        selection.exclude(index, text)
    except UserError as error:
        if error.problem != "excludes_nothing":
            raise
        return None
    return text


def keeps_test_patients(run: dict[str, Any], config: settings.Config, panel: Panel) -> bool:
    """Returns whether a training run states that it used no test patient of the panel.

    Args:
        run: settings of the run, as it saved them.
        config: settings of the command.
        panel: tasks with their test patients.
    """
    stated = run.get("dataset") or ""
    for name, _ in dataset_list.parse(stated) if stated else ():
        if dataset_list.base_name(name) not in panel.fingerprints:
            continue
        if not panel.trains_on(name):
            return False
        folder = index_lib.find(config.data_dir, dataset_list.base_name(name))
        needed = _exclusion(config, index_lib.load(folder, index_lib.TRAIN))
        if needed is not None and not _covers(run.get("exclude"), needed):
            return False
    return True


def _covers(excluded: str | None, needed: str) -> bool:
    if not excluded:
        return False
    have, want = selection.parse(excluded), selection.parse(needed)
    return have.field == want.field and set(map(float, want.values)) <= set(map(float, have.values))


def facts(trained: TrainConfig) -> dict[str, Any]:
    """Returns what a row states about the training data: fingerprints, shares and the risk used.

    The risk is None where the objective has no setting about it.
    """
    described = training_data.load(trained).describe()
    uses_risk = any("risk" in name for name in vars(trained.loss_config))
    risks = dict.fromkeys(_risk(data) for data in described)
    return {
        "training_data": {
            "noise": noise.fingerprint(trained.noise_path),
            **{data["name"]: data["fingerprint"] for data in described},
        },
        "num_patients": {data["name"]: data["num_patients"] for data in described},
        "risk": ", ".join(risks) if uses_risk else None,
    }


def _risk(data: dict[str, Any]) -> str:
    """Returns the score of a data set's risk, and how much of it is known."""
    if not data["known_risk"]:
        return f"unknown ({dataset_list.base_name(data['name'])})"
    return data["settings"]["score"]
