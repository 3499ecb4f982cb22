"""The `Run` object that `fit` and `load` return."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from typing_extensions import TypeVar

from jaxgen import contract, memory
from jaxgen.contract import Algorithm, DataFacts, Tree, Use
from jaxgen.data.dataset import Dataset
from jaxgen.engine import loop
from jaxgen.engine.members import Members, member
from jaxgen.errors import SettingError, UserError
from jaxgen.runs.metrics import Row

C = TypeVar("C", default=Any)
H = TypeVar("H", default=Any)

Status = Literal["finished", "ended", "stopped", "running"]


class Series(NamedTuple):
    """The logged values of one metric."""

    steps: np.ndarray
    """Int (n,): training steps done at each value."""
    values: np.ndarray
    """Float (n,) or (n, members); training metrics are means since the previous value. NaN: not finite."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run(Generic[C, H]):
    """A training run: settings, state and metrics, and the uses of the trained model."""

    algorithm: Algorithm
    config: C
    hparams: H
    """With several members, stacked: every leaf has shape (members,)."""
    seed: int
    """With several members, the first one's."""
    step: int
    steps_per_epoch: int
    status: Status
    """finished: all steps done; ended: by a callback; stopped: by a signal; running: not yet complete."""
    state: Any
    """The algorithm's State; with several members, stacked along axis 0."""
    rows: list[Row]
    """The logged rows."""
    directory: Path | None = None
    """The run directory, if any."""
    facts: DataFacts | None = None
    """Properties of the data that the configuration was adapted to."""
    members: Members | None = None
    signal: int | None = None
    """The signal that stopped the run, if any."""
    warning: str | None = None
    """The algorithm's warning for the last evaluation."""
    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    experiment: str | None = None
    _dataset: Callable[[], Dataset] | None = None
    _best: Callable[[], tuple[int, loop.Carry]] | None = None
    _at: Callable[[int], loop.Carry] | None = None
    _carry: loop.Carry | None = None
    _task: Any = None
    """The `runs.fit.Task` of a run trained in this process."""

    def __repr__(self) -> str:
        many = f", {len(self.members.seeds)} members" if self.members else ""
        where = f", {self.directory}" if self.directory else ""
        return f"Run({contract.name_of(self.algorithm)}, {self.status} at step {self.step}{many}{where})"

    @cached_property
    def metrics(self) -> Mapping[str, Series]:
        """Logged metrics by name, e.g. `test/loss`; an unknown name raises a `KeyError` that lists the valid ones."""
        names = dict.fromkeys(name for row in self.rows for name in row if "/" in name)
        return _Metrics({name: _series(self.rows, name) for name in names})

    @cached_property
    def weights(self) -> Tree:
        """The part of the state needed to use the model."""
        self._refuse_many("weights")
        return self.algorithm.weights(self.state, self.config)

    def data(self) -> Dataset:
        """The data set, loaded on first use; it must match the one trained on."""
        if self._dataset is None:
            raise UserError(f"{self!r} does not know its data: they were arrays, or the algorithm takes none")
        return self._dataset()

    def sample(self, key: Array, count: int) -> Float[Array, "n h w c"]:
        """`count` images in [0, 1]; a `SettingError` if they do not fit into memory."""
        if self.facts is not None:
            memory.check_images("count", count, self.facts.image_shape)
        return self._use("sample", key, count=count)

    def encode(self, images: UInt8[Array, "n h w c"], key: Array | None = None) -> Float[Array, "n k"]:
        """Codes of uint8 images; `key` (default: seed 0) is for randomly drawn pixels."""
        return self._use("encode", jnp.asarray(images), _key(key))

    def decode(self, codes: Float[Array, "n k"]) -> Float[Array, "n h w c"]:
        """Images in [0, 1] decoded from codes."""
        return self._use("decode", jnp.asarray(codes, jnp.float32))

    def reconstruct(self, images: UInt8[Array, "n h w c"], key: Array | None = None) -> Float[Array, "n h w c"]:
        """Reconstructions in [0, 1], each from its image's code."""
        return self._use("reconstruct", jnp.asarray(images), _key(key))

    def act(self, observations: Float[Array, " n *shape"]) -> Array:
        """The policy's actions."""
        return self._use("act", jnp.asarray(observations, jnp.float32))

    def best(self) -> "Run[C, H]":
        """The run at its best evaluation according to the algorithm's objective."""
        self._refuse_many("best()")
        if self.algorithm.TRAITS.objective is None:
            raise UserError(f"{contract.name_of(self.algorithm)} has no objective, so no state of it is the best")
        if self._best is None:
            raise UserError(f"no best state of {self!r} was kept: nothing has been evaluated")
        step, carry = self._best()
        rows = [row for row in self.rows if row["step"] <= step]
        state = jax.tree.map(jnp.asarray, carry.state)
        return dataclasses.replace(self, step=step, state=state, rows=rows, status="running", _carry=None, _task=None)

    def at(self, step: int) -> "Run[C, H]":
        """The run at an earlier kept checkpoint; an unknown step raises a `UserError` that lists the kept ones."""
        if self._at is None:
            raise UserError(f"{self!r} has no checkpoints: it was not loaded from a directory")
        carry = self._at(step)
        rows = [row for row in self.rows if row["step"] <= step]
        return dataclasses.replace(
            self, step=step, state=carry.state, rows=rows, status="running", warning=None, _carry=None, _task=None,
        )  # fmt: skip

    def member(self, i: int) -> "Run[C, H]":
        """Member i of a multi-member run, as a single run."""
        if self.members is None:
            raise UserError(f"{self!r} is a single run")
        count = len(self.members.seeds)
        if not 0 <= i < count:
            raise SettingError(f"member = {i} is not allowed: 0 to {count - 1}")
        rows = [{k: v[i] if isinstance(v, list) else v for k, v in row.items()} for row in self.rows]
        hparams, state = member((self.hparams, self.state), i)
        return dataclasses.replace(
            self, hparams=hparams, state=state, seed=self.members.seeds[i], rows=rows, members=None, directory=None,
            _best=None, _carry=None, _task=None,
        )  # fmt: skip

    def singles(self, i: int | None = None) -> dict[str, "Run[C, H]"]:
        """Single runs by the suffix of their files: "" for a run of one seed, else `-member-i`, of all or of one."""
        if i is not None:
            chosen: Sequence[int] = [i]
        elif self.members is None:
            return {"": self}
        else:
            chosen = range(len(self.members.seeds))
        return {f"-member-{one}": self.member(one) for one in chosen}

    def fit(self, *, epochs: int) -> "Run[C, H]":
        """Train further, to `epochs` epochs in total."""
        from jaxgen.runs.fit import go_on

        return go_on(self, epochs)

    def save(self, path: str | Path) -> Path:
        """Write a run directory, which `load` reads back."""
        from jaxgen.runs.fit import save

        return save(self, Path(path))

    def _hparams_of_record(self) -> Any:
        """Hyperparameters as numbers; with several members, the first one's."""
        hparams = self.hparams if self.members is None else member(self.hparams, 0)
        return jax.tree.map(float, hparams)

    def _use(self, use: Use, *args: Any, **static: Any) -> Any:
        self._refuse_many(f"{use}()")
        if not contract.supports(self.algorithm, use):
            raise UserError(f"{contract.name_of(self.algorithm)} has no {use}: a model of it cannot be used so")
        return self._compiled(use, tuple(sorted(static.items())))(self.weights, *args)

    def _compiled(self, use: Use, static: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
        cache: dict[Any, Callable[..., Any]] = self.__dict__.setdefault("_programs", {})
        if (use, static) not in cache:
            function = getattr(self.algorithm, use)
            cache[use, static] = jax.jit(partial(function, config=self.config, **dict(static)))
        return cache[use, static]

    def _refuse_many(self, what: str) -> None:
        if self.members is not None:
            raise UserError(f"{what} is of one run, this one has {len(self.members.seeds)}: choose one by .member(i)")


class _Metrics(dict[str, Series]):
    def __missing__(self, name: str) -> Series:
        raise KeyError(f"{name} was not logged; there are {', '.join(self)}")


def _series(rows: list[Row], name: str) -> Series:
    logged = [row for row in rows if name in row and not row.get("partial")]
    values = [np.array([np.nan if x is None else x for x in np.atleast_1d(row[name]).tolist()]) for row in logged]
    table = np.array(values)
    many = any(isinstance(row[name], list) for row in logged)
    return Series(np.array([row["step"] for row in logged]), table if many else table[:, 0])


def _key(key: Array | None) -> Array:
    return jax.random.key(0) if key is None else key
