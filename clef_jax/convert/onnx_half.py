"""Converts an encoder's ONNX graph to float16: its weights alone, or its computation as well."""

from typing import Any

import numpy as np

from clef_jax.convert.onnx_graph import ENCODER

_FLOAT, _HALF = 1, 10
"""TensorProto.FLOAT and TensorProto.FLOAT16."""


def encoder_kernels(model: Any) -> set[str]:
    """Returns the names of the encoder's kernels: those of its convolutions and products."""
    kinds = ("Conv", "Gemm")
    return {node.input[1] for node in model.graph.node if node.op_type in kinds and _encodes(node)}


def convert(model: Any, *, network: bool) -> Any:
    """Returns a model whose encoder is in float16; changes the given one.

    Args:
        network: whether the encoder also computes in float16, except for means over time, which
            are sums of thousands of numbers; otherwise only its weights are stored so, and become
            float32 when they are used.
    """
    return _network(model) if network else _weights(model)


def _encodes(node: Any) -> bool:
    return node.name.startswith(f"{ENCODER}/")


def _weights(model: Any) -> Any:
    kernels, restored = encoder_kernels(model), []
    for constant in model.graph.initializer:
        if constant.name in kernels:
            name = constant.name
            _store(constant, f"{name}.float16")
            restored.append(_cast(f"{name}.float16", name, _FLOAT))
    _replace_nodes(model, [*restored, *model.graph.node])
    return model


def _network(model: Any) -> Any:
    constants = {item.name: item for item in model.graph.initializer}
    inside = {name for node in model.graph.node if _encodes(node) for name in node.output}
    outputs = {item.name for item in model.graph.output}
    outside = {name for n in model.graph.node if not _encodes(n) for name in n.input} | outputs
    nodes, halves = [], set()

    def half(name: str) -> str:
        """Returns the name of a value in float16, which is added if it does not exist."""
        if name in inside:
            return f"{name}.float16" if name in means else name
        constant = constants.get(name)
        if constant is not None and constant.data_type != _FLOAT:
            return name
        made = f"{name}.float16"
        if made not in halves:
            halves.add(made)
            if constant is None:
                nodes.append(_cast(name, made, _HALF))
            else:
                copy = constant.__class__()
                copy.CopyFrom(constant)
                _store(copy, made)
                model.graph.initializer.append(copy)
        return made

    # Means are float32; where the encoder reads them, it reads a copy in float16.
    means = {n.output[0] for n in model.graph.node if _encodes(n) and n.op_type == "ReduceMean"}
    for node in list(model.graph.node):
        if not _encodes(node):
            nodes.append(node)
            continue
        inputs = [half(name) for name in node.input]
        if node.op_type == "ReduceMean":
            wide = f"{node.name}.float32"
            nodes.append(_cast(inputs[0], wide, _FLOAT))
            node.input[0] = wide
            nodes.append(node)
            if node.output[0] not in outside:
                nodes.append(_cast(node.output[0], f"{node.output[0]}.float16", _HALF))
            continue
        node.input[:] = inputs
        nodes.append(node)
    _replace_nodes(model, nodes)
    read = {name for node in nodes for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def _store(constant: Any, name: str) -> None:
    """Changes a constant to float16, with another name."""
    from onnx import numpy_helper

    values = numpy_helper.to_array(constant)
    with np.errstate(over="ignore"):  # the comparison with the exact file rejects infinities
        constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))


def _cast(name: str, result: str, kind: int) -> Any:
    from onnx import helper

    return helper.make_node("Cast", [name], [result], name=f"{result}/Cast", to=kind)


def _replace_nodes(model: Any, nodes: list[Any]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)
