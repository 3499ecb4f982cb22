"""Full and read-only disks: one line, nothing lost, and once there is room, the same command finishes bit-equal.

A full disk is a small tmpfs where it can be mounted; else, and at half of the cases anyway, every file operation from
the n-th on fails with ENOSPC in the process itself.
"""

import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

from .. import server, systems, verdicts
from ..strikes import Strike
from ..verdicts import Result
from .kills import aimed

MODES = {
    "root": ".",
    "run": "r",
    "checkpoints": "r/checkpoints",
    "figures": "r/figures",
    "one checkpoint": "r/checkpoints/*",
}


def mount(folder: Path, size: int) -> bool:
    """Mount a tmpfs of `size` bytes; whether it worked."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def used(folder: Path) -> int:
    """Bytes that the files of a folder take, in pages."""
    return sum(-(-file.lstat().st_size // 4096) * 4096 + 4096 for file in folder.rglob("*"))


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """One disk that is full or read-only, then room."""
    rng = kit.random("disks", number)
    system = list(systems.SYSTEMS)[number % len(systems.SYSTEMS)]
    way = ("tmpfs", "simulated", "tmpfs", "simulated", "read-only", "cache")[number // len(systems.SYSTEMS) % 6]
    if number < len(systems.SYSTEMS):  # so that a short campaign has some of each
        way = ("tmpfs", "simulated", "read-only", "tmpfs", "simulated", "cache", "tmpfs", "simulated")[number]
    return {"tmpfs": full, "simulated": simulated, "read-only": read_only, "cache": caches}[way](
        kit, rng, system, folder
    )


def _rest(kit: systems.Kit, system: str, folder: Path, first: verdicts.Done, what: str, way: str) -> Result:
    """The verdict, after the command again with room."""
    done = server.start(system, systems.args(system), folder).wait()
    found = kit.look(folder / "runs" / "r") if done.code == 0 else {}
    verdict, why = verdicts.worst(
        verdicts.finished(done, found, kit.whole(system).wanted, first.err), verdicts.manners(first, (0, 1, 2))
    )
    if first.code == 0 and not first.err.strip() and verdict == verdicts.SAID:
        verdict = verdicts.SILENT
    return Result(verdict, f"{system} {what}", why, (system, way))


def full(kit: systems.Kit, rng: random.Random, system: str, folder: Path) -> Result:
    """A tmpfs of any size up to what the run needs."""
    whole, root = kit.whole(system), folder / "runs"
    size = max(4096, int(rng.uniform(0, 1.1) * used(whole.folder / "runs")))
    if not mount(root, size):
        return simulated(kit, rng, system, folder)
    try:
        first = server.start(system, systems.args(system), folder).wait()
        subprocess.run(["mount", "-o", f"remount,size={2**28}", str(root)], check=True, capture_output=True)
        return _rest(kit, system, folder, first, f"on a disk of {size // 1024} KiB", "tmpfs")
    finally:
        subprocess.run(["umount", "-l", str(root)], capture_output=True)


def simulated(kit: systems.Kit, rng: random.Random, system: str, folder: Path) -> Result:
    """ENOSPC from one operation on."""
    phase, strike = aimed(kit.whole(system).operations, rng, 0)
    strike = Strike(strike.at, 0)
    first = server.start(system, systems.args(system), folder, strike=strike).wait()
    return _rest(
        kit,
        system,
        folder,
        first,
        f"full from {strike.at.kind} {strike.at.path} {strike.at.nth} ({phase})",
        "simulated",
    )


def read_only(kit: systems.Kit, rng: random.Random, system: str, folder: Path) -> Result:
    """A finished or unfinished run, part of which cannot be written."""
    from .damage import stopped

    source = rng.choice((stopped(kit, system), kit.whole(system).folder))
    shutil.copytree(source / "runs", folder / "runs")
    what = rng.choice(sorted(MODES))
    targets = list((folder / "runs").glob(MODES[what])) if MODES[what] != "." else [folder / "runs"]
    deep = rng.random() < 0.5
    paths = [p for target in targets for p in ((target, *target.rglob("*")) if deep else (target,))]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    first = server.start(system, systems.args(system), folder, modes=True).wait()
    for path in paths:
        if path.exists():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    state = "finished" if source == kit.whole(system).folder else "stopped"
    return _rest(kit, system, folder, first, f"{state}, read-only {what}{' and all in it' * deep}", "read-only")


def caches(kit: systems.Kit, rng: random.Random, system: str, folder: Path) -> Result:
    """The user's cache folder full, read-only, a file, or a path that cannot be."""
    system = rng.choice(("ae_mnist", "vae_flowers", "gan_flowers"))
    cache = folder / "cache"
    way = rng.choice(("full", "read-only", "file", "nowhere", "empty name"))
    env = {"XDG_CACHE_HOME": str(cache)}
    if way == "full" and not mount(cache, 65536):
        way = "nowhere"
    if way == "read-only":
        cache.mkdir(mode=0o500)
    elif way == "file":
        cache.write_text("no folder")
    elif way == "nowhere":
        env = {"XDG_CACHE_HOME": "/dev/null/cache"}
    elif way == "empty name":
        env = {"XDG_CACHE_HOME": "", "HOME": "/dev/null"}
    try:
        first = server.start(system, systems.args(system), folder, modes=True, env=env).wait(180)
        result = _rest(kit, system, folder, first, f"cache {way}", "cache")
        if first.code != 0 and result.verdict in (verdicts.EQUAL, verdicts.SAID):
            return result._replace(verdict=verdicts.LOST, why=f"a cache costs a run: {verdicts.tail(first.err)}")
        return result
    finally:
        if way == "full":
            subprocess.run(["umount", "-l", str(cache)], capture_output=True)
        if os.path.isdir(cache):
            cache.chmod(0o700)
