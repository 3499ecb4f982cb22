"""Checkpoints: orbax writes them (asynchronously, atomically), we say what must be in them.

A checkpoint holds the arrays by name and a JSON item with the SHA-256 of each array, committed together. At restore
every array is hashed again, because orbax reads flipped bits without a word. A step that cannot be read is set aside
as `damaged-N` and the one before it is taken.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen.engine.loop import named_leaves
from jaxgen.errors import UserError
from jaxgen.launch import processes

Tree = Any


def _entry(leaf: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(leaf).view(np.uint8).data if leaf.size else b"").hexdigest()
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "sha256": digest}


def _struct(entry: dict[str, Any]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(entry["shape"]), entry["dtype"])


class _KeepNewestAndBest:
    """Orbax preservation policy: the newest `keep` steps and the one with the lowest score."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        newest = {info.step for info in checkpoints[-self.keep :]}
        return [info.step in newest or info.step == self.best for info in checkpoints]


def _alone() -> Any:
    """Orbax's options for the first of several processes, which has the whole state and writes it for all."""
    from orbax.checkpoint.options import MultiprocessingOptions

    return MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="jaxgen")


class Checkpoints:
    """The checkpoints of one run, in `directory`."""

    def __init__(self, directory: Path, keep: int) -> None:
        import absl.logging
        import orbax.checkpoint as ocp  # 2 s, needed only once the first chunk is on its way

        absl.logging.set_verbosity(absl.logging.FATAL)  # what orbax's threads meet is raised again and said by us

        self._ocp = ocp
        self._directory = directory.absolute()
        self._policy = _KeepNewestAndBest(keep)
        self._directory.mkdir(parents=True, exist_ok=True)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy,
            cleanup_tmp_directories=True,
            create=False,
            multiprocessing_options=_alone() if processes.are_several() else ocp.options.MultiprocessingOptions(),
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)
        self.best_score = float("inf")

    def save(self, step: int, tree: Tree, meta: dict[str, Any], score: float | None = None) -> None:
        """Starts to save `tree` as `step`; `score` (lower is better) marks the best.

        The arrays are copied before this returns, so the caller may donate them.
        """
        if step in self._manager.all_steps():
            return
        if score is not None and score < self.best_score:
            self.best_score, self._policy.best = score, step
        arrays = {name: np.array(leaf) for name, leaf in named_leaves(tree).items()}
        needed = sum(leaf.nbytes for leaf in arrays.values()) + 2**20
        if shutil.disk_usage(self._directory).free < needed:  # before orbax starts: its threads do not fail quietly
            raise self._cannot_write(OSError(f"the disk is full, {needed // 2**20 + 1} MiB are needed"))
        record = {
            "arrays": {name: _entry(leaf) for name, leaf in arrays.items()},
            "best": {"step": self._policy.best, "score": self.best_score},
            "meta": meta,
        }
        args = self._ocp.args
        composite = args.Composite(arrays=args.StandardSave(arrays), manifest=args.JsonSave(record))
        try:
            self._manager.save(step, args=composite)
        except (OSError, ValueError) as error:
            raise self._cannot_write(error) from error

    def restore(self, like: Tree) -> tuple[int, Tree, dict[str, Any]] | None:
        """The newest valid checkpoint as (step, arrays in the structure and places of `like`, meta), if any."""
        return self._restore(lambda record: like)

    def _restore(self, like: Callable[[dict[str, Any]], Tree]) -> tuple[int, Tree, dict[str, Any]] | None:
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                tree, record = self._read(step, like)
            except UserError:
                raise
            except Exception as error:  # whatever a damaged file makes orbax raise
                self._set_aside(step, error)
                continue
            self._policy.best, self.best_score = record["best"]["step"], record["best"]["score"]
            return step, tree, record["meta"]
        return None

    def newest(self) -> tuple[int, dict[str, np.ndarray], dict[str, Any]] | None:
        """The newest valid checkpoint as (step, arrays by name, meta), whatever it holds, if any."""
        return self._restore(lambda record: {n: _struct(entry) for n, entry in record["arrays"].items()})

    def _read(self, step: int, structure: Callable[[dict[str, Any]], Tree]) -> tuple[Tree, dict[str, Any]]:
        args = self._ocp.args
        record = self._manager.restore(step, args=args.Composite(manifest=args.JsonRestore()))["manifest"]
        like = structure(record)
        wanted = named_leaves(like)
        kinds = {name: (tuple(e["shape"]), e["dtype"]) for name, e in record["arrays"].items()}
        for name in sorted(wanted.keys() | kinds.keys()):
            now = (wanted[name].shape, str(wanted[name].dtype)) if name in wanted else None
            if kinds.get(name) != now:
                raise UserError(
                    f"checkpoint {self._directory / str(step)} does not fit this version of the code: {name} is "
                    f"{kinds.get(name)}, expected {now}; start a run under a new name"
                )
        arrays = self._manager.restore(step, args=args.Composite(arrays=args.StandardRestore(wanted)))["arrays"]
        for name, leaf in arrays.items():
            if _entry(np.asarray(leaf)) != record["arrays"][name]:
                raise OSError(f"array {name} does not have the SHA-256 of its manifest")
        return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted]), record

    def _set_aside(self, step: int, error: Exception) -> None:
        damaged, number = self._directory.parent / f"damaged-{step}", 1
        while damaged.exists():
            damaged, number = self._directory.parent / f"damaged-{step}.{number}", number + 1
        reason = (str(error).splitlines() or [""])[0][:200]
        print(
            f"checkpoint {step} is damaged ({type(error).__name__}: {reason}); moved to {damaged}, "
            "falling back to the one before it",
            file=sys.stderr,
        )
        shutil.move(self._directory / str(step), damaged)
        self._manager.reload()

    def wait(self) -> None:
        """Returns once everything saved is on disk."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Waits and releases orbax's threads."""
        self.wait()
        self._manager.close()

    def _cannot_write(self, error: Exception) -> UserError:
        free = shutil.disk_usage(self._directory).free // 2**20
        reason = (str(error).splitlines() or [""])[0][:200]
        return UserError(
            f"could not write a checkpoint to {self._directory} ({reason}; {free} MiB free): make room and run the "
            "same command again, it continues from the last complete checkpoint"
        )


def steps(directory: Path) -> list[int]:
    """Steps with a committed checkpoint in `directory`, without opening any."""
    return sorted(int(name) for name in os.listdir(directory) if name.isdigit()) if directory.exists() else []
