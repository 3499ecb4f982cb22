"""Checkpoints, written by orbax (asynchronously, atomically) and verified against a manifest.

A checkpoint holds the arrays by name and a manifest, a JSON item with the SHA-256 of each array and of itself,
committed together. On restore everything is hashed again, because orbax silently reads flipped bits. An unreadable step
is set aside as `damaged-N`, and the previous one is used.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import jax
import numpy as np

from jaxgen.engine import hosts
from jaxgen.engine.loop import named_leaves
from jaxgen.errors import UserError
from jaxgen.files import SEAL, Json, sealed, unsealed
from jaxgen.runs import renamed

Tree = Any


def entry(leaf: np.ndarray) -> Json:
    """An array in a manifest: shape, type and SHA-256."""
    digest = hashlib.sha256(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"").hexdigest()
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "sha256": digest}


def _struct(entry: Json) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(entry["shape"]), entry["dtype"])


def _kind(entry: Json, column: int | None) -> tuple[tuple[int, ...], str]:
    """Shape and type of a stored array, or of one column of it."""
    shape = tuple(entry["shape"])
    return (shape if column is None else shape[:-1]), entry["dtype"]


def _check_seal(manifest: Json) -> None:
    """Raise `ValueError` for a damaged manifest; format 0 has neither a format nor a seal."""
    if unsealed(manifest).get("format", 0) != (renamed.FORMAT if SEAL in manifest else 0):
        raise ValueError("its manifest has lost its seal or its format")


def _as_recorded(record: Json) -> dict[str, jax.ShapeDtypeStruct]:
    return {renamed.array(name): _struct(entry) for name, entry in record["arrays"].items()}


def preserved(steps: Sequence[int], keep: int, best: int | None, spacing: int) -> list[bool]:
    """Keep flags for ascending `steps`: the newest `keep`, the best, and the first of each `spacing` (0: none)."""
    newest, blocks = set(steps[-keep:]), set()
    kept = []
    for step in steps:
        block = step // spacing if spacing else None
        first = spacing > 0 and block not in blocks
        blocks.add(block)
        kept.append(step in newest or step == best or first)
    return kept


class _Policy:
    """Orbax's preservation policy: see `preserved`."""

    def __init__(self, keep: int, spacing: int) -> None:
        self.keep, self.spacing = keep, spacing
        self.best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        return preserved([info.step for info in checkpoints], self.keep, self.best, self.spacing)


def _alone() -> Any:
    """Orbax options for the first of several processes, which holds the whole state and writes it for all."""
    from orbax.checkpoint.options import MultiprocessingOptions

    return MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="jaxgen")


def _to_nobody(message: str) -> None:
    """Drop a warning."""


class Checkpoints:
    """The checkpoints of one run, in `directory`."""

    def __init__(self, directory: Path, keep: int, spacing: int = 0, warn: Callable[[str], None] = _to_nobody) -> None:
        import orbax.checkpoint as ocp  # takes 2 s, needed only once the first chunk is running

        _quiet()

        self._ocp, self._warn = ocp, warn
        self._directory = directory.absolute()
        self._policy = _Policy(keep, spacing)
        self._directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=_alone() if hosts.are_several() else ocp.options.MultiprocessingOptions(),
        )
        self.best_score = float("inf")
        for step in reversed(steps(self._directory)):
            error = _unreadable(self._directory / str(step))
            if error is not None:  # orbax would raise it for the whole folder
                self._set_aside(step, error)
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, tree: Tree, meta: Json, score: float | None = None) -> None:
        """Start saving `tree` as `step`; `score` (lower is better) determines the best.

        The arrays are copied before this returns, so the caller may donate them.
        """
        if score is not None and score < self.best_score:
            self.best_score, self._policy.best = score, step
        if step in self._manager.all_steps():
            return
        arrays = {name: np.array(leaf) for name, leaf in named_leaves(tree).items()}
        needed = sum(leaf.nbytes for leaf in arrays.values()) + 2**20
        if shutil.disk_usage(self._directory).free < needed:  # before orbax starts: its threads do not fail quietly
            raise self._cannot_write(OSError(f"the disk is full, {needed // 2**20 + 1} MiB are needed"))
        manifest = {
            "arrays": {name: entry(leaf) for name, leaf in arrays.items()},
            "best": {"step": self._policy.best, "score": self.best_score},
            "meta": meta,
            "format": renamed.FORMAT,
        }
        args = self._ocp.args
        composite = args.Composite(arrays=args.StandardSave(arrays), manifest=args.JsonSave(sealed(manifest)))
        try:
            self._manager.save(step, args=composite)
        except (OSError, ValueError) as error:
            raise self._cannot_write(error) from error

    def restore(self, like: Tree, before: int | None = None) -> tuple[int, Tree, Json] | None:
        """The newest valid checkpoint as (step, arrays with the structure and placement of `like`, meta), if any.

        With `before`, the newest of an earlier step.
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            if before is not None and step >= before:
                continue
            try:
                tree, record = _verified(
                    self._directory / str(step), partial(self._manager.restore, step), lambda record: like
                )
                best, meta = record["best"], record["meta"]
                self._policy.best, self.best_score = best["step"], best["score"]
            except UserError:
                raise
            except Exception as error:  # orbax may raise anything on a damaged file
                self._set_aside(step, error)
                self._manager.reload()
                continue
            return step, tree, meta
        return None

    def _set_aside(self, step: int, error: Exception) -> None:
        damaged, number = self._directory.parent / f"damaged-{step}", 1
        while damaged.exists():
            damaged, number = self._directory.parent / f"damaged-{step}.{number}", number + 1
        self._warn(f"{_damage(step, error)}; moved to {damaged}, falling back to the one before it")
        shutil.move(self._directory / str(step), damaged)

    def wait(self) -> None:
        """Return once everything saved is on disk."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Wait, then release orbax's threads."""
        self.wait()
        self._manager.close()

    def _cannot_write(self, error: Exception) -> UserError:
        if not self._directory.exists():
            return UserError(f"{self._directory} was removed while the run was being trained: its checkpoints are lost")
        free = shutil.disk_usage(self._directory).free // 2**20
        return UserError(
            f"could not write a checkpoint to {self._directory} ({_reason(error)}; {free} MiB free): mend that and run "
            "the same command again, it continues from the last complete checkpoint"
        )


class Reader:
    """The checkpoints in `directory`, read without changing anything there: a run may be writing more of them."""

    def __init__(self, directory: Path, warn: Callable[[str], None] = _to_nobody) -> None:
        import orbax.checkpoint as ocp

        _quiet()

        self._warn, self._directory = warn, directory.absolute()
        if hosts.are_several():
            alone = ocp.CompositeOptions(multiprocessing_options=_alone())
            handler = ocp.CompositeCheckpointHandler(composite_options=alone)
            self._checkpointer = ocp.Checkpointer(handler, multiprocessing_options=_alone())
        else:
            self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())

    def newest(self) -> tuple[int, dict[str, np.ndarray], Json] | None:
        """The newest valid checkpoint as (step, arrays by name, manifest), whatever its structure, if any."""
        for step in reversed(steps(self._directory)):
            try:
                return step, *self._read(step, _as_recorded)
            except UserError:
                raise
            except Exception as error:  # orbax may raise anything on a damaged file
                if (self._directory / str(step)).exists():  # else its run has removed it in the meantime
                    self._warn(f"{_damage(step, error)}; the one before it is read")
        return None

    def at(self, step: int, like: Tree | None = None) -> tuple[int, Tree, Json]:
        """The checkpoint of `step`, in the form of `newest` or with the structure and placement of `like`.

        A missing or damaged one raises a `UserError`.
        """
        there = steps(self._directory)
        if step not in there:
            raise UserError(f"{self._directory} has no checkpoint of step {step}; there are {there}")
        try:
            return step, *self._read(step, _as_recorded if like is None else lambda record: like)
        except UserError:
            raise
        except Exception as error:  # orbax may raise anything on a damaged file
            raise UserError(f"{_damage(step, error)}: {self._directory / str(step)}") from error

    def manifest(self, step: int) -> Json:
        """The manifest of a checkpoint, without its arrays; a damaged one raises a `UserError`."""
        from orbax.checkpoint import args

        try:
            folder = self._directory / str(step)
            record = self._checkpointer.restore(folder, args=args.Composite(manifest=args.JsonRestore()))["manifest"]
            _check_seal(record)
        except Exception as error:  # orbax may raise anything on a damaged file
            raise UserError(f"{_damage(step, error)}: {self._directory / str(step)}") from error
        return record

    def close(self) -> None:
        """Release orbax's threads."""
        self._checkpointer.close()

    def _read(self, step: int, structure: Callable[[Json], Tree]) -> tuple[Tree, Json]:
        folder = self._directory / str(step)
        if (error := _unreadable(folder)) is not None:
            raise error
        return _verified(folder, partial(self._checkpointer.restore, folder), structure)


def _verified(folder: Path, restore: Callable[..., Any], structure: Callable[[Json], Tree]) -> tuple[Tree, Json]:
    """Arrays and manifest of a step: orbax's `restore` of its parts, with every hash made again."""
    from orbax.checkpoint import args

    record = restore(args=args.Composite(manifest=args.JsonRestore()))["manifest"]
    _check_seal(record)
    like, entries = structure(record), record["arrays"]
    wanted = named_leaves(like)
    places = renamed.places({name: stored["shape"] for name, stored in entries.items()}, wanted)
    kinds = {name: _kind(entries[stored], column) for name, (stored, column) in places.items()}
    for name in sorted(wanted.keys() | kinds.keys()):
        now = (wanted[name].shape, str(wanted[name].dtype)) if name in wanted else None
        if kinds.get(name) != now:
            raise UserError(
                f"checkpoint {folder} does not fit this version of the code: {name} is "
                f"{kinds.get(name)}, expected {now}; start a run under a new name"
            )
    structure_of = {
        stored: wanted[name] if column is None else np.zeros(entries[stored]["shape"], entries[stored]["dtype"])
        for name, (stored, column) in places.items()
    }
    arrays = restore(args=args.Composite(arrays=args.StandardRestore(structure_of)))["arrays"]
    for name, leaf in arrays.items():
        if entry(np.asarray(leaf)) != entries[name]:
            raise OSError(f"array {name} does not have the SHA-256 of its manifest")
    found = {
        name: arrays[stored] if column is None else np.asarray(arrays[stored])[..., column]
        for name, (stored, column) in places.items()
    }
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in wanted]), record


def _damage(step: int, error: Exception) -> str:
    return f"checkpoint {step} is damaged ({type(error).__name__}: {_reason(error)})"


def _unreadable(step: Path) -> Exception | None:
    """The error in orbax's own notes about a step, if they are damaged."""
    try:
        notes = json.loads((step / "_CHECKPOINT_METADATA").read_text(encoding="utf-8"))
        for name in ("init_timestamp_nsecs", "commit_timestamp_nsecs"):
            if not isinstance(notes.get(name, 0), int):
                raise TypeError(f"{name} is {notes[name]!r}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return error
    return None


def _quiet() -> None:
    """Leave it to us to report failures: orbax logs them too, and tensorstore's threads raise them in ended loops.

    asyncio logs those that nobody asked for.
    """
    import absl.logging

    absl.logging.set_verbosity(absl.logging.FATAL)
    show = sys.unraisablehook
    if isinstance(show, _Hushed):
        return
    sys.unraisablehook = _Hushed(show)
    logging.getLogger("asyncio").addFilter(lambda record: not (record.exc_info and _is_of_threads(record.exc_info[1])))


def _is_of_threads(error: BaseException | None) -> bool:
    return str(error) == "Event loop is closed" or "tensorstore_spec" in str(error)


class _Hushed:
    def __init__(self, show: Callable[[Any], Any]) -> None:
        self._show = show

    def __call__(self, unraisable: Any) -> None:
        if not _is_of_threads(unraisable.exc_value):
            self._show(unraisable)


_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOMEM)


def _reason(error: Exception) -> str:
    """An error of orbax or tensorstore in a few words: the system's own if it is in there."""
    known = (os.strerror(code) for code in _CODES)
    return next((words for words in known if words in str(error)), shorten(str(error) or type(error).__name__, 120))


def steps(directory: Path) -> list[int]:
    """Steps with a committed checkpoint in `directory`, without opening any."""
    return sorted(int(name) for name in os.listdir(directory) if name.isdigit()) if directory.exists() else []
