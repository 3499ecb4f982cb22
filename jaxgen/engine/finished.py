"""A finished run read back: its settings, its data's description, and the state it ended with."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.data import DataSettings
from jaxgen.engine import loop
from jaxgen.engine import settings as settings_lib
from jaxgen.engine.checkpoint import Checkpoints
from jaxgen.engine.files import read_json
from jaxgen.errors import UserError


class Finished(NamedTuple):
    """What a run left behind."""

    experiment: str
    step: int
    state: Any
    hparams: Any
    cfg: Any
    data: DataSettings
    described: dict[str, Any]
    """Name, version and sizes of the data it was trained on."""


def load(path: Path, algorithm: loop.Algorithm, experiments: Sequence[str]) -> Finished:
    """The run in directory `path`, which must be a finished one of one of `experiments`."""
    if not (path / "settings.json").exists():
        raise UserError(f"{path} is no run directory (it has no settings.json)")
    saved = read_json(path / "settings.json")
    if saved["experiment"] not in experiments:
        raise UserError(f"{path} is a run of {saved['experiment']}, not of {' or '.join(experiments)}")
    if not (path / "result.json").exists():
        raise UserError(f"{path} is not finished (it has no result.json); run its command again to continue it")
    settings, shape = saved["settings"], saved["data"]["image_shape"]
    cfg = settings_lib.from_dict(algorithm.Config, {**settings["config"], "image_shape": shape})
    hp = settings_lib.from_dict(algorithm.HParams, settings["hparams"])
    restored = _restore(path / "checkpoints", algorithm, hp, cfg)
    data = settings_lib.from_dict(DataSettings, settings["data"])
    return Finished(saved["experiment"], restored[0], restored[1].state, hp, cfg, data, saved["data"])


def _restore(folder: Path, algorithm: loop.Algorithm, hp: Any, cfg: Any) -> tuple[int, loop.Carry]:
    keys, hp = loop.keys(0), jax.tree.map(jnp.float32, hp)
    state = jax.eval_shape(partial(algorithm.init, cfg=cfg), keys.init, hp)
    shapes = ((cfg.batch_size, *cfg.image_shape), jnp.uint8), ((cfg.batch_size,), jnp.int32)
    batch = algorithm.Batch(*(jax.ShapeDtypeStruct(*shape) for shape in shapes))
    metrics = len(loop.metric_names(algorithm, state, batch, keys.step, hp, cfg))
    like = jax.eval_shape(partial(loop.start, algorithm, cfg=cfg, metrics=metrics), keys.init, hp)
    checkpoints = Checkpoints(folder, keep=1)
    try:
        restored = checkpoints.restore(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like))
    finally:
        checkpoints.close()
    if restored is None:
        raise UserError(f"{folder} holds no checkpoint that can be read")
    return restored[0], restored[1]
