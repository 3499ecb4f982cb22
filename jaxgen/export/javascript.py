"""Plain programs as self-contained JavaScript: typed arrays, no dependencies, no eval, for pages, workers and Node.

    const [image] = model.decode(code)          // arrays in, arrays out, one after the other
    model.functions.decode.outputs[0].shape

Sizes are fixed when the program is traced. All arrays lie in one block of memory, planned here; what depends on weights
alone is computed once, when the script is loaded; elementwise chains are one loop each. bfloat16 and float16
computations are done in float32. Random numbers are inputs.
"""

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jax
import numpy as np

from jaxgen.export import wasm
from jaxgen.export.elementwise import is_float
from jaxgen.export.loops import Lines
from jaxgen.export.memory import Memory, Precision, array_type
from jaxgen.export.plain import Program
from jaxgen.export.translation import Function


def write(
    programs: Sequence[Program], *, name: str = "model", precision: Precision = "float32", simd: bool = True
) -> str:
    """A script that defines `name`, with a function for each program.

    Programs share weights of the same name, which must be equal. With `precision` float16 these are stored in two bytes
    each; compute the difference that it makes with `rounded`. `simd` adds a kilobyte of WebAssembly, used where it is
    supported, which multiplies matrices several times faster. Raises `UserError` for what cannot be translated.
    """
    memory = Memory()
    functions = [Function(memory, program, f"f{number}") for number, program in enumerate(programs)]
    bodies = [line for function in functions for line in function.write()]
    scratch = memory.buffer(memory.scratch, np.float32, constant=False)
    places, total = memory.planned()
    data, parts = memory.data(places, precision)
    exported = ", ".join(f"{json.dumps(function.program.name)}: {function.name}" for function in functions)
    described = json.dumps({function.program.name: function.description() for function in functions})
    lines = [
        f"var {name} = (function () {{",
        '"use strict";',
        resources.files(__package__).joinpath("kernels.js").read_text(encoding="utf-8"),
        *(wasm.javascript(total) if simd else ["const fast = null;", f"const memory = new ArrayBuffer({total});"]),
        *_arrays(memory, places),
        f"const scratch = {scratch.name};",
        f'unpack("{data}", memory, {json.dumps(parts)});',
        *memory.prepared,
        *bodies,
        f"return {{ {exported}, functions: {described}, simd: fast !== null }};",
        "})();",
        f'if (typeof module !== "undefined" && module.exports) module.exports = {name};',
    ]
    return "\n".join(lines) + "\n"


def _arrays(memory: Memory, places: dict[str, int]) -> Lines:
    def declared(name: str, dtype: Any, size: int) -> str:
        return f"const {name} = new {array_type(dtype)[0]}(memory, {places[name]}, {size});"

    return [declared(buffer.name, buffer.dtype, buffer.size) for buffer in memory.buffers]


def rounded(weights: Any, precision: Precision) -> Any:
    """Weights as a script of this precision holds them."""
    return jax.tree.map(lambda x: x.astype(precision).astype(x.dtype) if is_float(x.dtype) else x, weights)
