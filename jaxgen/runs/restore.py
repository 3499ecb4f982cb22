"""A finished run read back from its directory: its settings, its data and its last state."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import data as data_lib
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.rows import StreamedSplit
from jaxgen.engine import loop
from jaxgen.errors import UserError
from jaxgen.runs import directory as run_directory
from jaxgen.runs import settings
from jaxgen.runs.checkpoint import Checkpoints
from jaxgen.runs.files import read_json


class Run(NamedTuple):
    """What a run was and what came of it."""

    path: Path
    experiment: str
    seed: int
    data: data_lib.DataSettings
    config: Any
    hparams: Any
    dataset: Any
    """`data.dataset.Dataset`; None, as `data`, where the algorithm takes none."""
    step: int
    state: Any


def restore(path: Path, algorithm: loop.Algorithm, experiments: Sequence[str] = ()) -> Run:
    """The finished run in `path`, which must be one of `algorithm`; its data are loaded again and must be the same.

    Where `experiments` are named, runs of others are refused.
    """
    saved = _read(path, experiments)
    experiment, plain = saved["experiment"], saved["settings"]
    try:
        config = settings.from_dict(algorithm.Config, plain["config"])
        hparams = settings.from_dict(algorithm.HParams, plain["hparams"])
    except UserError as error:
        raise UserError(f"{path} is a run of {experiment} and does not fit here: {error}") from error
    data, dataset = _data(path, saved)
    config = config if dataset is None else settings.fit_to_data(config, dataset)
    hparams = jax.tree.map(jnp.float32, hparams)
    step, state = _newest_state(path, algorithm, loop.keys(plain["run"]["seed"]), hparams, config, dataset)
    return Run(path, experiment, plain["run"]["seed"], data, config, hparams, dataset, step, state)


def _data(path: Path, saved: dict[str, Any]) -> tuple[Any, Any]:
    """The run's data settings and its data, None of either where the algorithm takes none."""
    if "data" not in saved["settings"]:
        return None, None
    data = settings.from_dict(data_lib.DataSettings, saved["settings"]["data"])
    dataset = data_lib.load(data)
    if run_directory.describe(dataset) != saved["data"]:
        raise UserError(f"{path} was trained on {saved['data']}, the data are now {run_directory.describe(dataset)}")
    if isinstance(dataset.train, StreamedSplit):  # evaluations look at all of it, in the host's memory
        train = Split(*dataset.train.examples(np.arange(len(dataset.train.labels))))
        dataset = dataclasses.replace(dataset, train=train)
    return data, dataset


def _read(path: Path, experiments: Sequence[str]) -> dict[str, Any]:
    if not (path / "settings.json").exists():
        raise UserError(f"{path} is no run directory (it has no settings.json)")
    saved = read_json(path / "settings.json")
    if experiments and saved["experiment"] not in experiments:
        raise UserError(f"{path} is a run of {saved['experiment']}, not of {' or '.join(experiments)}")
    if saved.get("members"):
        count = len(saved["members"]["seeds"])
        raise UserError(f"{path} holds {count} runs in one; give a lone one: its command with run.seeds 1 and its seed")
    if not (path / "result.json").exists():
        raise UserError(f"{path} is not finished: run its command again, it continues where it stopped")
    return saved


def _newest_state(
    path: Path, algorithm: loop.Algorithm, keys: loop.Keys, hparams: Any, config: Any, dataset: Dataset | None
) -> tuple[int, Any]:
    data = algorithm.Batch(*(() if dataset is None else (dataset.train.images, dataset.train.labels)))
    metrics = len(loop.metric_names(algorithm, keys.init, hparams, data, config))
    like = jax.jit(partial(loop.start, algorithm, config=config, metrics=metrics))(keys.init, hparams)
    checkpoints = Checkpoints(path / "checkpoints", 1)
    try:
        restored = checkpoints.restore(like)
    finally:
        checkpoints.close()
    if restored is None:
        raise UserError(f"{path} has no checkpoint that can be read")
    return restored[0], jax.tree.map(jnp.asarray, restored[1].state)
