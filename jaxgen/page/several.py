"""The page that compares runs: their curves in the same charts, the settings that differ, metrics side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgen.errors import SettingError
from jaxgen.files import write_atomically
from jaxgen.page import document, facts
from jaxgen.page.facts import PRIVATE, Facts
from jaxgen.runs import listing

MOST = 6
"""Runs that one can tell apart by color and dash."""


def write(paths: Mapping[str, Path], to: Path) -> Path:
    """Write the page that compares the run directories, by name."""
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, text(paths))
    return to


def text(paths: Mapping[str, Path]) -> str:
    """The page as text."""
    if not 2 <= len(paths) <= MOST:
        raise SettingError(f"a page compares 2 to {MOST} different runs, not {len(paths)}")
    runs = {name: facts.read(path) for name, path in paths.items()}
    shown = charts(runs)
    units = [
        unit for unit in ("steps", "epochs", "seconds") if all(unit in facts.units(f, None) for f in runs.values())
    ]
    note = "Lines are means over a run's members, bands 95% intervals of these means." if _many(runs) else ""
    body = [
        f"<header>{document.top(' against '.join(runs), 'runs compared')}</header>",
        "<main>",
        document.section("objective", "Results", _results(runs)),
        document.section("curves", "Curves", '<div id="curves"></div>', note=f"Move over a curve to read it. {note}"),
        document.section("settings", "Settings that differ", _differences(runs)),
        document.section("metrics", "Last values", _metrics(runs)),
        '</main><footer class="soft">Written by jaxgen report.</footer>',
    ]
    return document.document(", ".join(runs), body, {"charts": shown, "units": units, "model": None})


def charts(runs: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """One chart for each metric that several runs have, the common objective first, then the test metrics."""
    series = {name: facts.series(found) for name, found in runs.items()}
    counts: dict[str, int] = {}
    for one in series.values():
        for metric in one:
            counts[metric] = counts.get(metric, 0) + 1
    objectives = {found.entry.objective for found in runs.values()}

    def place(metric: str) -> tuple[bool, bool]:
        return metric not in objectives, not metric.startswith("test/")

    found = []
    for metric in sorted((metric for metric, count in counts.items() if count > 1), key=place):
        lines = [
            {"name": name, "factors": facts.units(runs[name], None), **one[metric]}
            for name, one in series.items()
            if metric in one
        ]
        found.append({"title": metric, "lines": lines})
    return found


def _many(runs: Mapping[str, Facts]) -> bool:
    return any(len(found.seeds) > 1 for found in runs.values())


def _results(runs: Mapping[str, Facts]) -> str:
    names = ("Objective", "Data", "Seed", "Trained for", "Time", "Processor", "Versions", "State")
    heads = {name: facts.head(found) for name, found in runs.items()}
    rows = [(name, *(head.get(name, "") for head in heads.values())) for name in names]
    return document.table(("run", *runs), rows, caption="Results")


def _differences(runs: Mapping[str, Facts]) -> str:
    changed = listing.differences({name: found.record for name, found in runs.items()})
    rows = [(field, *(str(of[name]) for name in runs)) for field, of in changed.items() if field not in PRIVATE]
    if not rows:
        return "<p>The settings are the same.</p>"
    return document.table(("setting", *runs), rows, caption="Settings that differ")


def _metrics(runs: Mapping[str, Facts]) -> str:
    every = dict.fromkeys(metric for found in runs.values() for metric in found.values)
    rows = [(metric, *(facts.number(found.values.get(metric)) for found in runs.values())) for metric in every]
    return document.table(("metric", *runs), rows, caption="Last values")
