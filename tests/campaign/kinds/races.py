"""Two and eight of everything at once: each finishes or says in a line why not, and what is left is right."""

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import server, systems, verdicts
from ..verdicts import EQUAL, LOST, SILENT, Result

LIMIT = 180.0
SWEEP = [*["--run.epochs", "2", "--axis", "hparams.learning_rate=1e-3,1e-2", "--axis", "seed=0:2", "--group-size", "2"]]
SEARCH = [*["--run.epochs", "2", "--trials", "4", "--batch", "2", "--axis", "hparams.learning_rate=log:1e-4:1e-2"]]


def at_once(script: str, commands: Sequence[Sequence[str]], folder: Path, rng: random.Random) -> list[verdicts.Done]:
    """Start these commands within half a second, and wait for all."""
    import time

    children = []
    for args in commands:
        children.append(server.start(script, args, folder))
        time.sleep(rng.choice((0.0, 0.0, 0.02, 0.1)))
    return [child.wait(LIMIT) for child in children]


def _all(found: Sequence[verdicts.Done], last: tuple[str, str]) -> tuple[str, str]:
    if not any(done.code == 0 for done in found):
        last = verdicts.worst(last, (LOST, f"none of {len(found)} finished: {verdicts.tail(found[0].err)}"))
    return verdicts.worst(last, *(verdicts.manners(done) for done in found))


def same_name(kit: systems.Kit, rng: random.Random, count: int, folder: Path) -> tuple[str, tuple[str, str]]:
    """The same command several times."""
    system = rng.choice(list(systems.SYSTEMS))
    found = at_once(system, [systems.args(system)] * count, folder, rng)
    again = server.start(system, systems.args(system), folder).wait()
    left = kit.look(folder / "runs" / "r") if again.code == 0 else {}
    return f"same name {system}", _all(found, verdicts.finished(again, left, kit.whole(system).wanted))


def no_name(kit: systems.Kit, rng: random.Random, count: int, folder: Path) -> tuple[str, tuple[str, str]]:
    """Runs that choose their own names."""
    system = rng.choice(("ae_mnist", "dqn_cartpole"))
    from .fuzz import without

    found = at_once(system, [without(systems.args(system), "--run.name")] * count, folder, rng)
    runs = sorted((folder / "runs").iterdir())
    equal = [verdicts.differences(kit.look(run), kit.whole(system).wanted) == [] for run in runs]
    last = (EQUAL, "") if len(runs) == count and all(equal) else (SILENT, f"{len(runs)} runs, equal: {equal}")
    if any(done.code for done in found):
        last = LOST, "; ".join(verdicts.tail(done.err) for done in found if done.code)
    return f"no name {system}", _all(found, last)


def same_cache(kit: systems.Kit, rng: random.Random, count: int, folder: Path) -> tuple[str, tuple[str, str]]:
    """Runs on one folder of images that none has decoded yet."""
    own = folder / "pictures"
    shutil.copytree(kit.work / "pictures", own)
    shutil.rmtree(own / ".jaxgen", ignore_errors=True)
    args, wanted = systems.args("vae_flowers", "r", "--data.path", str(own)), kit.whole("vae_flowers").wanted
    found = at_once("vae_flowers", [[*args, "--run.root", f"runs{i}"] for i in range(count)], folder, rng)
    verdict = [verdicts.finished(done, kit.look(folder / f"runs{i}" / "r"), wanted) for i, done in enumerate(found)]
    return "same cache", verdicts.worst(*verdict)


def same_sweep(kit: systems.Kit, rng: random.Random, count: int, folder: Path) -> tuple[str, tuple[str, str]]:
    """The same sweep several times."""
    args = ["ae_mnist", *systems.args("ae_mnist", "s"), *SWEEP]
    found = at_once("sweep", [args] * count, folder, rng)
    again = server.start("sweep", args, folder).wait(LIMIT)
    single = kit.work / "sweep"
    if not single.exists():
        single.mkdir()
        server.start("sweep", args, single).wait(LIMIT)
    if again.code:
        return "same sweep", _all(found, verdicts.manners(again) or (LOST, verdicts.tail(again.err)))
    tables = [(place / "runs" / "s" / "results.csv").read_bytes() for place in (folder, single)]
    return "same sweep", _all(found, (EQUAL, "") if tables[0] == tables[1] else (SILENT, "another results.csv"))


def same_search(kit: systems.Kit, rng: random.Random, count: int, folder: Path) -> tuple[str, tuple[str, str]]:
    """Several workers of one search."""
    args = ["ae_mnist", *systems.args("ae_mnist", "q"), *SEARCH]
    found = at_once("search", [args] * count, folder, rng)
    again = server.start("search", args, folder).wait(LIMIT)
    if again.code:
        return "same search", _all(found, verdicts.manners(again) or (LOST, verdicts.tail(again.err)))
    table = (folder / "runs" / "q" / "results.csv").read_text().splitlines()
    states = [line.split(",")[1] for line in table[1:]]
    right = len(states) == 4 and set(states) <= {"COMPLETE", "PRUNED"}
    last = (EQUAL, "") if right else (SILENT, f"trials: {states}")
    if any(done.code for done in found):
        last = LOST, "; ".join(verdicts.tail(done.err) for done in found if done.code)
    return "same search", _all(found, last)


RACES: tuple[Callable[..., tuple[str, tuple[str, str]]], ...] = (
    same_name,
    same_cache,
    same_sweep,
    same_search,
    no_name,
)


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One race: mostly of two, every fourth of eight."""
    rng = kit.random("races", number)
    count = 8 if number % 4 == 3 else 2
    what, (verdict, why) = RACES[number % len(RACES)](kit, rng, count, folder)
    return Result(
        verdict, f"{count} at once, {what}", why, (f"{count} at once", what.split()[0] + " " + what.split()[1])
    )
