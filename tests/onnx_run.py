"""Runs nodes of an ONNX graph on arrays, for tests."""

import numpy as np

from clef_jax.convert.onnx_graph import IR_VERSION, OPSET, Builder


def run(add, *signals) -> list[np.ndarray]:
    """What `add(builder, *names)` computes: one array per name that it returns."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    builder = Builder()
    names = [f"signal_{place}" for place in range(len(signals))]
    outputs = add(builder, *names)
    shapes = [["batch", *signal.shape[1:]] for signal in signals]
    graph = helper.make_graph(
        builder.nodes,
        "test",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in zip(names, shapes, strict=True)
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        builder.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = {name: np.asarray(s, np.float32) for name, s in zip(names, signals, strict=True)}
    return [np.asarray(one) for one in session.run(None, given)]
