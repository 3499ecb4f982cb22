"""The command line of every experiment: typed settings in, one-line errors out."""

import contextlib
import ctypes
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from types import UnionType
from typing import Any, TypeVar

import jax
import tyro

from jaxgen.engine import hosts
from jaxgen.errors import Interrupted, SettingError, UserError, check_choice
from jaxgen.runs import machine

S = TypeVar("S")


def parse(
    default: S | UnionType, description: str | None, args: Sequence[str] | None = None, others: bool = False
) -> Any:
    """Parse settings of `default`'s type from the command line; an invalid one raises a one-line `SettingError`.

    A union of settings types in place of a default makes each a subcommand, by name. With `others`, returns a pair: the
    settings, and the arguments that do not belong to them.
    """
    said = io.StringIO()
    kind: Any = default if isinstance(default, UnionType) else type(default)
    start: Any = {} if isinstance(default, UnionType) else {"default": default}
    try:
        with contextlib.redirect_stderr(said):
            if others:
                return tyro.cli(kind, **start, description=description, args=args, return_unknown_args=True)
            return tyro.cli(kind, **start, description=description, args=args)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise SettingError(_one_line(said.getvalue())) from None


def _one_line(box: str) -> str:
    """Tyro's framed message as one line: the error, then the option the user probably meant."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│╭╮╰╯ ") for line in box.splitlines()]
    text = [line for line in lines if line and not set(line) <= set("─")][1:]
    ends = [i for i, line in enumerate(text) if line.startswith(("Perhaps", "Argument helptext", "For full"))]
    message = " ".join(text[: ends[0]] if ends else text)
    meant = next((text[i + 1] for i in ends if text[i].startswith("Perhaps") and i + 1 < len(text)), "")
    return message + (f" (did you mean {meant.split(' ')[0]}?)" if meant else "") + "; --help lists all options"


def use_compilation_cache() -> None:
    """Keep compiled programs on disk between processes, in one folder per kind of machine.

    Code compiled for one processor must not be loaded on another that shares the disk.

    `JAX_COMPILATION_CACHE_DIR` chooses another folder; the empty string turns the cache off.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(machine.cache_folder() / "xla" / machine.instructions()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def keep_freed_memory() -> None:
    """Make the allocator keep freed memory, on huge pages: XLA requests the same large buffers again and again.

    By default glibc returns each one to the kernel, which zeroes the pages of the next, 4 KiB each; this can take
    longer than the arithmetic on them. Changes no number; does nothing on other systems or if environment variables of
    glibc's malloc are set.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # another C library
        return
    libc.mallopt(_M_ARENA_MAX, 1)  # one heap for all threads, so that each can reuse what another frees
    libc.mallopt(_M_MMAP_THRESHOLD, -1)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    block = libc.malloc(size)  # address space only, no memory: the heap grows by it and keeps it
    if block:
        first = -(-block // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        libc.madvise(first, size - _HUGE_PAGE_BYTES, _MADV_HUGEPAGE)
        libc.free(block)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX, _MADV_HUGEPAGE = -1, -3, -8, 14
"""Constants from glibc's malloc.h and Linux's mman.h."""
_HUGE_PAGE_BYTES = 2**21


def preset_of(names: Sequence[str], args: Sequence[str]) -> str:
    """The preset given by `--preset NAME`, else the first."""
    for place, arg in enumerate(args):
        option, _, value = arg.partition("=")
        if option == "--preset":
            name = value or (args[place + 1] if place + 1 < len(args) else "")
            check_choice("preset", name, names)
            return name
    return names[0]


def main(default: S | UnionType, run: Callable[[S], Any], description: str | None) -> None:
    """Parse, run, and turn user errors into one line and an exit code (2: settings, 1: the rest).

    A union of settings types in place of a default makes each a subcommand.
    """
    reported(lambda: run(parse(default, description, sys.argv[1:])))


def reported(run: Callable[[], Any]) -> None:
    """Set up the process, run, and turn user errors into one line and an exit code."""
    try:
        keep_freed_memory()
        use_compilation_cache()
        run()
    except SettingError as error:
        _fail(str(error), 2)
    except Interrupted as error:
        _fail(str(error), 128 + error.signal)
    except UserError as error:
        _fail(str(error), 1)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _fail(f"{error.strerror or error}: {error.filename or 'while writing'}; what was saved before is intact", 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    if hosts.are_several():  # skip the exit barrier, which the others would have to join
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
