"""Reads exchanges between devices from a step that is lowered but not compiled."""

import math
import re

import jax
from jaxlib.mlir import ir

from clef_jax.planning.hlo import Collective

_KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute")


def collectives(lowered: jax.stages.Lowered) -> tuple[Collective, ...]:
    """Those that the encoder and the loss ask for by name. A compiler joins some of them, and adds
    small ones around them; loops count once.

    Raises:
        ValueError: the step was not lowered to StableHLO.
    """
    module = lowered.compiler_ir("stablehlo")
    if module is None:
        raise ValueError("The step is not lowered to StableHLO, so its exchanges cannot be read.")
    found: list[Collective] = []

    def visit(operation):
        dialect, _, kind = operation.name.partition(".")
        if dialect == "stablehlo" and kind in _KINDS:
            found.append(_collective(operation, kind))
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return tuple(found)


def _collective(operation, kind: str) -> Collective:
    arrays = [_array(str(result.type)) for result in operation.results]
    groups = re.search(r"tensor<\d+x(\d+)xi64>", str(operation.attributes["replica_groups"].type))
    return Collective(
        kind=kind.replace("_", "-"),
        origin="",
        times=1,
        num_bytes=sum(size for _, size in arrays),
        group_size=int(groups[1]) if groups else None,
        largest_shape=max(arrays, key=lambda x: x[1])[0],
    )


def _array(text: str) -> tuple[str, int]:
    """Name and bytes of a type such as `tensor<2x512x256xf32>`."""
    *shape, kind = text.removeprefix("tensor<").removesuffix(">").split("x")
    bits = int(re.sub(r"\D", "", kind))
    num_bytes = math.prod(int(n) for n in shape) * max(bits // 8, 1)
    return f"{kind}[{','.join(shape)}]", num_bytes
