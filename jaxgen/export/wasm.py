"""A matrix product in four-wide vectors, assembled to WebAssembly: about ten times the speed of JavaScript's own loops.

    f(m, n, k, stride, a, b, c):  C (m, n) = A (m, k) B (k, n), addresses in bytes

m is a multiple of 4 and n of 8; rows of A are contiguous, rows of B and C `stride` numbers apart. Eight accumulators
hold four rows and eight columns of C.
"""

import base64
from collections.abc import Iterable

from jaxgen.export.loops import Lines

_ROWS, _VECTORS = 4, 2
_PARAMETERS = ("m", "n", "k", "stride", "a", "b", "c")
_INTEGERS = ("i", "j", "l", "pa", "pb", "pc", *(f"p{row}" for row in range(_ROWS)))
_VECTOR_LOCALS = (
    *(f"s{row}{column}" for row in range(_ROWS) for column in range(_VECTORS)),
    *(f"w{column}" for column in range(_VECTORS)),
    "u",
)
_LOCALS = {name: number for number, name in enumerate((*_PARAMETERS, *_INTEGERS, *_VECTOR_LOCALS))}
_I32, _V128 = 0x7F, 0x7B
_BLOCK = 65536
"""Bytes of a page of WebAssembly's memory."""


def javascript(total: int) -> Lines:
    """Statements that define `memory`, a block of `total` bytes, and `fast`, the product or null without support."""
    pages, module = -(-total // _BLOCK), base64.b64encode(_module()).decode()
    return [
        "let fast = null, memory;",
        "try {",
        f"  const block = new WebAssembly.Memory({{ initial: {pages} }});",
        f'  const code = Uint8Array.from(atob("{module}"), (letter) => letter.charCodeAt(0));',
        "  fast = new WebAssembly.Instance(new WebAssembly.Module(code), { m: { m: block } }).exports.f;",
        "  memory = block.buffer;",
        "} catch (error) {",
        "  fast = null; // no vectors here",
        f"  memory = new ArrayBuffer({total});",
        "}",
    ]


def _number(value: int) -> bytes:
    """LEB128, of an unsigned number."""
    data = bytearray()
    while True:
        value, low = value >> 7, value & 127
        data.append(low | (128 if value else 0))
        if not value:
            return bytes(data)


def _many(parts: Iterable[bytes]) -> bytes:
    parts = list(parts)
    return _number(len(parts)) + b"".join(parts)


def _sized(data: bytes) -> bytes:
    return _number(len(data)) + data


def _get(name: str) -> bytes:
    return b"\x20" + _number(_LOCALS[name])


def _set(name: str, value: bytes) -> bytes:
    return value + b"\x21" + _number(_LOCALS[name])


def _const(value: int) -> bytes:
    return b"\x41" + _number(value)  # below 64, where signed and unsigned numbers agree


def _plus(a: bytes, b: bytes) -> bytes:
    return a + b + b"\x6a"


def _times(a: bytes, b: bytes) -> bytes:
    return a + b + b"\x6c"


def _floats(count: bytes) -> bytes:
    """Bytes of `count` numbers."""
    return count + _const(2) + b"\x74"


def _step(name: str, by: bytes) -> bytes:
    return _set(name, _plus(_get(name), by))


def _loop(body: bytes, variable: str, step: int, end: str) -> bytes:
    """for (variable = 0; ; ) { body; variable += step; if (variable >= end) break; }"""
    again = _get(variable) + _get(end) + b"\x49\x0d\x00"
    return _set(variable, _const(0)) + b"\x03\x40" + body + _step(variable, _const(step)) + again + b"\x0b"


def _load(pointer: str, offset: int = 0) -> bytes:
    return _get(pointer) + b"\xfd\x00\x02" + _number(offset)


def _splat(pointer: str) -> bytes:
    return _get(pointer) + b"\xfd\x09\x02\x00"


def _store(pointer: str, offset: int, value: bytes) -> bytes:
    return _get(pointer) + value + b"\xfd\x0b\x02" + _number(offset)


def _accumulate(sum_: str, a: str, b: str) -> bytes:
    product = _get(a) + _get(b) + b"\xfd\xe6\x01"
    return _set(sum_, _get(sum_) + product + b"\xfd\xe4\x01")


def _inner() -> bytes:
    """One step along k."""
    code = b"".join(_set(f"w{column}", _load("pb", 16 * column)) for column in range(_VECTORS))
    for row in range(_ROWS):
        code += _set("u", _splat(f"p{row}"))
        code += b"".join(_accumulate(f"s{row}{column}", "u", f"w{column}") for column in range(_VECTORS))
        code += _step(f"p{row}", _const(4))
    return code + _step("pb", _floats(_get("stride")))


def _tile() -> bytes:
    """Four rows and eight columns of C."""
    zero = b"\xfd\x0c" + bytes(16)
    code = b"".join(_set(f"s{row}{column}", zero) for row in range(_ROWS) for column in range(_VECTORS))
    code += _set("pb", _plus(_get("b"), _floats(_get("j"))))
    code += _set("p0", _get("pa"))
    code += b"".join(_set(f"p{row}", _plus(_get(f"p{row - 1}"), _floats(_get("k")))) for row in range(1, _ROWS))
    code += _loop(_inner(), "l", 1, "k")
    for row in range(_ROWS):
        code += b"".join(_store("pc", 16 * column, _get(f"s{row}{column}")) for column in range(_VECTORS))
        code += _step("pc", _floats(_get("stride")))
    return code + _set("pa", _get("p3"))


def _module() -> bytes:
    columns = _set("pa", _get("a")) + _set("pc", _plus(_get("c"), _floats(_get("j"))))
    columns += _loop(_tile(), "i", _ROWS, "m")
    code = _loop(columns, "j", 4 * _VECTORS, "n") + b"\x0b"
    local = _many([_number(len(_INTEGERS)) + bytes([_I32]), _number(len(_VECTOR_LOCALS)) + bytes([_V128])])
    kind = b"\x60" + _many([bytes([_I32])] * len(_PARAMETERS)) + _many([])
    sections = {
        1: _many([kind]),
        2: _many([b"\x01m\x01m\x02\x00\x00"]),  # the memory m.m
        3: _many([b"\x00"]),
        7: _many([b"\x01f\x00\x00"]),
        10: _many([_sized(local + code)]),
    }
    return b"\x00asm\x01\x00\x00\x00" + b"".join(bytes([number]) + _sized(data) for number, data in sections.items())
