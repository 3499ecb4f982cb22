"""A Node process that runs translated scripts: one for all tests of a worker, for starting one takes long."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

SERVER = """
const lines = require("readline").createInterface({ input: process.stdin });
const types = { Float32Array, Int32Array, Uint32Array, Uint8Array, Int8Array, Int16Array, Uint16Array };
function decode([type, text]) {
  const bytes = Uint8Array.from(Buffer.from(text, "base64"));
  return new types[type](bytes.buffer);
}
function encode(array) {
  return [array.constructor.name, Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64")];
}
lines.on("line", (line) => {
  let answer;
  try {
    const { script, calls } = JSON.parse(line), holder = { exports: {} };
    new Function("module", script)(holder);
    const model = holder.exports;
    const results = calls.map(([name, inputs]) => model[name](...inputs.map(decode)).map(encode));
    answer = { results, simd: model.simd, functions: model.functions };
  } catch (error) {
    answer = { error: String(error) };
  }
  console.log(JSON.stringify(answer));
});
"""
DTYPES = {
    "Float32Array": np.float32,
    "Int32Array": np.int32,
    "Uint32Array": np.uint32,
    "Uint8Array": np.uint8,
    "Int8Array": np.int8,
    "Int16Array": np.int16,
    "Uint16Array": np.uint16,
}
_process = None


def _start():
    global _process
    if shutil.which("node") is None:
        pytest.skip("there is no node to run JavaScript")
    if _process is None or _process.poll() is not None:
        command = ["node", "-e", SERVER]
        _process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return _process


def _encoded(array):
    array = np.ascontiguousarray(array)
    array = array.astype(np.uint8) if array.dtype == bool else array
    kind = next(name for name, dtype in DTYPES.items() if dtype == array.dtype)
    return [kind, base64.b64encode(array.tobytes()).decode()]


def ask(script, calls):
    """The answer to `calls` of a script's functions: pairs of a name and a list of arrays."""
    process = _start()
    message = {"script": script, "calls": [[name, [_encoded(x) for x in arrays]] for name, arrays in calls]}
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


def call(script, calls):
    """For each call its results, flat arrays."""
    return [
        [np.frombuffer(base64.b64decode(text), DTYPES[kind]) for kind, text in results]
        for results in ask(script, calls)["results"]
    ]
