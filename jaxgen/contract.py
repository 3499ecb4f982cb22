"""The contract of an algorithm: a module that provides the names below. `Algorithm` is its type.

    Config              frozen dataclass of static settings (shapes, trip counts); changing one recompiles
    HParams             registered dataclass of floats (traced scalars); stack along axis 0 and vmap for a sweep
    State               named tuple: a pytree of arrays only
    Batch               named tuple passed to each step: `ImageBatch`, `NoBatch`, or your own; a nonempty batch
                        requires `Config.batch_size`
    TRAITS              `Traits`: objective, progress, adaptation to data, division over devices, health
    validate(hparams, config)                                    raises `SettingError` for out-of-range numbers
    init(key, hparams, config) -> State
    step(state, batch, key, hparams, config, *, axis_name=None) -> (State, metrics)
    evaluate(state, batch, key, hparams, config, *, axis_name=None) -> metrics
    weights(state, config)                                       the part of the state needed to use the model

Optional functions that use a trained model (see `supports`), with their arguments always in this order:

    sample(weights, key, count, config)                          images in [0, 1]
    encode(weights, images, key, config)                         codes of uint8 images
    decode(weights, codes, config)                               images in [0, 1]
    reconstruct(weights, images, key, config)                    images in [0, 1]
    act(weights, observations, config)                           actions

Metrics are a dictionary of float32 scalars. A step may omit `axis_name`; the algorithm then runs on one device only.
Nothing else is required: the engine, runs, sweeps and reports rely only on this contract.
`jaxgen.testing.check_algorithm` checks every clause.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

from typing_extensions import TypeVar

from jaxgen.errors import UserError

Metrics = dict[str, Any]
"""Float32 scalars by name."""
Tree = Any
"""A pytree of arrays of any structure."""
Use = Literal["sample", "encode", "decode", "reconstruct", "act"]

C = TypeVar("C", default=Any)
H = TypeVar("H", default=Any)
S = TypeVar("S", default=Any)
B = TypeVar("B", default=Any)


class ImageBatch(NamedTuple):
    """uint8 images and their labels (-1 if unlabeled): a batch or a whole split."""

    images: Any
    """uint8 (B, H, W, C), a JAX or NumPy array."""
    labels: Any
    """int32 (B,)."""


class NoBatch(NamedTuple):
    """The empty batch of an algorithm that generates its own data."""


class DataFacts(NamedTuple):
    """Properties of a data set that configurations adapt to."""

    name: str
    image_shape: tuple[int, int, int]
    examples: int
    """Images in the training split."""
    classes: int


class Objective(NamedTuple):
    """The logged metric used to compare runs."""

    metric: str
    """Name as logged, e.g. `test/loss`."""
    maximize: bool = False


def _unchanged(config: Any, facts: DataFacts) -> Any:
    return config


def _by_batch(config: Any) -> Mapping[str, int]:
    return {"batch_size": 1}


def _never(config: Any) -> bool:
    return False


def _complete(hparams: Any, config: Any, steps: int) -> Any:
    return hparams


def _healthy(metrics: Mapping[str, float]) -> str | None:
    return None


@dataclass(frozen=True)
class Traits:
    """Properties an algorithm declares; the defaults suit training on batches of images."""

    objective: Objective | None = None
    """The metric by which sweeps, searches and the best checkpoint compare runs; None if there is none (a GAN)."""
    progress: tuple[str, ...] = ("loss",)
    """Training metrics on the progress bar."""
    adapt: Callable[[Any, DataFacts], Any] = _unchanged
    """(config, facts) -> the configuration adapted to the data; refuses incompatible settings."""
    complete: Callable[[Any, Any, int], Any] = _complete
    """(hparams, config, steps) -> the hyperparameters for a run of `steps` steps, e.g. with a schedule length of 0
    filled in; refuses runs that are too short."""
    steps_per_epoch: Callable[[Any], int] | None = None
    """(config) -> steps per epoch, for an algorithm without data; otherwise an epoch is one pass over the data."""
    divided: Callable[[Any], Mapping[str, int]] = _by_batch
    """(config) -> the fields divided among devices, and how many units of each must stay together."""
    divided_axes: Tree | None = None
    """A State whose leaves (or whole branches) are the axis along which arrays are sharded; -1: replicated.
    None: everything is replicated."""
    health: Callable[[Mapping[str, float]], str | None] = _healthy
    """(evaluation) -> a warning if it indicates a problem such as mode collapse, else None."""
    parameters: Callable[[Any], Tree] | None = None
    """(state) -> all trained parameters, for the parameter table; None: the weights."""
    single_thread: bool = False
    """Whether a single run on a CPU is faster in one thread because its operations are small."""
    bfloat16: Callable[[Any], bool] = _never
    """(config) -> whether the nets compute in bfloat16."""
    dense: Callable[[Any], bool] = _never
    """(config) -> whether all their layers are dense: only these are faster in bfloat16 on a CPU."""
    packages: tuple[str, ...] = ()
    """Python packages whose versions are recorded with a run, in addition to the usual ones."""


class Algorithm(Protocol):
    """The type of an algorithm module."""

    Config: Any
    HParams: Any
    State: Any
    Batch: Any
    TRAITS: Traits
    validate: Callable[..., None]
    init: Callable[..., Any]
    step: Callable[..., tuple[Any, Metrics]]
    evaluate: Callable[..., Metrics]
    weights: Callable[..., Tree]


_NAMES = ("Config", "HParams", "State", "Batch", "TRAITS", "validate", "init", "step", "evaluate", "weights")


def check(algorithm: Any) -> None:
    """Raise `UserError` if a name of the contract is missing."""
    missing = [name for name in _NAMES if not hasattr(algorithm, name)]
    if missing:
        raise UserError(
            f"{name_of(algorithm)} is not an algorithm: it lacks {', '.join(missing)} (see jaxgen.contract)"
        )


def name_of(algorithm: Any) -> str:
    """The importable name of an algorithm's module."""
    return str(getattr(algorithm, "__name__", algorithm))


def supports(algorithm: Any, use: Use) -> bool:
    """Whether the algorithm provides the function `use`."""
    return callable(getattr(algorithm, use, None))


def takes_data(algorithm: Algorithm) -> bool:
    """Whether a step takes data."""
    return bool(algorithm.Batch._fields)


def refuse_missing_data(algorithm: Algorithm) -> NoReturn:
    """Raise `UserError`: the algorithm trains on data and got none."""
    raise UserError(f"{name_of(algorithm)} trains on data: give a data set, as jaxgen.data.load('digits')")


def takes_axis(algorithm: Algorithm) -> bool:
    """Whether a step can run on one device's shard of a batch."""
    return "axis_name" in inspect.signature(algorithm.step).parameters
