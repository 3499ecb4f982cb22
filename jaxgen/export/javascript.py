"""Plain programs as self-contained JavaScript: typed arrays, no dependencies, no eval, for pages, workers and Node.

    const [image] = model.decode(code)          // arrays in, arrays out, one after the other
    model.functions.decode.outputs[0].shape

Sizes are fixed when the program is traced. All arrays lie in one block of memory, planned here; what depends on weights
alone is computed once, when the script is loaded; elementwise chains are one loop each. bfloat16 and float16
computations are done in float32. Random numbers are inputs.
"""

import base64
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.export import memory as memory_lib
from jaxgen.export import wasm
from jaxgen.export.loops import Lines
from jaxgen.export.memory import Memory, Precision, array_type
from jaxgen.export.plain import Program
from jaxgen.export.translation import Function


def write(
    programs: Sequence[Program], *, name: str = "model", precision: Precision = "float32", simd: bool = True
) -> str:
    """A script that defines `name`, with a function for each program.

    Programs share weights of the same name, which must be equal. A weight takes 5.3 bytes, 2.7 with `precision`
    float16, 2 with int12, which is about as exact, and 1.3 with int8; compute the difference that this makes with
    `rounded`. `simd` adds a kilobyte of WebAssembly, used where it is supported, which multiplies matrices several
    times faster. Raises `UserError` for what cannot be translated.
    """
    source, weights = parts(programs, precision=precision, simd=simd)
    lines = [
        f'var {name} = {source}({_DECODE}("{base64.b64encode(weights).decode()}"));',
        f'if (typeof module !== "undefined" && module.exports) module.exports = {name};',
    ]
    return "\n".join(lines) + "\n"


_DECODE = """(function (text) {
const binary = atob(text), bytes = new Uint8Array(binary.length);
for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
return bytes;
})"""


def parts(programs: Sequence[Program], *, precision: Precision = "float32", simd: bool = True) -> tuple[str, bytes]:
    """A JavaScript function that makes the model of its weights, and these: a page may store them in its own way."""
    memory = Memory()
    functions = [Function(memory, program, f"f{number}") for number, program in enumerate(programs)]
    bodies = [line for function in functions for line in function.write()]
    scratch = memory.buffer(memory.scratch, np.float32, constant=False)
    places, total = memory.planned()
    weights, stored = memory.data(places, precision)
    exported = ", ".join(f"{json.dumps(function.program.name)}: {function.name}" for function in functions)
    described = json.dumps({function.program.name: function.description() for function in functions})
    lines = [
        "(function (weights) {",
        '"use strict";',
        resources.files(__package__).joinpath("kernels.js").read_text(encoding="utf-8"),
        *(wasm.javascript(total) if simd else ["const fast = null;", f"const memory = new ArrayBuffer({total});"]),
        *_arrays(memory, places),
        f"const scratch = {scratch.name};",
        f"unpack(weights, memory, {json.dumps(stored)});",
        *memory.prepared,
        *bodies,
        f"return {{ {exported}, functions: {described}, simd: fast !== null }};",
        "})",
    ]
    return "\n".join(lines), weights


def _arrays(memory: Memory, places: dict[str, int]) -> Lines:
    def declared(name: str, dtype: Any, size: int) -> str:
        return f"const {name} = new {array_type(dtype)[0]}(memory, {places[name]}, {size});"

    return [declared(buffer.name, buffer.dtype, buffer.size) for buffer in memory.buffers]


def rounded(weights: Any, precision: Precision) -> Any:
    """Weights as a script of this precision has them."""
    return jax.tree.map(lambda x: jnp.asarray(memory_lib.rounded(np.asarray(x), precision)), weights)
