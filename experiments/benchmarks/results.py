"""Seconds from Enter to a stated result, each side a script in a process of its own.

Every side does the same task on the same images with the same nets, losses, optimizers and batches, except for the
other projects' DQNs, which run at their own settings. Ours runs with an empty compilation cache and with the one that
an uncounted first run has filled; so does PureJaxRL. Peers read their images from a NumPy file made beforehand, and
ours from where `jaxgen` keeps them. Round r has seed r on every side. `--python` is the interpreter for ours, if an
environment without the peers is wanted: TensorFlow Datasets imports TensorFlow wherever it is installed.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from tqdm import tqdm

from benchmarks import reporting
from benchmarks.measuring import Measurement, Row, compare, left_out, say
from jaxgen import data as data_lib
from jaxgen.errors import SettingError, UserError, check_at_least, check_choices, refuse
from jaxgen.files import read_json

Words = tuple[str, ...]
SWEPT = 4
"""Seeds of a sweep for each learning rate."""
ROOT = Path(__file__).parents[1]


class Task(NamedTuple):
    """A result, and our command."""

    title: str
    ours: Words
    """Of `python` in `experiments`, with {seed}, {after} (the first seed after a sweep's) and {root}, a folder for run
    directories, filled in."""
    metric: str | None = None
    """The value in result.json; None: the command prints a line of JSON."""
    images: str = ""
    """The peers' images."""


def _run(script: str, *options: str) -> Words:
    return (script, *options, "--run.seed", "{seed}", "--run.root", "{root}")


def _reach(task: str) -> Words:
    return ("-m", "benchmarks.reaching", task, "{seed}")


TASKS = {
    "cartpole": Task("CartPole at a mean greedy return of 475 over 100 fresh episodes", _reach("cartpole")),
    "vae": Task("VAE 784-500-20 at a negative ELBO of 100 on binarized MNIST", _reach("vae"), images="mnist"),
    "autoencoder": Task("dense autoencoder, 5 epochs of MNIST", _run("ae_mnist.py"), "test/loss", "mnist"),
    "gan": Task("dense GAN, 20 epochs of MNIST", _run("gan_mnist.py"), "", "mnist"),
    "flowers": Task(
        "first reconstruction of a flower, 1 epoch of 200",
        _run(
            *("vae_flowers.py", "--preset", "chapter", "--data.source", "petals", "--data.count", "200"),
            *("--run.epochs", "1"),
        ),
        "",
        "petals",
    ),
    "seeds": Task("32 seeds of a DQN on CartPole", _run("dqn_cartpole.py", "--run.seeds", "32"), "test/return"),
    "sweep": Task(
        "64 dense autoencoders, 1 epoch of MNIST",
        (
            *("sweep.py", "ae_mnist", "--axis", "hparams.learning_rate=log:1e-3:3e-2:16"),
            *("--axis", "seed={seed}:{after}"),
            *("--run.epochs", "1", "--run.root", "{root}"),
        ),
        "",
        "mnist",
    ),
    "frechet": Task("GAN better at a Frechet distance of 2 on MNIST", _reach("frechet")),
}
PEERS: dict[str, dict[str, str]] = {
    "PyTorch": dict.fromkeys(("cartpole", "vae", "autoencoder", "gan", "flowers", "sweep"), "pytorch"),
    "Keras": dict.fromkeys(("vae", "autoencoder", "gan"), "keras"),
    "CleanRL": {"cartpole": "cleanrl"},
    "PureJaxRL": dict.fromkeys(("cartpole", "seeds"), "purejaxrl"),
}
"""Tasks of each peer, and its script `peers/tasks_NAME.py`."""
CHECKOUTS = {"CleanRL": "cleanrl", "PureJaxRL": "purejaxrl"}
CACHED = ("PureJaxRL",)
"""Peers that the compilation cache serves."""
CACHES = ("cold", "warm")
OURS = "ours"


class Side(NamedTuple):
    """One of the sides, and its compilation cache: cold, warm, or none."""

    name: str
    cache: str


class Ran(NamedTuple):
    """A finished process."""

    seconds: float
    value: float | None
    reached: bool


@dataclass(frozen=True)
class Results(Measurement):
    """Seconds from Enter to a stated result: ours, PyTorch's, Keras's, CleanRL's and PureJaxRL's."""

    rounds: int = 5
    """Runs of each side, in turn; round r has seed r."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Results to reach."""
    peers: tuple[str, ...] = tuple(PEERS)
    """Peers to measure."""
    caches: tuple[str, ...] = CACHES
    """Compilation caches: cold (empty), warm (filled)."""
    limit: float = 3_600.0
    """Seconds after which a side is given up."""
    python: Path = Path(sys.executable)
    """Interpreter for our side."""
    cleanrl: Path | None = None
    """Folder with a checkout of CleanRL."""
    purejaxrl: Path | None = None
    """Folder with a checkout of PureJaxRL."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, known in (("tasks", TASKS), ("peers", PEERS), ("caches", CACHES)):
            check_choices(field, getattr(self, field), known)
        check_at_least("limit", self.limit, 1)
        if not self.caches:
            raise SettingError("caches = () is not allowed: cold, warm or both")
        for field in CHECKOUTS.values():
            folder = getattr(self, field)
            if folder is not None and not folder.is_dir():
                refuse(field, str(folder), "a folder with a checkout of that project")

    def measure(self) -> Iterator[Row]:
        """One row per task, cache and peer."""
        with tempfile.TemporaryDirectory() as folder:
            write_images({TASKS[task].images for task in self.tasks} - {""}, Path(folder))
            for task in self.tasks:
                yield from self._task(task, folder)

    def _task(self, task: str, images: str) -> Iterator[Row]:
        names = [OURS, *(peer for peer in self.peers if task in PEERS[peer] and self._has(peer))]
        cached = {name: self.caches if name == OURS or name in CACHED else ("",) for name in names}
        ran: dict[Side, list[Ran]] = {Side(name, cache): [] for name in names for cache in cached[name]}
        firsts = [side for side in ran if side.cache == "warm"]
        with (
            tempfile.TemporaryDirectory() as filled,
            tqdm(total=len(firsts) + len(ran) * self.rounds, desc=task, unit="run", leave=False) as bar,
        ):
            for side in firsts:
                self._turn(task, side, 0, images, filled, ran, bar)
            for found in ran.values():
                found.clear()
            for seed in range(self.rounds):
                for side in list(ran):
                    self._turn(task, side, seed, images, filled, ran, bar)
        yield from rows_of(task, ran, self.caches)

    def _turn(
        self, task: str, side: Side, seed: int, images: str, filled: str, ran: dict[Side, list[Ran]], bar: Any
    ) -> None:
        """One run of a side; a peer that fails is reported and left out."""
        bar.set_postfix_str(" ".join(side).strip())
        try:
            with tempfile.TemporaryDirectory() as empty:
                ran[side].append(self._once(task, side.name, seed, images, empty if side.cache == "cold" else filled))
        except UserError as error:
            if side.name == OURS:
                raise
            left_out(side.name, error)
            del ran[side]
        bar.update()

    def _once(self, task: str, name: str, seed: int, images: str, cache: str) -> Ran:
        """Run a side from Enter to its last line."""
        with tempfile.TemporaryDirectory() as root:
            if name == OURS:
                words = [word.format(seed=seed, after=seed + SWEPT, root=root) for word in TASKS[task].ours]
                if words[0] != "-m":
                    words[0] = str(ROOT / words[0])
                command, metric = [str(self.python), *words], TASKS[task].metric
            else:
                checkout = CHECKOUTS.get(name)
                place = images if checkout is None else str(getattr(self, checkout).resolve())
                module = f"benchmarks.peers.tasks_{PEERS[name][task]}"
                command, metric = [sys.executable, "-m", module, task, str(seed), place], None
            began = time.perf_counter()
            said = _process(command, root, cache, self.limit)
            seconds = time.perf_counter() - began
            return Ran(seconds, *(_answer(said) if metric is None else (_result(Path(root), metric), True)))

    def _has(self, peer: str) -> bool:
        field = CHECKOUTS.get(peer)
        if field is None or getattr(self, field) is not None:
            return True
        say(f"{peer} is left out: no folder given with --{field}")
        return False

    def table(self, rows: list[Row]) -> str:
        """A line per row, in seconds."""
        heads = ["result", "ours s", "peer", "peer s", "ratio", "spread", "p", "reached", "by the peer"]
        return reporting.aligned(heads, [_cells(row) for row in rows], left=("peer",))

    def conclude(self, rows: list[Row]) -> Iterator[str]:
        """The titles of the results, and how p is made."""
        for task in dict.fromkeys(row["task"] for row in rows):
            yield f"{task}: {TASKS[task].title}"
        if any(row["p"] is not None for row in rows):
            yield "p: Mann-Whitney test of the seconds of both sides, two-sided; n is the number of seeds on each"


LEAST = 4
"""Seeds on each side from which on a test can find a difference at 5 %."""


def rows_of(task: str, ran: dict[Side, list[Ran]], caches: Sequence[str]) -> Iterator[Row]:
    """Our runs with each cache against those of each peer, or alone."""
    for cache in caches:
        ours = ran[Side(OURS, cache)]
        others = {side.name: runs for side, runs in ran.items() if side.name != OURS and side.cache in (cache, "")}
        for peer, theirs in others.items() or [(None, [])]:
            mine, yours = ([run.seconds * 1e3 for run in runs] for runs in (ours, theirs))
            row = {**compare(f"{task}, {cache}", mine, peer, yours), "task": task, "p": None, "n": len(ours)}
            if peer is not None and len(ours) >= LEAST:
                row["p"] = float(f"{stats.mannwhitneyu(mine, yours).pvalue:.2g}")
            for prefix, runs in (("", ours), ("peer_", theirs)):
                row[f"{prefix}seconds"] = [round(run.seconds, 2) for run in runs]
                row[f"{prefix}median_seconds"] = round(median(run.seconds for run in runs), 2) if runs else None
                row[f"{prefix}values"] = [run.value for run in runs]
                row[f"{prefix}reached"] = sum(run.reached for run in runs)
            say(f"{row['name']}: " + " ".join(filter(None, _cells(row)[1:])))
            yield row


def write_images(names: set[str], folder: Path) -> None:
    """Files of images for the peers: bytes (N, H, W, C)."""
    for name in sorted(names):
        settings = data_lib.DataSettings(name, **({"count": 200} if name == "petals" else {}))
        dataset = data_lib.load(settings)
        np.savez(folder / f"{name}.npz", train=np.asarray(dataset.train.images), test=np.asarray(dataset.test.images))


def _process(command: list[str], folder: str, cache: str, limit: float) -> str:
    """The output of a process; raises `UserError` with its last line if it fails."""
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT.parent), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "JAX_COMPILATION_CACHE_DIR": cache}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise UserError(f"not ready after {limit:g} s") from None
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return done.stdout


def _answer(said: str) -> tuple[float | None, bool]:
    answer = json.loads(said.strip().splitlines()[-1])
    return answer["value"], answer["reached"]


def _result(root: Path, metric: str) -> float | None:
    """A finished run's metric, the mean of its members; none if none is asked for."""
    if not metric:
        return None
    value = read_json(next(root.rglob("result.json")))[metric]
    return mean(value) if isinstance(value, list) else value


def _cells(row: Row) -> list[str]:
    ratios, peer = row.get("ratios"), row["peer"]
    return [
        *(row["name"], f"{row['ours_ms'] / 1e3:.1f}", peer or ""),
        *(f"{row['peer_ms'] / 1e3:.1f}" if peer else "", f"{row['ratio']:.2f}" if peer else ""),
        f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "",
        "" if row["p"] is None else f"{row['p']:.2g}",
        f"{row['reached']} of {row['n']}",
        f"{row['peer_reached']} of {row['n']}" if peer else "",
    ]
