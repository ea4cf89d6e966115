"""Settings of `python -m clef_jax.push`; importing them needs neither jax nor a hub."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from clef_jax import plugin
from clef_jax.errors import WrongArgument
from clef_jax.hub import address

OTHER = "other"
"""Licence that the hub does not know by name."""
LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "zlib"),
    *("agpl-3.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "eupl-1.2", "osl-3.0"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("odbl", "odc-by", "pddl", "cdla-permissive-2.0", "cdla-sharing-1.0"),
    *("openrail", "openrail++", "bigscience-openrail-m", "openmdw-1.0"),
    OTHER,
)
"""Licences by the names that the hub uses."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Publishes a model folder on a model hub."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """Model folder, as fit, convert from-torch and `clef_jax.load(RUN).save(FOLDER)` write it."""
    repository: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ORG/NAME")]
    """Repository on the hub: ORG/NAME, or USER/NAME. It is made if it does not exist."""
    license: str
    """Licence of the weights by the hub's name, such as apache-2.0, cc-by-nc-4.0 or other."""
    license_name: str | None = None
    """Name of the licence, if --license=other."""
    license_link: str | None = None
    """Web address of the licence's text, if --license=other."""
    public: bool = False
    """Make a new repository public; by default it is private. An existing one stays as it is."""
    message: str | None = None
    """Message of the commit; by default it names the fingerprint."""
    overwrite: bool = False
    """Replace what the repository holds; by default it must be empty, or hold the same files."""
    dry_run: bool = False
    """Print what would be uploaded and replaced, and change nothing."""

    def __post_init__(self):
        address.check_repository(self.repository.removeprefix(address.PREFIX))
        if self.licence not in LICENCES:
            raise WrongArgument(
                plugin.unknown("licence", self.license, LICENCES), problem="unknown_licence"
            )
        described = self.license_name is not None and self.license_link is not None
        if (self.licence == OTHER) != described or (
            (self.license_name is None) != (self.license_link is None)
        ):
            raise WrongArgument(
                f"--license={OTHER} needs --license-name and --license-link, and no other licence "
                "takes them.",
                problem="undescribed_licence",
            )

    @property
    def licence(self) -> str:
        """The licence in lower case, as the hub writes it."""
        return self.license.strip().lower()

    @property
    def path(self) -> pathlib.Path:
        """The model folder."""
        return pathlib.Path(self.folder).expanduser()

    @property
    def name(self) -> str:
        """The repository, `ORG/NAME`."""
        return self.repository.removeprefix(address.PREFIX)
