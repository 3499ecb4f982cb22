"""Loading a run from its directory, without its data."""

import contextlib
import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import data as data_lib
from jaxgen.contract import Algorithm, DataFacts
from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.rows import StreamedSplit
from jaxgen.engine import loop
from jaxgen.engine import members as members_lib
from jaxgen.engine.members import Members
from jaxgen.errors import UserError, warn
from jaxgen.files import Json, interpreting
from jaxgen.runs import directory as run_directory
from jaxgen.runs import metrics, progress, settings
from jaxgen.runs.checkpoint import Reader
from jaxgen.runs.run import Run, Status


def load(path: str | Path, *, algorithm: Algorithm | None = None) -> Run:
    """The run in the directory `path`, at its newest valid checkpoint.

    Only the directory is needed: `run.data()` loads the data on request. The algorithm is the module named in the
    record if it is part of jaxgen or already imported; otherwise pass it as `algorithm`.
    """
    path = Path(path)
    record = run_directory.read_record(path)
    plain: Json = record["settings"]
    with interpreting(path / "settings.json"):
        algorithm = algorithm or algorithm_of(path, record["algorithm"])
        config, hparams, data = _settings(path, algorithm, record)
        facts = _facts(record["data"])
        if facts is not None and "fitted" not in record:
            config = algorithm.TRAITS.adapt(config, facts)
        members = members_of(algorithm, record.get("members"))
    rows = metrics.read(path / "metrics.jsonl")
    result = run_directory.read_result(path)
    per_epoch = _steps_per_epoch(algorithm, config, facts)
    restored = _restored(path)
    if restored is None:
        raise UserError(f"{path} has no checkpoint that can be read; run its command again")
    step, arrays, best = restored
    seed = plain["run"].get("seed", 0) if members is None else members.seeds[0]
    rebuild = partial(_rebuilt, path, algorithm, config, members, seed, hparams)
    carry = rebuild(arrays)
    intervals = settings.from_dict(settings.RunSettings, plain["run"]).intervals(per_epoch)
    missing = progress.first_missing(rows, step, *intervals)
    if missing is not None:
        warn(f"{path / 'metrics.jsonl'} lacks the row of step {missing}")
    status: Status = "finished" if result is not None and step >= result["step"] else "running"
    return Run(
        algorithm=algorithm,
        config=config,
        hparams=jax.tree.map(jnp.float32, members.hparams if members is not None else hparams),
        seed=seed,
        step=step,
        steps_per_epoch=per_epoch,
        status=status,
        state=carry.state,
        rows=[row for row in rows if row["step"] <= step],
        directory=path,
        facts=facts,
        members=members,
        warning=None if result is None else result.get("alarm"),
        train_seconds=0.0 if result is None else result["train_seconds"],
        compile_seconds=0.0 if result is None else result["compile_seconds"],
        experiment=record["experiment"],
        _dataset=None if data is None else partial(_data, path, data, record["data"]),
        _at=lambda step: rebuild(cast(Any, _restored(path, step))[1]),
        _best=None if best is None else lambda: (best, rebuild(cast(Any, _restored(path, best))[1])),
    )


def _settings(path: Path, algorithm: Algorithm, record: Json) -> tuple[Any, Any, data_lib.DataSettings | None]:
    plain: Json = record["settings"]
    fitted: Json = record.get("fitted", plain)
    try:
        config = settings.from_dict(algorithm.Config, fitted["config"])
        hparams = settings.from_dict(algorithm.HParams, fitted["hparams"])
        return config, hparams, settings.from_dict(data_lib.DataSettings, plain["data"]) if "data" in plain else None
    except UserError as error:
        raise UserError(f"{path} is a run of {record['experiment']} and does not fit here: {error}") from error


def algorithm_of(path: Path, name: str | None) -> Algorithm:
    """The module that a record names: one of jaxgen, or already imported."""
    if name is None:
        raise UserError(f"{path} does not say which algorithm it is a run of: give it, as load(path, algorithm=...)")
    if name in sys.modules:
        return cast(Algorithm, sys.modules[name])
    if not name.startswith("jaxgen."):
        raise UserError(f"{path} is a run of {name}, which is not imported: import it first, or give algorithm=")
    try:
        return cast(Algorithm, importlib.import_module(name))
    except ImportError as error:
        raise UserError(f"{path} is a run of {name}, which this version of jaxgen does not have") from error


def planned_steps(path: Path, record: Json) -> int:
    """Steps of a whole run, as its settings ask for them."""
    with interpreting(path / "settings.json"):
        algorithm = algorithm_of(path, record.get("algorithm"))
        config, _, _ = _settings(path, algorithm, record)
        return record["settings"]["run"]["epochs"] * _steps_per_epoch(algorithm, config, _facts(record["data"]))


def _facts(data: Json | None) -> DataFacts | None:
    if data is None:
        return None
    return DataFacts(data["name"], tuple(data["image_shape"]), data["train"], len(data.get("classes", ())))


def members_of(algorithm: Algorithm, record: Json | None) -> Members | None:
    """The members in a record; None for a single run."""
    if not record:
        return None
    sets = []
    for i in range(len(record["seeds"])):
        nested: Json = {}
        for name, values in record["hparams"].items():
            *parts, last = name.split(".")
            inner = nested
            for part in parts:
                inner = inner.setdefault(part, {})
            inner[last] = values[i]
        sets.append(settings.from_dict(algorithm.HParams, nested))
    return members_lib.stack(record["seeds"], sets)


def _steps_per_epoch(algorithm: Algorithm, config: Any, facts: DataFacts | None) -> int:
    if algorithm.TRAITS.steps_per_epoch is not None:
        return algorithm.TRAITS.steps_per_epoch(config)
    return facts.examples // config.batch_size if facts is not None else 1


def _restored(path: Path, step: int | None = None) -> tuple[int, dict[str, np.ndarray], int | None] | None:
    """Step, arrays by name, and the best step from the newest valid checkpoint, or from that of `step`."""
    if not (path / "checkpoints").exists():
        return None
    with contextlib.closing(Reader(path / "checkpoints", warn)) as checkpoints:
        found = checkpoints.newest() if step is None else checkpoints.at(step)
        return None if found is None else (found[0], found[1], found[2]["best"]["step"])


def _rebuilt(
    path: Path, algorithm: Algorithm, config: Any, members: Members | None, seed: int, hparams: Any, arrays: Any
) -> loop.Carry:
    """The carry rebuilt from arrays by name, without its sums."""
    key, single = jax.eval_shape(lambda: jax.random.key(seed)), jax.tree.map(jnp.float32, hparams)
    shapes = jax.eval_shape(partial(loop.start, algorithm, config=config, metrics=0), key, single)._replace(sums={})
    names = list(loop.named_leaves(shapes))
    lacking = [name for name in names if name not in arrays]
    if lacking:
        raise UserError(f"{path} does not fit this version of the code: its checkpoint has no {lacking[0]}")
    leaves = [jnp.asarray(arrays[name]) for name in names]
    for name, leaf, shape in zip(names, leaves, jax.tree.leaves(shapes), strict=True):
        found = leaf.shape if members is None else leaf.shape[1:]
        if found != shape.shape:
            raise UserError(f"{path} does not fit this version of the code: {name} is {found}, expected {shape.shape}")
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _data(path: Path, data: data_lib.DataSettings, record: Json) -> Dataset:
    import dataclasses

    dataset = data_lib.load(data)
    described = run_directory.describe(dataset)
    if not run_directory.same_data(record, described):
        raise UserError(f"{path} was trained on {record}, the data are now {described}")
    if isinstance(dataset.train, StreamedSplit):  # evaluations use all of it, in host memory
        train = Split(*(jnp.asarray(x) for x in dataset.train.examples(np.arange(len(dataset.train.labels)))))
        dataset = dataclasses.replace(dataset, train=train)
    return dataset
