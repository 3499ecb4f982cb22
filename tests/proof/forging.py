"""Tiny runs of every algorithm, and ways to tamper with one so that every checksum and seal is right again."""

import contextlib
import json
import shutil

import numpy as np

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.data import DataSettings
from jaxgen.files import read_json, sealed, write_json
from jaxgen.runs import checkpoint, metrics
from jaxgen.runs.fit import Task, execute
from jaxgen.runs.settings import RunSettings, Settings

SHAPE = (12, 12, 1)
CONFIGS = {
    "autoencoder": (autoencoder, autoencoder.Config(image_shape=SHAPE, widths=(8,), batch_size=8)),
    "vae": (vae, vae.Config(image_shape=SHAPE, examples=50, latent_size=2, widths=(8,), batch_size=8)),
    "iwae": (
        vae,
        vae.Config(image_shape=SHAPE, latent_size=2, widths=(8,), objective="iwae", samples=2, batch_size=8),
    ),
    "gan": (
        gan,
        gan.Config(
            image_shape=SHAPE, noise_size=5, generator_widths=(8,), discriminator_widths=(8,), dropout=0.25,
            batch_size=8,
        ),
    ),
    "dqn": (
        dqn,
        dqn.Config(
            envs=4, collect=2, updates=2, batch_size=8, replay_size=64, learning_starts=32, widths=(8,),
            evaluation_episodes=4, steps_per_epoch=6,
        ),
    ),
}  # fmt: skip


def settings_of(kind, root, seed=0, hparams=None, **run):
    algorithm, config = CONFIGS[kind]
    run = {"root": root, "name": "run", "epochs": 3, "log_every": 4, "save_every": 1, "seed": seed, **run}
    source = None if algorithm is dqn else DataSettings("digits")
    return Settings(config, hparams or algorithm.HParams(), RunSettings(**run), source)


def trained(name, root, on_evaluation=None, members=None, directory="run", **changes):
    """The directory of a tiny run, whose `data.load` the fixture `tiny` has replaced."""
    made = settings_of(name, root, name=directory, **changes)
    task = Task(name, CONFIGS[name][0], made, on_evaluation=on_evaluation, members=members)
    return execute(task).directory


def contents(folder):
    """Every file below a folder, with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def resealed(file, change):
    """Change a JSON file and seal it again."""
    value = read_json(file)
    change(value)
    write_json(file, value)


def with_rows(path, change):
    """Replace the rows, with their checksums; `change` gets and returns the list."""
    rows = change(metrics.read(path / "metrics.jsonl"))
    (path / "metrics.jsonl").write_text("".join(metrics.to_line(row) + "\n" for row in rows))


def edited(path, step, name, change):
    """Change one number of the row that has `name` at `step`."""

    def edit(rows):
        (row,) = [row for row in rows if row["step"] == step and name in row]
        row[name] = change(row[name])
        return rows

    with_rows(path, edit)


def with_arrays(path, step, change):
    """Rewrite a checkpoint: arrays by name, changed, with a manifest that fits them."""
    with contextlib.closing(checkpoint.Reader(path / "checkpoints")) as reader:
        _, arrays, manifest = reader.at(step)
    arrays = {name: np.array(leaf) for name, leaf in arrays.items()}
    change(arrays)
    folder = path / "checkpoints" / str(step)
    shutil.rmtree(folder)
    with contextlib.closing(checkpoint.Checkpoints(path / "aside", 1)) as checkpoints:
        checkpoints.save(step, arrays, manifest["meta"])
    (path / "aside" / str(step)).rename(folder)
    (path / "aside").rmdir()
    with_manifest(path, step, lambda record: record.update(best=manifest["best"]))


def with_manifest(path, step, change):
    """Change a manifest and seal it again."""
    file = path / "checkpoints" / str(step) / "manifest" / "metadata"
    record = json.loads(file.read_text())
    del record["sha256"]
    change(record)
    file.write_text(json.dumps(sealed(record)))


def swapped(path, one, other):
    """Exchange two checkpoints."""
    folder = path / "checkpoints"
    (folder / str(one)).rename(folder / "aside")
    (folder / str(other)).rename(folder / str(one))
    (folder / "aside").rename(folder / str(other))
