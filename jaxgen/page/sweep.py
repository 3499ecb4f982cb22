"""The page of a sweep or a search: its members in linked views, and the best one's own page inside."""

import html
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError, warn
from jaxgen.files import Json, write_atomically
from jaxgen.page import document, facts, pictures, single
from jaxgen.runs import directory as run_directory
from jaxgen.sweeps import record as record_lib
from jaxgen.sweeps.record import Member, Record

WHAT = {"sweep": "member", "search": "trial"}
UNIT = {"sweep": "steps", "search": "epochs"}


def write(path: Path, to: Path, *, preset: Json | None = None, compact: bool = False) -> Path:
    """Write the page of the sweep or search in `path`."""
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, text(path, preset=preset, compact=compact))
    return to


def text(path: Path, *, preset: Json | None = None, compact: bool = False) -> str:
    """The page as text; `preset` and `compact` are for the page of the best member."""
    found = record_lib.read(path)
    name, what, best = path.resolve().name, WHAT[found.kind], found.best
    inner = None if best is None else _page_of(found, best, preset, compact)
    body = [
        f"<header>{document.top(name, f'{found.kind} of {found.experiment}')}",
        _best(found, best, inner is not None),
        document.definitions(_head(found)),
        "<p>To repeat it:</p>" + document.copied(facts.public(found.command)) if found.kind == "search" or found.options
        else "",
        "</header><main>",
        document.section("views", f"All {what}s", '<div id="sweep" class="alive"></div>'),
    ]  # fmt: skip
    drawn = pictures.figures(path / "figures")
    if drawn:
        body.append(document.section("figures", "Figures", f'<div class="figures">{pictures.html_of(drawn)}</div>'))
    body.append(f'</main><footer class="soft">{html.escape(name)}. Written by jaxgen report.</footer>')
    if inner is not None:
        body.append(f'<script type="application/json" id="best">{document.embedded(inner)}</script>')
    return document.document(name, body, {"sweep": data(found), "model": None}, ("members.js",))


def data(found: Record) -> Json:
    """The members as JSON values."""
    others = list(dict.fromkeys(name for one in found.members for name in one.others))
    best = found.best
    return {
        "what": WHAT[found.kind],
        "unit": UNIT[found.kind],
        "metric": found.objective.metric,
        "maximize": found.objective.maximize,
        "axes": [{"name": name, "log": _log(found, name)} for name in found.axes],
        "others": others,
        "best": None if best is None else best.number,
        "members": [_member(one, found.axes, others) for one in found.members],
    }


def _log(found: Record, name: str) -> bool:
    values = [one.point.get(name) for one in found.members]
    positive = all(isinstance(one, int | float) and one > 0 for one in values)
    return positive and found.logs.get(name, is_log(values))


def _member(one: Member, axes: Sequence[str], others: Sequence[str]) -> Json:
    return {
        "number": one.number,
        "point": [_cell(one.point.get(name)) for name in axes],
        "state": one.state,
        "value": facts.short(one.value),
        "others": {name: facts.short(one.others.get(name)) for name in others},
        "curve": [[step for step, _ in one.curve], [facts.short(value) for _, value in one.curve]],
    }


def _cell(value: Any) -> float | int | str | None:
    """A point's value for the page: a number, or text."""
    if value is None or isinstance(value, bool | str | list | tuple):
        return str(value) if not isinstance(value, list | tuple) else "x".join(map(str, value))
    return facts.short(value) if isinstance(value, float) else int(value)


def is_log(values: Sequence[Any]) -> bool:
    """Whether numbers are spread more evenly by their logarithms: the largest gap is a smaller part of the range."""
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in values):
        return False
    return _largest_gap([math.log(one) for one in values]) < 0.999 * _largest_gap(values)


def _largest_gap(values: Sequence[float]) -> float:
    kinds = sorted(set(values))
    if len(kinds) < 3:
        return 1.0
    return max(b - a for a, b in itertools.pairwise(kinds)) / (kinds[-1] - kinds[0])


def _head(found: Record) -> dict[str, str]:
    states: dict[str, int] = {}
    for one in found.members:
        states[one.state] = states.get(one.state, 0) + 1
    objective = found.objective
    return {
        "Experiment": found.experiment,
        "Objective": f"{objective.metric}, {'higher' if objective.maximize else 'lower'} is better",
        "Axes": ", ".join(found.axes),
        f"{WHAT[found.kind].capitalize()}s": ", ".join(f"{count} {state}" for state, count in states.items()),
    }


def _best(found: Record, best: Member | None, has_page: bool) -> str:
    what = WHAT[found.kind]
    if best is None:
        return f'<p class="alarm" role="note">No {what} is finished yet.</p>'
    where = ", ".join(f"{name} = {_cell(value)}" for name, value in best.point.items())
    parts = [
        f'<p class="value">Best: {html.escape(found.objective.metric)} <b>{best.value:.4g}</b> of {what} '
        f'{best.number} <span class="soft">{html.escape(where)}</span></p>'
    ]
    if has_page:
        parts.append(
            '<p><button id="open-best" type="button" aria-expanded="false" aria-controls="best-page">Open its page'
            f'</button></p><iframe id="best-page" title="The page of {what} {best.number}" hidden></iframe>'
        )
    return "\n".join(parts)


def _page_of(found: Record, best: Member, preset: Json | None, compact: bool) -> str | None:
    """The best member's page; None, with a warning, if it cannot be made."""
    if best.path is None:
        return None
    alone = single.Alone(f"{found.path.resolve().name}, {WHAT[found.kind]} {best.number}", found.command_of(best))
    try:
        run_directory.read_record(best.path)
        return single.text(best.path, preset=preset, compact=compact, member=best.place, alone=alone)
    except (UserError, OSError) as error:
        warn(f"the page shows the best {WHAT[found.kind]} without its model: {str(error).splitlines()[0]}")
        return None
