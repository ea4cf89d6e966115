"""Selects the files of a model folder to publish: those that this package writes, and nothing else.

The model is loaded and written again, so that its fingerprint is verified, and no entry, file or
code that the package does not know is published.
"""

import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax

from clef_jax import mesh as mesh_lib
from clef_jax.answers.fitted import Fitted
from clef_jax.convert import safetensors_file
from clef_jax.embedding import (
    auto_map,
    config_file,
    folder as model_folder,
    foreign_folder,
    head as head_lib,
    loading,
)
from clef_jax.embedding.config_file import CONFIG
from clef_jax.embedding.folder import CARD, PREPROCESSOR, WEIGHTS
from clef_jax.errors import UserError, counted, listed
from clef_jax.hub import model_card, privacy
from clef_jax.hub.settings import Config
from clef_jax.training import CHECKPOINTS_FOLDER, TRAINED

_KNOWN = {*model_folder.FILES, head_lib.ARRAYS, head_lib.OLD_CLASSIFIER, *auto_map.MODULES}
NOT_PUBLISHED = {".git", ".gitattributes", ".cache", ".DS_Store", "__pycache__"}
"""Names in a folder that are neither published nor a reason to refuse it."""
_MOST_NAMES = 5


class Content(NamedTuple):
    """The files to publish, in a folder of their own."""

    files: Mapping[str, pathlib.Path]
    """Files by their names in the repository."""
    fingerprint: str
    trained_on: str | None
    """Data set that the encoder was trained on, if the folder states it."""


def write(config: Config, out: pathlib.Path) -> Content:
    """Checks a model folder, and writes what is published of it to another folder.

    Args:
        config: the settings.
        out: empty folder.

    Raises:
        UserError: the folder is no model folder, holds other files or what could identify a
            patient, or its weights must not be published under this licence.
    """
    folder = config.path
    stated = _check_folder(folder)
    _check_metadata(folder)
    model = loading.read(
        folder, mesh_lib.make_mesh(jax.local_devices()[:1]), weights=TRAINED, variant=None
    )
    _check_licence(stated, config)
    foreign_folder.save_any(model.encoder, out, head=model.head)
    for name in (WEIGHTS, head_lib.ARRAYS):
        # Written anew, they would hold the same in another order, and count as a change.
        if (out / name).is_file() and (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    for name in (CONFIG, PREPROCESSOR):
        _check_entries(folder / name, config_file.read(out / name))
    card = model_card.publish((folder / CARD).read_text(encoding="utf-8"), config)
    generated = set((out / CARD).read_text(encoding="utf-8").splitlines())
    own_lines = [line for line in card.splitlines() if line not in generated]
    problem = privacy.in_card("\n".join(own_lines))
    if problem:
        raise _identifying(folder / CARD, f"it holds {problem}")
    (out / CARD).write_text(card, encoding="utf-8")
    files = {path.name: path for path in sorted(out.iterdir())}
    trained_on = model_folder.describe_run(model.encoder.run).get("dataset")
    return Content(files, model.encoder.fingerprint, trained_on and str(trained_on))


def _check_folder(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the configuration of a model folder without other files."""
    if (folder / CHECKPOINTS_FOLDER).is_dir():
        raise UserError(
            f"{folder} is a training run, which holds paths and names of patients; write its model "
            f"to a folder first: clef_jax.load({str(folder)!r}).save(FOLDER).",
            problem="not_a_model_folder",
        )
    lacking = [name for name in model_folder.FILES if not (folder / name).is_file()]
    if lacking:
        missing = "does not exist" if not folder.is_dir() else f"has no {lacking[0]}"
        raise UserError(
            f"{folder} is no model folder of this package: it {missing}.",
            problem="not_a_model_folder",
        )
    config = config_file.read(folder / CONFIG)
    if config.get("model_type") not in (model_folder.MODEL_TYPE, model_folder.PUBLISHED_TYPE):
        raise UserError(
            f"{folder} is no model folder of this package: {CONFIG} states the model type "
            f"{config.get('model_type')!r}.",
            problem="not_a_model_folder",
        )
    if not isinstance(config.get("fingerprint"), str):
        raise UserError(
            f"{folder / CONFIG} states no fingerprint, so that nobody could verify the model; save "
            "it again with clef_jax.load(FOLDER).save(OTHER).",
            problem="no_fingerprint",
        )
    others = sorted({path.name for path in folder.iterdir()} - _KNOWN - NOT_PUBLISHED)
    if others:
        raise UserError(
            f"{folder} holds {counted(len(others), 'file')} that no model folder has: "
            f"{listed(others, _MOST_NAMES)}. They may hold data of patients; move them "
            "elsewhere.",
            problem="other_files",
        )
    linked = [name for name in sorted(_KNOWN) if (folder / name).is_symlink()]
    if linked and not _is_cached(folder):
        raise UserError(
            f"{folder / linked[0]} is a link; copy the file itself into the folder.",
            problem="linked_file",
        )
    return config


def _is_cached(folder: pathlib.Path) -> bool:
    """Returns whether a folder is a snapshot in the cache of a hub, whose files are links."""
    return folder.absolute().parent.name == "snapshots"


def _check_metadata(folder: pathlib.Path) -> None:
    """Raises UserError if a file of weights has metadata that this package does not write."""
    for name in (WEIGHTS, head_lib.ARRAYS):
        unknown = set(safetensors_file.read_metadata(folder / name)) - {"format", "fingerprint"}
        if unknown:
            raise _identifying(folder / name, f"its metadata have the entry {sorted(unknown)[0]!r}")


def _check_entries(path: pathlib.Path, known: Mapping[str, Any]) -> None:
    """Raises UserError if a JSON file has entries that this package does not write, or texts that
    could identify a patient.

    Args:
        path: the file.
        known: what this package writes for the same model.
    """
    stated = config_file.read(path)
    unknown = sorted(_unknown(stated, known, ""))
    if unknown:
        raise _identifying(path, f"this package does not write the entry {unknown[0]!r}")
    head = stated.get("head", {})
    fitted = head.get("fitted")
    if fitted is not None:
        own = Fitted.from_json(fitted).to_json()
        extra = sorted(set(fitted) - set(own))
        if extra:
            raise _identifying(path, f"this package does not write head.fitted.{extra[0]}")
    checked = {name: value for name, value in stated.items() if name not in ("head", "auto_map")}
    problems = [
        *(p for name, value in checked.items() for p in privacy.in_metadata(value, name)),
        *_in_head(head),
    ]
    if problems:
        raise _identifying(path, problems[0])


def _in_head(head: Mapping[str, Any]) -> Iterator[str]:
    """Yields what the entry of a head holds that could identify somebody."""
    for name in head.get("names", ()):
        problem = privacy.in_text(name)
        if problem:
            yield f"the output {name!r} is {problem}"
    sentence = (head.get("fitted") or {}).get("split")
    yield from privacy.in_metadata(sentence, "head.fitted.split")


def _unknown(stated: Any, known: Any, name: str) -> Iterator[str]:
    """Yields the names of entries that only the stated value has; those of `run` are free."""
    if not isinstance(stated, Mapping) or not isinstance(known, Mapping):
        return
    for key, value in stated.items():
        full = f"{name}.{key}" if name else str(key)
        if key not in known:
            yield full
        else:
            yield from _unknown(value, known[key], full)


def _check_licence(stated: Mapping[str, Any], config: Config) -> None:
    """Raises UserError if others published the weights under other terms."""
    terms = stated.get("licence_of_the_weights")
    if terms is None:
        return
    if "-".join(str(terms).lower().split()) != config.licence:
        raise UserError(
            f"The weights in {config.path} are those of {stated.get('title')}, whose licence is: "
            f"{terms}. They cannot be published under {config.licence}.",
            problem="other_licence",
        )


def _identifying(path: pathlib.Path, what: str) -> UserError:
    return UserError(
        f"{path} is not published, because it could identify a patient or your machine: {what}. "
        "Remove that, or save the model again with clef_jax.load(FOLDER).save(OTHER).",
        problem="identifying",
    )
