"""The command line of every experiment: typed settings in, one-line errors out."""

import contextlib
import ctypes
import io
import os
import re
import stat
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from types import UnionType
from typing import Any, NoReturn, TypeVar, get_args

import jax
import tyro

from jaxgen.engine import executables, hosts
from jaxgen.errors import NUMBERS, Interrupted, SettingError, UserError, check_choice, one_of, printable, refusal, warn
from jaxgen.launch import early
from jaxgen.runs import machine, signals

S = TypeVar("S")
LIBRARIES = "gymnax", "rlax"
"""Packages that programs may depend on, beside those of every run's description."""


def parse(
    default: S | UnionType, description: str | None, args: Sequence[str] | None = None, others: bool = False
) -> Any:
    """Parse settings of `default`'s type from the command line; an invalid one raises a one-line `SettingError`.

    A union of settings types in place of a default makes each a subcommand, by name. With `others`, returns a pair: the
    settings, and the arguments that do not belong to them.
    """
    args = sys.argv[1:] if args is None else args
    options: dict[str, Any] = {"description": description, "args": args, "return_unknown_args": others}
    if isinstance(default, UnionType):
        _check_command(args, [kind.__name__.lower() for kind in get_args(default)])
        return _parsed(default, **options)
    return _parsed(type(default), default=default, **options)


def _check_command(args: Sequence[str], commands: Sequence[str]) -> None:
    """Refuse a missing or unknown command in our words: each release of tyro has its own."""
    if not args:
        raise SettingError(f"a command is missing: one of {', '.join(commands)}; --help describes them")
    if not args[0].startswith("-"):
        check_choice("command", args[0], commands)


def parse_kind(kind: Any, prog: str, args: Sequence[str]) -> Any:
    """Parse a settings type that has fields without a default, which `parse` cannot take."""
    return _parsed(kind, prog=prog, args=args)


def _parsed(kind: Any, **options: Any) -> Any:
    """Tyro's result; its complaint becomes a one-line `SettingError`."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise SettingError(_one_line(said.getvalue())) from None


def _one_line(box: str) -> str:
    """Tyro's framed message as one line: the error, then the options the user probably meant."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│╭╮╰╯|+ ") for line in box.splitlines()]
    text = [line for line in lines if line and not set(line) <= set("─-+|")][1:]
    similar = ("Perhaps you meant", "Arguments similar to")
    ends = [i for i, line in enumerate(text) if line.startswith((*similar, "Argument helptext", "For full"))]
    message = _in_our_form(" ".join(text[: ends[0]] if ends else text))
    found = [i for i in ends if text[i].startswith(similar) and i + 1 < len(text)]
    found.sort(key=lambda i: message.find(text[i].removeprefix(similar[1]).strip(" :")))  # as the user wrote them
    meant = [text[i + 1].split(" ")[0].rstrip(",") for i in found]
    hint = f" (did you mean {', '.join(meant)}?)" if meant else ""
    return f"{message}{hint}; --help lists all options"


def _in_our_form(message: str) -> str:
    """Tyro's complaint about a value as `errors.refusal` words it, or about options without their values."""
    unknown = re.match(r"Unrecognized options?: (.*)", message)
    choice = re.match(r"invalid choice '(.*)' for argument '-*(.*?)'\. Expected one of \((.*)\)", message)
    number = re.match(r"Error parsing -*(.*?): (?:invalid literal for (int)|could not convert).*: '(.*)'", message)
    if unknown:
        words = unknown[1].split(", ")
        return f"unknown option: {', '.join([word for word in words if word.startswith('-')] or words)}"
    if choice:
        value, field, listed = choice.groups()
        allowed = one_of(value, re.findall(r"'([^']*)'", listed))
    elif number:
        field, whole, value = number.groups()
        allowed = NUMBERS[int if whole else float]
    else:
        return message
    return refusal(field.replace("-", "_"), value, allowed)


def use_compilation_cache() -> None:
    """Keep compiled programs on disk between processes, in one folder per kind of machine.

    Code compiled for one processor must not be loaded on another that shares the disk, nor code from a folder in which
    others can write: it is executed.

    `JAX_COMPILATION_CACHE_DIR` chooses another folder; the empty string turns the cache off.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = machine.cache_folder() / "xla" / machine.instructions() if chosen is None else Path(chosen)
    if chosen == "":
        return
    if _is_safe(folder):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        if jax.config.values["jax_enable_compilation_cache"]:
            keep_executables(folder / "programs")
    else:
        jax.config.update("jax_enable_compilation_cache", False)
        warn(f"programs are compiled anew, for others can write in {folder}: remove it, or chmod o-w and chown it")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    warnings.showwarning = _CacheWarnings(warnings.showwarning, folder)


def keep_executables(folder: Path) -> None:
    """Keep the executables of runs and figures in this folder, so that a second start need not even trace them."""
    executables.use(folder, partial(machine.description, LIBRARIES))


def _is_safe(folder: Path) -> bool:
    """Whether only this user (and root) can write in the folder, which is made if missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError:
        return True  # nothing is read from it; JAX reports that it cannot write
    return sys.platform == "win32" or (found.st_uid in (0, os.getuid()) and not found.st_mode & stat.S_IWOTH)


class _CacheWarnings:
    """In place of one warning a program, a line about all damaged, or all unwritable, entries of the cache."""

    def __init__(self, show: Callable[..., None], folder: Path) -> None:
        self._show, self._folder = show, folder
        self._said: set[str] = set()

    def __call__(self, message: Any, *args: Any, **kwargs: Any) -> None:
        kind = re.match("Error (reading|writing) persistent compilation cache", str(message))
        if kind is None:
            self._show(message, *args, **kwargs)
        elif kind[1] not in self._said:
            self._said.add(kind[1])
            fault = "damaged: remove it, meanwhile" if kind[1] == "reading" else "not written:"
            warn(f"entries of the compilation cache {self._folder} are {fault} programs are compiled at each start")


def keep_freed_memory() -> None:
    """Make the allocator keep freed memory, on huge pages: XLA requests the same large buffers again and again.

    By default glibc returns each one to the kernel, which zeroes the pages of the next, 4 KiB each; this can take
    longer than the arithmetic on them. Threads keep heaps of their own: one for all would make compiling a third
    slower. Changes no number; does nothing on other systems or if environment variables of glibc's malloc are set.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # another C library
        return
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


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _MADV_HUGEPAGE = -1, -3, 14
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
        for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to stop
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        with signals.raised() as signal:
            keep_freed_memory()
            use_compilation_cache()
            run()
    except SettingError as error:
        _fail(str(error), 2)
    except Interrupted as error:
        _fail(str(error), 128 + error.signal)
    except UserError as error:
        _fail(str(error), 1)
    except MemoryError as error:
        _fail(f"{NO_MEMORY} ({error})", 1)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _fail(f"{NO_MEMORY} ({shorten(str(error), 120)})", 1)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + 13)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        _fail(f"{error.strerror or error}: {error.filename or 'while writing'}; what was saved before is intact", 1)
    except KeyboardInterrupt:
        _interrupted(signal.received)


NO_MEMORY = "memory ran out, what was saved is intact: make run.seeds or the config's numbers, batch_size first, less"


def _interrupted(number: int | None) -> NoReturn:
    """End the process; after a signal at once, for XLA may be compiling in threads that Python's exit would wreck."""
    try:
        _fail("interrupted; what was saved before is intact, the same command goes on from there", 128 + (number or 2))
    finally:
        if number is not None:
            sys.stdout.flush()
            os._exit(128 + number)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)
    # At once: the others would have to join the exit barrier, and after a failed write tensorstore's threads never end.
    if hosts.are_several() or early.ACTIVE:
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
