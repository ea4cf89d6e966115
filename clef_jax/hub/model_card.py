"""The model card as it is published: licence, library and tags, and how to load the model."""

from typing import Any

from clef_jax.embedding import card
from clef_jax.errors import UserError
from clef_jax.hub import address, client
from clef_jax.hub.settings import OTHER, Config

LIBRARY, TASK = "clef_jax", "feature-extraction"
TAGS = ("clef_jax", "ecg", "electrocardiogram", "time-series", "medical", "safetensors")
"""Tags of every model; those of the card follow."""


def publish(text: str, config: Config) -> str:
    """Returns the card of a model folder with the metadata that a hub reads.

    What the user wrote stays, apart from the licence and the placeholders for it and for the path.

    Args:
        text: the card in the folder.
        config: the settings.

    Raises:
        UserError: the metadata at the top of the card cannot be read.
    """
    hub = client.import_hub()
    if not text.lstrip().startswith("---"):
        text = f"---\n{{}}\n---\n{text}"  # the library warns of a card without metadata
    try:
        published: Any = hub.ModelCard(text)
    except Exception as error:  # of YAML, of which there are many
        raise UserError(
            f"The metadata at the top of {config.path / 'README.md'} cannot be read: "
            f"{str(error).partition(chr(10))[0]}. Mend or delete them.",
            problem="wrong_card",
        ) from error
    data = published.data
    data.license = config.licence
    if config.licence == OTHER:
        data.license_name, data.license_link = config.license_name, config.license_link
    data.library_name = data.library_name or LIBRARY
    data.pipeline_tag = data.pipeline_tag or TASK
    data.tags = list(dict.fromkeys([*TAGS, *(data.tags or ())]))
    licence = config.license_name or config.licence
    link = f" ({config.license_link})" if config.license_link else ""
    published.text = published.text.replace(card.PATH, f"{address.PREFIX}{config.name}").replace(
        card.NO_LICENCE,
        f"Of the weights: {licence}{link}. The terms of the training data limit it.",
    )
    return str(published)
