"""The campaign's command line, its budget and its table."""

import argparse
import importlib
import json
import os
import selectors
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from typing import IO

from . import server
from .systems import Kit
from .verdicts import FAILURES, VERDICTS, Result

SHARES = {"kills": 3, "damage": 3, "fuzz": 3, "signals": 2, "disks": 2, "races": 1, "folders": 1, "long": 0.5}
"""The kinds of case, and their shares of the time."""


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="A campaign of faults.")
    parser.add_argument("--minutes", type=float, default=10, help="time to spend")
    parser.add_argument("--jobs", type=int, default=server.cores(), help="cases at once; default: one a core")
    parser.add_argument("--seed", type=int, default=0, help="seed of all cases")
    parser.add_argument("--kinds", default=",".join(SHARES), help="kinds of case, with commas")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--cases", type=int, default=10**9, help="cases of each kind, at most")
    parser.add_argument("--case", help="KIND:NUMBER: this case alone; its folder is kept")
    parser.add_argument("--verbose", action="store_true", help="print every case, not only failures")
    parser.add_argument("--json", type=Path, help="also write every case to this file")
    parser.add_argument("--cache", type=Path, help="folder of caches to keep between campaigns; default: a new one")
    options = parser.parse_args()
    unknown = set(options.kinds.split(",")) - SHARES.keys()
    if unknown:
        parser.error(f"--kinds {', '.join(sorted(unknown))}: of {', '.join(SHARES)}")
    return options


class Table:
    """The results so far."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.cases: list[tuple[str, int, Result]] = []

    def add(self, kind: str, number: int, result: Result) -> None:
        """Record a case, and print it if it failed."""
        self.cases.append((kind, number, result))
        if result.verdict in FAILURES:
            print(self._failure(kind, number, result), flush=True)

    def _failure(self, kind: str, number: int, result: Result) -> str:
        again = f"python -m tests.campaign --seed {self._seed} --case {kind}:{number}"
        return f"{result.verdict}: {result.what}\n    {result.why}\n    {again}"

    def failures(self) -> list[tuple[str, int, Result]]:
        """The cases that failed."""
        return [case for case in self.cases if case[2].verdict in FAILURES]

    def text(self) -> str:
        """Kinds, and below each its systems and phases, by verdict."""
        counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for kind, _, result in self.cases:
            counts[kind, ""][result.verdict] += result.tried or (result.verdict in FAILURES)
            for tag in result.tags:
                counts[kind, tag][result.verdict] += 1
        lines = [f"{'':34}{'tried':>7}" + "".join(f"{verdict:>10}" for verdict in VERDICTS)]
        for (kind, tag), row in sorted(counts.items()):
            name = f"  {tag}" if tag else kind
            lines.append(f"{name:34}{row.total():>7}" + "".join(f"{row[verdict] or '':>10}" for verdict in VERDICTS))
        return "\n".join(lines)


def run(kit: Kit, kind: str, number: int, keep: bool = False) -> Result:
    """One case; the campaign's own mistakes are traces too."""
    folder = kit.work / f"{kind}-{number}"
    folder.mkdir()
    module = importlib.import_module(f".kinds.{kind}", __package__)
    try:
        result = module.case(kit, number, folder)
    except Exception as error:
        result = Result("trace", "the campaign itself", f"{type(error).__name__}: {error}")
        if keep:
            traceback.print_exc()
    if not keep:
        for each in (folder, folder.with_name(f"{folder.name}.said")):
            shutil.rmtree(each, ignore_errors=True)
    return result


def work_on(options: argparse.Namespace, kit: Kit, place: int, began: float, done: IO[str]) -> None:
    """One worker: cases until the time is over, each kind in its share of it; every `options.jobs`-th of each kind."""
    kinds = options.kinds.split(",")
    spent, numbers = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, options.first + place)
    while time.monotonic() - began < 60 * options.minutes:
        left = [kind for kind in kinds if numbers[kind] - options.first < options.cases]
        if not left:
            return
        kind = min(left, key=lambda kind: spent[kind] / SHARES[kind])
        start = time.monotonic()
        result = run(kit, kind, numbers[kind])
        seconds = time.monotonic() - start
        done.write(json.dumps([kind, numbers[kind], seconds, result]) + "\n")
        done.flush()
        numbers[kind] += options.jobs
        spent[kind] += seconds


def begin(options: argparse.Namespace, work: Path, place: int, began: float) -> tuple[int, IO[str]]:
    """A worker in a process of its own: its id, and the pipe that its results come from."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, open(reading, encoding="utf-8")
    try:
        os.close(reading)
        folder = work / str(place)
        folder.mkdir()
        with open(writing, "w", encoding="utf-8") as done:
            work_on(options, Kit(folder, options.seed), place, began, done)
    except KeyboardInterrupt:
        pass
    finally:
        os._exit(0)


def campaign(options: argparse.Namespace, work: Path) -> Table:
    """All workers' cases."""
    table, began = Table(options.seed), time.monotonic()
    last = began
    workers = [begin(options, work, place, began) for place in range(options.jobs)]
    try:
        with selectors.DefaultSelector() as selector:
            for _, pipe in workers:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if not line:
                        selector.unregister(key.fileobj)
                        continue
                    kind, number, seconds, fields = json.loads(line)
                    result = Result(*fields)
                    table.add(kind, number, result)
                    if options.verbose:
                        print(f"{seconds:.1f} s {result.verdict} {result.tried} {result.what}", flush=True)
                if time.monotonic() - last > 30:
                    last = time.monotonic()
                    counts = Counter(kind for kind, _, _ in table.cases)
                    print(f"{(last - began) / 60:.1f} min: {dict(counts)}", flush=True)
    finally:
        for pid, _ in workers:
            os.waitpid(pid, 0)
    return table


def one(options: argparse.Namespace, work: Path) -> Table:
    """One case, again."""
    kind, number = options.case.split(":")
    result = run(Kit(work, options.seed), kind, int(number), keep=True)
    table = Table(options.seed)
    table.add(kind, int(number), result)
    print(f"{result.verdict}: {result.what}\n    {result.why}\n    its folder: {work / f'{kind}-{number}'}")
    return table


def main() -> None:
    """Run, print the table and the failures, and exit with 1 if there are any."""
    options = parse()
    work = Path(tempfile.mkdtemp(prefix="jaxgen-campaign-")).resolve()
    try:
        server.prepare(options.cache or work / "cache")
        table = one(options, work) if options.case else campaign(options, work)
    finally:
        if not options.case:
            shutil.rmtree(work, ignore_errors=True)
    print(f"\n{table.text()}\n\n{len(table.failures())} failures")
    if options.json:
        rows = [
            {"kind": kind, "number": number, "seed": options.seed, **result._asdict()}
            for kind, number, result in table.cases
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if table.failures() else 0)


if __name__ == "__main__":
    main()
