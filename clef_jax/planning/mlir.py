"""Lists the collectives of a step that is lowered but not compiled."""

import math
import re

import jax
from jaxlib.mlir import ir

from clef_jax.planning.hlo import Collective

_KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute")


def collectives(lowered: jax.stages.Lowered) -> tuple[Collective, ...]:
    """Returns the collectives that the encoder and the loss request explicitly.

    A compiler may merge some of them and add small ones. Each loop is counted once.

    Raises:
        ValueError: the step was not lowered to StableHLO.
    """
    module = lowered.compiler_ir("stablehlo")
    if module is None:
        raise ValueError("The step is not lowered to StableHLO, so its collectives cannot be read.")
    result: list[Collective] = []

    def visit(operation):
        dialect, _, kind = operation.name.partition(".")
        if dialect == "stablehlo" and kind in _KINDS:
            result.append(_collective(operation, kind))
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return tuple(result)


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
    """Returns name and bytes of a type such as `tensor<2x512x256xf32>`."""
    *shape, kind = text.removeprefix("tensor<").removesuffix(">").split("x")
    bits = int(re.sub(r"\D", "", kind))
    num_bytes = math.prod(int(n) for n in shape) * max(bits // 8, 1)
    return f"{kind}[{','.join(shape)}]", num_bytes
