"""Plain programs as ONNX models, through jax2onnx: pip install "jaxgen[onnx]".

    Path("decode.onnx").write_bytes(onnx.convert(program).SerializeToString())

jax2onnx knows neither our custom derivatives nor a choice by platform nor every layout of a convolution, but it knows
what remains of them in a plain program. Sizes are those that the program was traced for, the batch's too; what depends
on weights alone is computed here and stored.
"""

import logging
from typing import Any

import jax

from jaxgen.errors import UserError
from jaxgen.export import plain
from jaxgen.export.plain import Program


def convert(program: Program) -> Any:
    """The program as an `onnx.ModelProto`, inputs and outputs in its order."""
    try:
        from jax2onnx import to_onnx
    except ImportError as error:
        raise UserError(
            'ONNX models are made by jax2onnx, which is not installed: pip install "jaxgen[onnx]"'
        ) from error
    prepared = plain.prepare(program)

    def function(*arrays: Any) -> Any:
        return tuple(plain.evaluate(program, *arrays, prepared=prepared).values())

    inputs = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in program.inputs]
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of types that onnxruntime infers
    try:
        return to_onnx(function, inputs, model_name=program.name)
    except NotImplementedError as error:
        raise UserError(f"{program.name} cannot be converted to ONNX: {error}") from error
