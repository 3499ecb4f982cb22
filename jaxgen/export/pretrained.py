"""Exported models as runs: read from a directory of `export`, or one of the small ones that ship with jaxgen.

`experiments/make_pretrained.py` makes the latter. A model of this kind can be used, not trained on: it has weights and
no optimizer.
"""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.contract import DataFacts
from jaxgen.errors import UserError, check_choice
from jaxgen.export.functions import named
from jaxgen.export.weights import SETTINGS, WEIGHTS
from jaxgen.files import interpreting
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.load import algorithm_of
from jaxgen.runs.run import Run

SHIPPED = Path(__file__).parents[1] / "pretrained"
HASHES = SHIPPED / "hashes.json"
"""SHA-256 of each shipped model's weights."""
PREFIXES = {"jaxgen.algorithms.gan": "generator/"}
"""The part of a file's names that `weights` does not have, by algorithm: the file holds both players."""


def names() -> list[str]:
    """Names of the models that ship with jaxgen."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{WEIGHTS}"))


def pretrained(name: str) -> Run:
    """A small trained model that ships with jaxgen, by the name of its experiment."""
    check_choice("name", name, names())
    return read(SHIPPED / name)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(path: str | Path) -> Run:
    """The model in a directory written by `export`, as a run that can sample, encode, decode or act."""
    path = Path(path)
    if not (path / WEIGHTS).is_file() or not (path / SETTINGS).is_file():
        raise UserError(f"{path} is not an exported model: it has no {WEIGHTS} or no {SETTINGS}")
    with interpreting(path / SETTINGS):
        record = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        algorithm = algorithm_of(path, record["algorithm"])
        config = settings_lib.from_dict(algorithm.Config, record["fitted"]["config"])
        hparams = settings_lib.from_dict(algorithm.HParams, record["fitted"]["hparams"])
        data = record["data"]
        facts = data and DataFacts(data["name"], tuple(data["image_shape"]), data["train"], len(data["classes"]))
    step, seed, arrays = _arrays(path / WEIGHTS)
    key, numbers = jax.eval_shape(lambda: (jax.random.key(0), jax.tree.map(jnp.float32, hparams)))
    state = jax.eval_shape(partial(algorithm.init, config=config), key, numbers)
    like = jax.eval_shape(partial(algorithm.weights, config=config), state)
    prefix = PREFIXES.get(record["algorithm"], "")
    leaves = []
    for name, leaf in named(like).items():
        found = arrays.get(prefix + name)
        if found is None or found.shape != leaf.shape:
            raise UserError(f"{path / WEIGHTS} does not fit its settings: {prefix + name} is not of shape {leaf.shape}")
        leaves.append(jnp.asarray(found, leaf.dtype))
    return Run(
        algorithm=algorithm,
        config=config,
        hparams=jax.tree.map(jnp.float32, hparams),
        seed=seed,
        step=step,
        steps_per_epoch=1,
        status="finished",
        state=None,
        rows=[],
        facts=facts or None,
        experiment=record["experiment"],
        _weights=jax.tree.unflatten(jax.tree.structure(like), leaves),
    )


def _arrays(path: Path) -> tuple[int, int, dict[str, Any]]:
    """Step, seed and arrays of a file of weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata()
            return int(header["step"]), int(header["seed"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): export the run again") from error
