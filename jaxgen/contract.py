"""An algorithm is a module that provides the names below; `Algorithm` is their type, `Traits` what it declares.

    Config              frozen dataclass of static settings (shapes, trip counts); a new value compiles again
    HParams             registered dataclass of floats: traced scalars; stacked along axis 0 and vmapped it is a sweep
    State               named tuple, a pytree of arrays and nothing else
    Batch               named tuple that one step is given: `ImageBatch`, `NoBatch`, or one of your own; an algorithm
                        whose batch is not empty has a `Config.batch_size`
    TRAITS              `Traits`: objective, progress, how it adapts to data, what devices divide, health
    validate(hparams, config)                                    raises `SettingError` for numbers out of range
    init(key, hparams, config) -> State
    step(state, batch, key, hparams, config, *, axis_name=None) -> (State, metrics)
    evaluate(state, batch, key, hparams, config, *, axis_name=None) -> metrics
    weights(state, config)                                       the part of a state that using the model needs

and, where they make sense (`supports` tells), functions to use a trained model with, always in this order of
arguments:

    sample(weights, key, count, config)                          images in [0, 1]
    encode(weights, images, key, config)                         codes of uint8 images
    decode(weights, codes, config)                               images in [0, 1]
    reconstruct(weights, images, key, config)                    images in [0, 1]
    act(weights, observations, config)                           actions

Metrics are a dictionary of float32 scalars. A step without the argument `axis_name` is allowed and means that the
algorithm runs on one device only. Nothing else is asked of an algorithm anywhere: engine, runs, sweeps and reports
know of it what stands here. `jaxgen.testing.check_algorithm` checks every clause.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, TypeVar

from jaxgen.errors import UserError

Metrics = dict[str, Any]
"""Float32 scalars by name."""
Tree = Any
"""A pytree of arrays of any structure."""
Use = Literal["sample", "encode", "decode", "reconstruct", "act"]

C = TypeVar("C")
H = TypeVar("H")
S = TypeVar("S")
B = TypeVar("B")


class ImageBatch(NamedTuple):
    """Images as bytes and their labels (-1 where there are none): a batch, or a whole split."""

    images: Any
    """uint8 (B, H, W, C), of JAX or NumPy."""
    labels: Any
    """int32 (B,)."""


class NoBatch(NamedTuple):
    """The batch of an algorithm that makes its own data."""


class DataFacts(NamedTuple):
    """Facts of a data set that configurations adapt to."""

    name: str
    image_shape: tuple[int, int, int]
    examples: int
    """Images in the training split."""
    classes: int


class Objective(NamedTuple):
    """The logged metric that runs are compared by."""

    metric: str
    """As it is logged: `test/loss`."""
    maximize: bool = False


def _unchanged(config: Any, facts: DataFacts) -> Any:
    return config


def _by_batch(config: Any) -> Mapping[str, int]:
    return {"batch_size": 1}


def _complete(hparams: Any, config: Any, steps: int) -> Any:
    return hparams


def _healthy(metrics: Mapping[str, float]) -> str | None:
    return None


@dataclass(frozen=True)
class Traits:
    """Declarations of an algorithm; the defaults fit one that trains on batches of images."""

    objective: Objective | None = None
    """The metric that sweeps, searches and the best checkpoint compare runs by; None: there is none (a GAN)."""
    progress: tuple[str, ...] = ("loss",)
    """Training metrics on the progress bar."""
    adapt: Callable[[Any, DataFacts], Any] = _unchanged
    """(config, facts) -> the configuration for these data; refuses what does not go with them."""
    complete: Callable[[Any, Any, int], Any] = _complete
    """(hparams, config, steps) -> the hyperparameters of a run of so many steps, as a schedule's length of 0; refuses
    runs that are too short."""
    steps_per_epoch: Callable[[Any], int] | None = None
    """(config) -> steps of an epoch, of an algorithm without data; else an epoch is a pass over the training split."""
    divided: Callable[[Any], Mapping[str, int]] = _by_batch
    """(config) -> its fields that devices divide among themselves, and how many of each must stay together."""
    divided_axes: Tree | None = None
    """A State of axes (or of whole branches' axes) along which devices divide arrays; -1: all hold the same. None: all
    hold the same of everything."""
    health: Callable[[Mapping[str, float]], str | None] = _healthy
    """(evaluation) -> a warning if it shows that something is wrong, as a collapse."""
    parameters: Callable[[Any], Tree] | None = None
    """(state) -> everything that is trained, for the table of parameters; None: the weights."""
    single_thread: bool = False
    """A single run on a CPU is faster in one thread: its operations are small."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions belong on a run's record, besides those of every run."""


class Algorithm(Protocol):
    """The type of a module that is an algorithm."""

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
    """Raises `UserError` if a name of the contract is missing."""
    missing = [name for name in _NAMES if not hasattr(algorithm, name)]
    if missing:
        raise UserError(f"{name_of(algorithm)} is no algorithm: it lacks {', '.join(missing)} (see jaxgen.contract)")


def name_of(algorithm: Any) -> str:
    """The importable name of an algorithm's module."""
    return str(getattr(algorithm, "__name__", algorithm))


def supports(algorithm: Any, use: Use) -> bool:
    """Whether a trained model can be used so."""
    return callable(getattr(algorithm, use, None))


def takes_data(algorithm: Algorithm) -> bool:
    """Whether a step is given something."""
    return bool(algorithm.Batch._fields)


def refuse_missing_data(algorithm: Algorithm) -> NoReturn:
    """Raises `UserError`: this algorithm trains on data and was given none."""
    raise UserError(f"{name_of(algorithm)} trains on data: give a data set, as jaxgen.data.load('digits')")


def takes_axis(algorithm: Algorithm) -> bool:
    """Whether a step can be one device's share of a larger one."""
    return "axis_name" in inspect.signature(algorithm.step).parameters
