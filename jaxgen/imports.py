"""Imports that cost less: what libraries hardly use, only when it is used; what a run will use, while XLA compiles."""

import contextlib
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


def ahead(*names: str) -> None:
    """Import these modules in the background: XLA compiles and computes without Python's lock."""

    def load() -> None:
        for name in names:
            with contextlib.suppress(Exception):  # whoever needs it meets the error
                importlib.import_module(name)

    threading.Thread(target=load, daemon=True).start()
