"""Publishes a model folder: checks it, says what will happen, and uploads it."""

import pathlib
import tempfile

import rich.console
import rich.table

from clef_jax.embedding import auto_map, head as head_lib
from clef_jax.errors import UserError, listed, printable
from clef_jax.hub import client, content, upload
from clef_jax.hub.content import Content
from clef_jax.hub.settings import Config
from clef_jax.hub.upload import Plan

NOTICE = (
    "Weights that were trained on credentialed data, such as MIMIC-IV or MC-MED, are derivatives "
    "of it. They may not be shared, not even in a private repository, with anybody who has not "
    "signed the same data use agreement, unless the owner of the data allows it."
)
"""Printed before anything is uploaded."""
_STALE = frozenset((head_lib.ARRAYS, head_lib.OLD_CLASSIFIER, *auto_map.MODULES))
_MOST_NAMES = 5


def run(config: Config) -> None:
    """Publishes a model folder.

    Raises:
        UserError: the folder must not be published, the repository holds something else, or the
            hub refused the upload.
    """
    console = rich.console.Console(highlight=False, markup=False, soft_wrap=True)
    client.import_hub()
    with tempfile.TemporaryDirectory(prefix="clef_jax_push_") as out:
        published = content.write(config, pathlib.Path(out))
        console.print(_notice(published))
        plan = upload.compare(config.name, published.files, _STALE, public=config.public)
        console.print(_table(published, plan))
        console.print(_where(config, plan))
        if plan.touched and not config.overwrite:
            raise _refused(config, plan)
        if plan.changes_nothing:
            console.print(f"Nothing to do: hf:{config.name}@{plan.commit} holds the same files.")
        elif config.dry_run:
            console.print("Nothing was changed, because of --dry-run.")
        else:
            message = config.message or f"Model {published.fingerprint[:16]}, by clef_jax push"
            address = upload.commit(config.name, published.files, plan, message)
            console.print(f"Published {printable(str(config.path))} as {address}")


def _notice(published: Content) -> str:
    if published.trained_on is None:
        return f"{NOTICE} The folder does not state what the encoder was trained on."
    return f"{NOTICE} The folder states that the encoder was trained on {published.trained_on}."


def _table(published: Content, plan: Plan) -> rich.table.Table:
    table = rich.table.Table("file", "KB", "change")
    for name, change in plan.changes.items():
        path = published.files.get(name)
        size = "" if path is None else f"{path.stat().st_size / 1e3:,.1f}"
        table.add_row(name, size, change)
    for name in plan.others:
        table.add_row(printable(name), "", "stays")
    return table


def _where(config: Config, plan: Plan) -> str:
    seen = "private" if plan.is_private else "public"
    endpoint = client.import_hub().constants.ENDPOINT
    state = "exists and is" if plan.exists else "is new and will be"
    return f"{endpoint}/{config.name} {state} {seen}; licence: {config.licence}."


def _refused(config: Config, plan: Plan) -> UserError:
    names = printable(listed(plan.touched, _MOST_NAMES))
    return UserError(
        f"{config.name} holds something else already: {names}. Choose another repository, or "
        "push into this one with --overwrite; its history keeps what is replaced, and files that "
        "no model folder has stay.",
        problem="other_content",
    )
