"""Imports that cost less: what libraries hardly use, only when it is used; what a run will use, while XLA compiles."""

import contextlib
import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module in the modules that import it; the first use of an attribute loads it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # the import system asks for these
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Inside, an `import` of these modules loads nothing until an attribute of theirs is used."""
    standing = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(standing)
    try:
        yield
    finally:
        for name, stand_in in standing.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Inside, Python collects no garbage.

    A collection amid the loading of an extension module calls JAX, which lets another thread have Python's lock while
    this one holds the loader's. If that thread then waits for the loader's, as a thread that uses JAX for the first
    time does, neither goes on. (Python 3.12 and newer collect elsewhere.)
    """
    with _one_at_a_time:
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()


def ahead(*names: str) -> None:
    """Import these modules in the background: XLA compiles and computes without Python's lock."""

    def load() -> None:
        for name in names:
            with contextlib.suppress(Exception), _no_collection():  # whoever needs it meets the error
                importlib.import_module(name)

    threading.Thread(target=load, daemon=True).start()
