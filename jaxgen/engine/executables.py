"""Executables kept on disk, so that a later start of the same programs neither traces nor lowers nor compiles them.

JAX's own cache saves compiling alone: to look a program up there, it must be traced and lowered first, which takes most
of a second start. Here an executable is kept under a hash of its lowered program, as there, and a set of them is found
by a hash of everything that they are made from: jaxgen's source, versions, the processor, options, settings and shapes.
Where the source has changed but not the program, its executable is found once it has been lowered.
"""

import contextlib
import hashlib
import json
import os
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import serialize_executable

from jaxgen.engine import loop
from jaxgen.files import replacing

LARGEST = 2**29
"""Bytes of all files together; the ones not used for longest are removed."""
_SOURCE = Path(__file__).parents[1]
_NO_PROGRAM = ("jax_compilation_cache_dir", "jax_dump_ir_to", "jax_persistent_cache_min_compile_time_secs")
"""Options that change no program."""
_LIBRARIES = "jax jaxlib flax optax distrax gymnax rlax numpy jaxtyping beartype typing_extensions"
ROOTS = frozenset(("jaxgen", *_LIBRARIES.split(), *sys.stdlib_module_names))
"""Packages that functions found in them are from."""
_ADDRESS = re.compile(" at 0x[0-9a-f]+")
CONSTANTS = (bool, int, float, str, tuple, frozenset)
Devices = Sequence[jax.Device] | None
"""The devices of programs that a later process can load; None if it must compile its own."""


class _Store(NamedTuple):
    folder: Path
    describe: Callable[[], Any]


class Program(NamedTuple):
    """A compiled function, and the name of its file, if it is kept."""

    call: Callable[..., Any]
    key: str | None


_store: _Store | None = None
_thread = threading.local()


def use(folder: Path | None, describe: Callable[[], Any] = dict) -> None:
    """Keep executables in `folder`, in which nobody else may write, for what is in it is executed; None keeps none.

    `describe()` describes the processor, the devices and all versions.
    """
    global _store
    _listen()
    _store = None if folder is None else _Store(folder, cache(describe))


@cache
def _listen() -> None:
    def count(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            _thread.hits = _hits() + 1

    jax.monitoring.register_event_listener(count)


def _hits() -> int:
    """Number of programs that JAX's own cache has had for this thread."""
    return getattr(_thread, "hits", 0)


def name(functions: Sequence[Callable[..., Any]], *parts: Any) -> str | None:
    """The name of programs that call these functions of jaxgen's own, and depend on parts with a stable `repr`.

    None where no set is kept: without a folder, for functions from elsewhere, and with several processes.
    """
    called = [_called(function) for function in functions]
    if _store is None or jax.process_count() > 1 or None in called:
        return None
    inside = _replaceable(functions)
    return None if inside is None else _hash(_source(), inside, called, *map(repr, parts))


def _called(function: Any) -> str | None:
    """A function of jaxgen's own, or one with some arguments set, in words; None for others."""
    if isinstance(function, partial):
        inner = _called(function.func)
        return inner and f"{inner} {function.args} {sorted(function.keywords.items())}"
    module, path = getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "<locals>")
    return f"{module}.{path}" if module.startswith("jaxgen.") and "<" not in path else None


def _inner(function: Any) -> Any:
    return _inner(function.func) if isinstance(function, partial) else function


@cache
def _source() -> str:
    digest = hashlib.sha256()
    for path in sorted(_SOURCE.rglob("*.py")):
        digest.update(str(path.relative_to(_SOURCE)).encode() + path.read_bytes())
    return digest.hexdigest()


def _replaceable(functions: Sequence[Callable[..., Any]]) -> list[str] | None:
    """Functions and constants in jaxgen's modules that these call, by name and value; None if one is from elsewhere.

    So a program of today's source is not taken for one in which a script has replaced something.
    """
    found: list[str] = []
    waiting, seen = [loop.__name__, *(_inner(function).__module__ for function in functions)], set()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.startswith("jaxgen."):
            continue
        seen.add(path)
        module = sys.modules[path]
        classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == path]
        owners: list[Any] = [module, *classes]
        for owner in owners:
            for key, value in vars(owner).items():
                here = f"{path} {owner.__name__}.{key}"
                if isinstance(value, CONSTANTS) and not key.startswith("__"):
                    shown = sorted(map(repr, value)) if isinstance(value, frozenset) else repr(value)
                    found.append(f"{here} = {_ADDRESS.sub('', str(shown))}")
                elif isinstance(value, ModuleType):
                    waiting.append(value.__name__)
                elif callable(value) and hasattr(value, "__qualname__") and isinstance(value.__module__, str):
                    if value.__module__.partition(".")[0] not in ROOTS:
                        return None
                    waiting.append(value.__module__)
                    found.append(f"{here} = {value.__module__}.{value.__qualname__}")
    return sorted(found)


def _hash(*parts: Any) -> str:
    """A hash of these and of everything about the process that executables depend on."""
    assert _store is not None
    options = {key: repr(value) for key, value in jax.config.values.items() if key not in _NO_PROGRAM}
    return hashlib.sha256(json.dumps([_store.describe(), options, *parts], sort_keys=True).encode()).hexdigest()


def find(name: str | None, devices: Devices) -> tuple[dict[str, Program], Any] | None:
    """The programs of this name, for these devices, and the facts remembered with them; None if any is missing."""
    if _store is None or name is None or devices is None:
        return None
    content = _read(f"{name}.set")
    if content is None:
        return None
    keys, facts = content
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(partial(_load, devices=devices), keys.values()))
    if None in found:
        return None
    return {label: Program(one, key) for (label, key), one in zip(keys.items(), found, strict=True)}, facts


def remember(name: str | None, programs: Mapping[str, Program], facts: Any = None) -> None:
    """Let `find` find these programs, if all of them are kept, and these facts, under this name."""
    keys = {label: program.key for label, program in programs.items()}
    if _store is not None and name is not None and None not in keys.values():
        _write(f"{name}.set", (keys, facts))


@contextlib.contextmanager
def in_place_of_jaxs(devices: Devices) -> Iterator[None]:
    """Inside, JAX's own cache keeps no programs, if they are kept here."""
    option = "jax_persistent_cache_min_compile_time_secs"
    seconds = jax.config.values[option]
    if _store is not None and devices is not None:
        jax.config.update(option, float("inf"))
    try:
        yield
    finally:
        jax.config.update(option, seconds)


def compile(lowered: jax.stages.Lowered, devices: Devices) -> Program:
    """Compile a lowered function, or load its executable; a new one is written in the background."""
    if _store is None or devices is None:
        return Program(lowered.compile(), None)
    key = _hash(lowered.as_text(), _signature(lowered))
    kept = _load(key, devices)
    if kept is not None:
        return Program(kept, key)
    before = _hits()
    made = lowered.compile()
    if _hits() > before:  # from JAX's cache: such an executable, written again, would lack its code
        return Program(made, None)
    threading.Thread(target=_keep, args=(key, made), name="keep an executable").start()
    return Program(made, key)


def for_few_calls() -> dict[str, str | bool | int | float] | None:
    """Compiler options of a program that runs a few times, on which XLA's last passes are wasted.

    They change no bit of a first state, and take half to three quarters of the time to compile. XLA_FLAGS take
    precedence.
    """
    level = "xla_backend_optimization_level"
    chosen = jax.default_backend() != "cpu" or level in os.environ.get("XLA_FLAGS", "")
    return None if chosen else {level: 1}


def _signature(lowered: jax.stages.Lowered) -> str:
    """Structure, shapes and types of all arguments, also of those that the program does not use and its text lacks."""
    return _ADDRESS.sub("", f"{lowered.args_info} {lowered.out_tree}")


@lru_cache(maxsize=64)
def _program(function: Callable[..., Any], config: Any, structure: Any, shapes: Any) -> Callable[..., Any]:
    named, devices = name((function,), config, structure, shapes), jax.local_devices()[:1]
    found = find(named, devices)
    if found is not None:
        return found[0]["program"].call
    arguments = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*shape) for shape in shapes])
    with in_place_of_jaxs(devices):
        of_config = jax.jit(loop.traced_once(function, config), compiler_options=for_few_calls())
        made = compile(of_config.lower(*arguments), devices)
    remember(named, {"program": made})
    return made.call


def call(function: Callable[..., Any], config: Any, *arguments: Any) -> Any:
    """`function(*arguments, config=config)` on the first device, compiled once for arguments of these shapes."""
    arguments = jax.device_put(jax.tree.map(jnp.asarray, arguments), jax.local_devices()[0])
    leaves, structure = jax.tree.flatten(arguments)
    return _program(function, config, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))(*arguments)


def _load(key: str, devices: Sequence[jax.Device]) -> Any:
    content = _read(f"{key}.program")
    if content is None:
        return None
    with contextlib.suppress(Exception):  # whatever another version makes of it: it is compiled again
        executable, inputs, outputs = content
        return serialize_executable.deserialize_and_load(executable, inputs, outputs, execution_devices=devices)
    return None


def _keep(key: str, compiled: jax.stages.Compiled) -> None:
    with contextlib.suppress(Exception):  # JAX cannot write every program, and the disk may be full
        _write(f"{key}.program", serialize_executable.serialize(compiled))


def _read(file: str) -> Any:
    """The contents of a file, None if it is missing or damaged."""
    assert _store is not None
    path = _store.folder / file
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        os.utime(path)  # used now
        return pickle.loads(content[32:])
    except Exception:
        return None


def _write(file: str, value: Any) -> None:
    assert _store is not None
    content = pickle.dumps(value)
    with contextlib.suppress(OSError):
        _store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(_store.folder / file) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
        _remove_unused(_store.folder)


def _remove_unused(folder: Path) -> None:
    total = 0
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True):
        total += path.stat().st_size
        if total > LARGEST:
            path.unlink(missing_ok=True)
