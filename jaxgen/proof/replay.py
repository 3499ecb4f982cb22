"""Everything about one step of a run, made again from the nearest earlier checkpoint."""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contract import Algorithm, Tree
from jaxgen.data.dataset import Dataset
from jaxgen.engine import batches, loop
from jaxgen.engine import members as members_lib
from jaxgen.errors import UserError, refuse
from jaxgen.files import Json
from jaxgen.proof import blame, recorded
from jaxgen.proof.blame import Blame
from jaxgen.proof.recorded import Recorded, Say
from jaxgen.runs import checkpoint
from jaxgen.runs.checkpoint import Reader


class Change(NamedTuple):
    """Euclidean norms of an array of the state and of its change by the step."""

    norm: float
    change: float


class Replayed(NamedTuple):
    """One step of one run, or of one member."""

    path: Path
    step: int
    """Number of steps done before it."""
    member: int | None
    checkpoint: int
    """The step whose state the replay began with; 0 may be the beginning of the run."""
    before: Tree
    """The algorithm's State before the step."""
    after: Tree
    key: np.ndarray
    """Data of the step's key, from which all its random numbers come."""
    indices: np.ndarray | None
    """Places of the batch's images in the training split; None without data."""
    batch: Tree
    """The algorithm's batch."""
    metrics: Mapping[str, float]
    changes: Mapping[str, Change]
    """By the name of an array of floating-point numbers. The contract of algorithms offers no gradients."""
    blame: Blame | None
    """The origin of infinities and NaN; None if the step is finite."""

    def lines(self) -> list[str]:
        """Metrics, images and changes for people; the arrays that change most come first."""
        whose = "" if self.member is None else f", member {self.member}"
        metrics = "  ".join(f"{name} {value:.6g}" for name, value in self.metrics.items())
        lines = [f"{self.path}, step {self.step}{whose}, from checkpoint {self.checkpoint}", f"metrics: {metrics}"]
        if self.indices is not None:
            lines.append(f"training images: {' '.join(map(str, self.indices.tolist()))}")
        lines.append(f"key: {' '.join(f'{word:08x}' for word in self.key.ravel().tolist())}")
        if self.blame is not None:
            lines += self.blame.lines()
        width = max(map(len, self.changes), default=0)
        by_size = sorted(self.changes.items(), key=lambda pair: -_share(pair[1]))
        lines.append(f"{'array of the state':{width}}  {'norm':>10}  {'change':>10}  change / norm")
        return lines + [f"{name:{width}}  {c.norm:10.4g}  {c.change:10.4g}  {_share(c):.2e}" for name, c in by_size]

    def to_json(self) -> Json:
        """Everything except states and images as JSON values."""
        return {
            "path": str(self.path),
            "step": self.step,
            "member": self.member,
            "checkpoint": self.checkpoint,
            "key": self.key.ravel().tolist(),
            "indices": None if self.indices is None else self.indices.tolist(),
            "metrics": {name: _finite(value) for name, value in self.metrics.items()},
            "changes": {name: {k: _finite(v) for k, v in c._asdict().items()} for name, c in self.changes.items()},
            "blame": None if self.blame is None else self.blame._asdict(),
        }


def _share(change: Change) -> float:
    if not np.isfinite(change.change):
        return float("inf")
    return change.change / change.norm if change.norm else 0.0


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def replay(
    path: str | Path,
    step: int,
    *,
    member: int | None = None,
    algorithm: Algorithm | None = None,
    dataset: Dataset | None = None,
    say: Say = recorded.silent,
) -> Replayed:
    """Make the step after `step` steps again, of one `member` where there are several.

    The state before it is the run's own, bit for bit on its machine. Nothing is written.
    """
    path = Path(path)
    run = recorded.opened(path, algorithm, dataset)
    if not run.beginning <= step < run.plan.total:
        refuse("step", step, f"{run.beginning} to {run.plan.total - 1}, the steps of {path}")
    _check_member(run, member)
    start, carry = reached(run, step, say)
    first_bad = _of(run, carry.first_bad, member)
    before = _host(_of(run, run.job.placement.whole(carry).state, member))
    carry = run.programs.resume(
        carry._replace(sums=jnp.zeros_like(carry.sums), first_bad=jnp.full_like(carry.first_bad, -1))
    )
    carry, rows = _one(run, carry, step)
    after = _host(_of(run, run.job.placement.whole(carry).state, member))
    metrics = dict(zip(run.programs.metrics, (float(x) for x in _of(run, rows, member)), strict=True))
    keys = _of(run, run.job.placement.local(run.programs.keys), member)
    key = jax.random.fold_in(keys.step, step)
    indices, batch = _batch(run, keys.order, step)
    if not _is_finite((metrics, after)):
        hparams = _of(run, run.programs.hparams, member)
        do = partial(run.job.algorithm.step, config=run.job.config)
        found = blame.origin(do, (before, batch, key, hparams), indices, int(first_bad))
    else:
        found = None
    return Replayed(
        path, step, member, start, before, after, np.asarray(jax.random.key_data(key)), indices, batch, metrics,
        dict(_changes(before, after)), found,
    )  # fmt: skip


def reached(run: Recorded, step: int, say: Say) -> tuple[int, loop.Carry]:
    """The carry after `step` steps, and the checkpoint (or beginning) that it was made from."""
    there = [one for one in checkpoint.steps(run.checkpoints) if run.beginning <= one <= step]
    with contextlib.closing(Reader(run.checkpoints)) as reader:
        for one in reversed(there):
            try:
                carry = recorded.placed(run, reader.at(one, recorded.template(run))[1])
            except UserError as error:
                say(f"{error}; an earlier one is taken")
                continue
            say(f"steps {one} to {step} are made again")
            return one, recorded.rerun(run, carry, one, step, evaluate=False)[0]
    if run.beginning:
        raise UserError(f"{run.path} is a fork from step {run.beginning}, and has no checkpoint of it: take its parent")
    say(f"steps 0 to {step} are made again")
    return 0, recorded.rerun(run, run.programs.start(), 0, step, evaluate=False)[0]


def _check_member(run: Recorded, member: int | None) -> None:
    count = len(run.members.seeds) if run.members else 0
    if count and (member is None or not 0 <= member < count):
        refuse("member", member, f"0 to {count - 1}: {run.path} is several runs in one")
    if not count and member is not None:
        refuse("member", member, f"None: {run.path} is a single run")


def _of(run: Recorded, tree: Any, member: int | None) -> Any:
    return tree if member is None else members_lib.member(tree, member)


def _host(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


def _one(run: Recorded, carry: loop.Carry, step: int) -> tuple[loop.Carry, np.ndarray]:
    """One step from sums of zero, and its metrics: a logging interval that it completes, or the sums it leaves."""
    with recorded.streaming(run.programs):
        carry, chunk = run.programs.chunk(carry, step, step + 1)
    if (step + 1) % run.plan.log_every == 0:
        return carry, np.asarray(chunk.rows)[..., 0, :]
    return carry, np.asarray(run.job.placement.whole(carry).sums)


def _batch(run: Recorded, key: Any, step: int) -> tuple[np.ndarray | None, Tree]:
    dataset, algorithm = run.job.dataset, run.job.algorithm
    if dataset is None:
        return None, algorithm.Batch()
    epoch, place = divmod(step, run.plan.per_epoch)
    size, labels = run.job.config.batch_size, dataset.train.labels
    order = np.asarray(batches.order_of(key, epoch, len(labels)))
    indices = order[place * size : (place + 1) * size]
    return indices, algorithm.Batch(np.asarray(dataset.train.images[indices]), np.asarray(labels[indices]))


def _is_finite(tree: Any) -> bool:
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree) if _is_float(leaf))


def _is_float(leaf: Any) -> bool:
    return bool(jnp.issubdtype(np.asarray(leaf).dtype, jnp.floating))


def _changes(before: Tree, after: Tree) -> list[tuple[str, Change]]:
    new = loop.named_leaves(after)
    pairs = [(name, old, new[name]) for name, old in loop.named_leaves(before).items() if _is_float(old)]

    def norm(array: Any) -> float:
        return float(np.linalg.norm(np.asarray(array, np.float64).ravel()))

    with np.errstate(invalid="ignore", over="ignore"):
        return [
            (name, Change(norm(old), norm(now.astype(np.float64) - old.astype(np.float64)))) for name, old, now in pairs
        ]
