"""The encoder of a training run.

A module of its own, because reading checkpoints needs Orbax, which takes a second to import and
model folders do without.
"""

import pathlib

from jax.sharding import Mesh

from clef_jax import machine, mesh as mesh_lib, models
from clef_jax.embedding.encoder import Embedder
from clef_jax.embedding.recipe import Recipe
from clef_jax.training import TRAINED, Weights, saved_run


def load(
    workdir: str | pathlib.Path,
    mesh: Mesh,
    *,
    name: str | None = None,
    weights: Weights = TRAINED,
) -> Embedder:
    """Returns the encoder of a run's newest checkpoint; restores its parameters and nothing else.

    Args:
        workdir: the folder of the run.
        mesh: devices to run on.
        name: what tables call the encoder; by default the folder's name.
        weights: `trained`, or `ema` for their moving average.

    Raises:
        UserError: there is no run, or no finished checkpoint yet, or the run keeps no average.
    """
    workdir = pathlib.Path(workdir).expanduser().resolve()
    run = saved_run.read_run(workdir)
    size, precision = run["config"]["size"], run["config"]["precision"]
    dtype = machine.compute_dtype(precision, mesh_lib.platform(mesh))
    graph, params = models.abstract_encoder(size, dtype)
    params = saved_run.restore_params(workdir, mesh_lib.abstract(params, mesh), weights)
    run = run | {"weights": weights}
    return Embedder(name or workdir.name, size, Recipe.of_run(run), mesh, graph, params, run)
