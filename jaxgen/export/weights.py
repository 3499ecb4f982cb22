"""A run as a directory for other people and programs.

weights.safetensors    arrays by name, with a header of text: experiment, algorithm, settings and their hash, step,
                       seed, metrics, git revision; they do not expire
settings.json          every setting that the numbers depend on, and the data set
README.md              the model card
samples.png            images, where the model draws any
*.jax                  programs (`jaxgen.export.programs`), on request
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxgen import contract
from jaxgen.errors import UserError
from jaxgen.export import card, programs
from jaxgen.export.functions import functions, is_known, known, named, with_weights
from jaxgen.files import Json, read_json, read_json_list
from jaxgen.report import figures
from jaxgen.runs import settings as settings_lib
from jaxgen.runs.directory import read_record
from jaxgen.runs.run import Run

Precision = Literal["float32", "float16"]
WEIGHTS, SETTINGS, CARD, IMAGES = "weights.safetensors", "settings.json", "README.md", "samples.png"
COLUMNS = 8
"""Samples in a row of the sheet, and rows."""
_PRIVATE = (("run", "name"), ("data", "data_dir"), ("data", "path"))
"""Settings that name places on this machine."""


def export(
    run: Run,
    to: str | Path,
    *,
    precision: Precision = "float32",
    reference: str | None = None,
    images: np.ndarray | None = None,
    with_programs: Literal["none", "inside", "apart"] = "none",
    generator_only: bool = False,
) -> Path:
    """Write the run's model into the new directory `to`, all of it or nothing.

    `generator_only` leaves out a GAN's discriminator, which samples do not need. `reference` is a sentence for the
    card: the value that others report. `images` (N, H, W, C), in [0, 1], are shown in place of samples. Raises
    `UserError` if `to` exists or cannot be written.
    """
    to = Path(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} exists and is not an empty directory: give another one to export to")
    part = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        _fill(run, part, precision, reference, images, with_programs, generator_only)
        os.replace(part, to)
    except OSError as error:
        raise UserError(f"{to} cannot be written ({error.strerror or error}); nothing was exported") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return to


def load(path: str | Path) -> Run:
    """The run in an exported directory, to use its model; its optimizer and whatever else it trained with are zeros."""
    path = Path(path)
    if not (path / WEIGHTS).exists():
        raise UserError(f"{path} is not an exported run (it has no {WEIGHTS})")
    try:
        with safe_open(path / WEIGHTS, "numpy") as file:
            header, found = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        record = json.loads(header["settings"])
        name = record["algorithm"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / WEIGHTS} is damaged or not written by jaxgen ({error!r})") from error
    algorithm = next((module for module in known() if contract.name_of(module) == name), None)
    if algorithm is None:
        raise UserError(f"{path} is a model of {name}: load its arrays with safetensors")
    config = settings_lib.from_dict(algorithm.Config, record["fitted"]["config"])
    hparams = settings_lib.from_dict(algorithm.HParams, record["fitted"]["hparams"])
    shapes = jax.eval_shape(partial(algorithm.init, config=config), jax.random.key(0), hparams)
    state = with_weights(algorithm, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), found)
    step = int(header["step"])
    return Run(
        algorithm=algorithm,
        config=config,
        hparams=jax.tree.map(jnp.float32, hparams),
        seed=int(header["seed"]),
        step=step,
        steps_per_epoch=1,
        status="finished",
        state=state,
        rows=[{"step": step, **json.loads(header["metrics"])}],
        experiment=record["experiment"],
    )


def _fill(
    run: Run,
    folder: Path,
    precision: Precision,
    reference: str | None,
    images: np.ndarray | None,
    with_programs: str,
    generator_only: bool,
) -> None:
    record, stored = describe(run), arrays(run, generator_only)
    data = serialized(run, record, stored, precision)
    (folder / WEIGHTS).write_bytes(data)
    (folder / SETTINGS).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    images = samples(run) if images is None else images
    if images is not None:
        figures.image_sheet(folder / IMAGES, images, COLUMNS)
    if with_programs != "none":
        found = programs.functions(run.algorithm, run.state, run._hparams_of_record(), run.config)
        programs.write(found, folder, apart=with_programs == "apart")
    facts = card.Facts(
        record=record,
        algorithm=(contract.name_of(run.algorithm), run.algorithm.__doc__ or ""),
        session=_session(run),
        metrics=metrics(run),
        evaluation=_evaluation(run),
        arrays=stored,
        precision=precision,
        sha256=hashlib.sha256(data).hexdigest(),
        status=f"{run.status} at step {run.step}",
        reference=reference,
        images=IMAGES if images is not None else None,
        programs=tuple(path.name for path in sorted(folder.glob(f"*{programs.SUFFIX}"))),
    )
    (folder / CARD).write_text(card.text(facts), encoding="utf-8")
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def arrays(run: Run, generator_only: bool = False) -> dict[str, np.ndarray]:
    """The weights by name: of all the model's functions, or of `weights` for an algorithm of one's own."""
    run._refuse_many("export")
    found: dict[str, np.ndarray] = {}
    if is_known(run.algorithm):
        for function in functions(run.algorithm, run.state, run._hparams_of_record(), run.config).values():
            found |= {name: np.asarray(x) for name, x in named(function.weights).items()}
    else:
        found = {name: np.asarray(x) for name, x in named(run.weights).items()}
    apart = ("discriminator/", "spectral/") if generator_only else ()
    return {name: found[name] for name in sorted(found) if not name.startswith(apart)}


def serialized(run: Run, record: Json, named: Mapping[str, np.ndarray], precision: Precision = "float32") -> bytes:
    """The weights as a safetensors file; with float16, floats are rounded."""

    def stored(x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.astype(precision) if x.dtype == np.float32 else x)

    header = {
        "format": "jaxgen",
        "experiment": str(record["experiment"]),
        "algorithm": str(record["algorithm"]),
        "settings": json.dumps(record),
        "settings_sha256": settings_hash(record),
        "step": str(run.step),
        "seed": str(run.seed),
        "metrics": json.dumps(metrics(run)),
        "git_revision": str(_session(run).get("git_revision")),
    }
    return save({name: stored(x) for name, x in named.items()}, metadata=header)


def describe(run: Run) -> Json:
    """Experiment, algorithm, settings and data of a run as JSON values, without names of this machine's places."""
    if run.directory is not None and (run.directory / "settings.json").exists():
        record = read_record(run.directory)
        settings = {name: dict(part) if isinstance(part, dict) else part for name, part in record["settings"].items()}
        data = record["data"]
    else:
        hparams = settings_lib.to_dict(run._hparams_of_record())
        settings = {"config": settings_lib.to_dict(run.config), "hparams": hparams, "run": {"seed": run.seed}}
        data = None if run.facts is None else run.facts._asdict()
    for part, name in (*_PRIVATE, *(("run", name.removeprefix("run.")) for name in settings_lib.FREE)):
        settings.get(part, {}).pop(name, None)
    fitted = {
        "config": settings_lib.to_dict(run.config),
        "hparams": settings_lib.to_dict(run._hparams_of_record()),
    }
    return {
        "experiment": run.experiment,
        "algorithm": contract.name_of(run.algorithm),
        "settings": settings,
        "fitted": fitted,
        "data": data,
    }


def settings_hash(record: Json) -> str:
    """SHA-256 of the settings, keys sorted."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def metrics(run: Run) -> dict[str, float]:
    """The last evaluation's numbers."""
    found: dict[str, float] = {}
    for row in run.rows:
        found |= {name: value for name, value in row.items() if name.startswith("test/") and isinstance(value, float)}
    return found


def samples(run: Run) -> np.ndarray | None:
    """Images that the model draws; None if it draws none."""
    if not contract.supports(run.algorithm, "sample"):
        return None
    return np.asarray(run.sample(jax.random.key(0), COLUMNS**2))


def _session(run: Run) -> Json:
    """How the run was made: its last session, as recorded."""
    if run.directory is None or not (run.directory / "sessions.json").exists():
        return {}
    sessions = read_json_list(run.directory / "sessions.json")
    return dict(sessions[-1]) if sessions else {}


def _evaluation(run: Run) -> list[tuple[str, str]]:
    """Numbers with their errors, from the run's evaluation and result, as (name, value)."""
    found: list[tuple[str, str]] = []
    for name in ("evaluation.json", "result.json"):
        if run.directory is not None and (run.directory / name).exists():
            found += list(_with_errors(read_json(run.directory / name)))
    return found


def _with_errors(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        return
    if {"mean", "standard_error"} <= value.keys():
        yield name, f"{value['mean']:.4g} ± {value['standard_error']:.2g}"
    for key, part in value.items():
        yield from _with_errors(part, f"{name} {key}".strip().replace("_", " "))
