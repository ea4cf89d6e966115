"""The files with which the library `transformers` loads a model folder, without this package.

`transformers.AutoModel.from_pretrained(FOLDER, trust_remote_code=True)` finds the classes by the
entry "auto_map" of the configurations. The modules are copies of `convert.modeling_clef` and
`convert.pytorch_encoder`, and need PyTorch but no JAX.
"""

import pathlib
from typing import Any

from clef_jax import convert, files

MODULES = ("modeling_clef.py", "pytorch_encoder.py")
"""Names of the modules in a model folder; they are those in `clef_jax.convert`."""
_MODULE = "modeling_clef"
_SOURCE = pathlib.Path(convert.__file__).parent
_AFFINE = ".bn1.scale"
"""End of the names of weights in networks that had batch norm."""


def write(folder: pathlib.Path) -> None:
    """Writes the modules to a folder."""
    for name in MODULES:
        files.write_bytes(folder / name, source(name))


def remove(folder: pathlib.Path) -> None:
    """Removes the modules from a folder."""
    for name in MODULES:
        (folder / name).unlink(missing_ok=True)


def source(name: str) -> bytes:
    """Returns the text of one of `MODULES`, as this version of the package writes it."""
    return (_SOURCE / name).read_bytes()


def config_entries(names: list[str]) -> dict[str, Any]:
    """Returns the entries of `config.json` that `transformers` needs.

    Args:
        names: names of the weights.
    """
    return {
        "architectures": ["ClefModel"],
        "auto_map": {"AutoConfig": f"{_MODULE}.ClefConfig", "AutoModel": f"{_MODULE}.ClefModel"},
        "input_affine": any(name.endswith(_AFFINE) for name in names),
    }


def preprocessor_entries() -> dict[str, Any]:
    """Returns the entries of `preprocessor_config.json` that `transformers` needs."""
    return {"auto_map": {"AutoFeatureExtractor": f"{_MODULE}.ClefFeatureExtractor"}}
