"""The page of one run."""

import html
from pathlib import Path
from typing import NamedTuple

from jaxgen.data.dataset import Dataset
from jaxgen.errors import UserError, warn
from jaxgen.files import Json, write_atomically
from jaxgen.page import document, facts, models, pictures
from jaxgen.page.facts import Facts
from jaxgen.runs.load import load
from jaxgen.runs.run import Run


class Alone(NamedTuple):
    """A member of several, shown as a run of its own."""

    title: str
    command: str | None
    """Trains it alone, if that is known."""


def write(
    path: Path,
    to: Path,
    *,
    preset: Json | None = None,
    compact: bool = False,
    member: int = 0,
    dataset: Dataset | None = None,
) -> Path:
    """Write the page of the run directory `path`.

    `preset` holds the settings that the run's are compared with. With `compact` weights are stored in 10 to 12 bits
    each even where the page would be small or one would see it. `dataset` is given for a run whose data were arrays.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(to, text(path, preset=preset, compact=compact, member=member, dataset=dataset))
    return to


def text(
    path: Path,
    *,
    preset: Json | None = None,
    compact: bool = False,
    member: int = 0,
    dataset: Dataset | None = None,
    alone: Alone | None = None,
) -> str:
    """The page as text; with `alone`, that of its member `member` without the others."""
    found = facts.read(path)
    if alone is not None:
        found = facts.of_member(found, member)
    title, command = (found.name, facts.command(found)) if alone is None else (alone.title, alone.command or "")
    run = _loaded(path)
    model = None
    if run is not None:
        one = run if run.members is None else run.member(member)
        model = models.of(one, dataset or _data(run), compact)
    lines = facts.series(found)
    units = facts.units(found, None if run is None else run.steps_per_epoch)
    charts = [
        {"title": title, "lines": [{"name": name, "factors": units, **lines[name]} for name in names]}
        for title, names in facts.charts(lines, found.entry.objective)
    ]
    data = {"charts": charts, "units": list(units), "model": None if model is None else model.data}
    body = [
        "<header>",
        _head(found, title, facts.public(command)),
        "</header>",
        "<main>",
        *_alive(found, model, member),
    ]
    body.append(document.section("curves", "Curves", '<div id="curves"></div>', note=_band(found)))
    drawn = pictures.figures(path / "figures")
    if drawn:
        body.append(document.section("figures", "Figures", f'<div class="figures">{pictures.html_of(drawn)}</div>'))
    body += [_metrics(found), _settings(found, preset), "</main>", _foot(found)]
    scripts = () if model is None else ("model.js", "images.js", *model.scripts)
    source = None if model is None or model.source is None else (model.source, model.weights)
    return document.document(title, body, data, scripts, source)


def _loaded(path: Path) -> Run | None:
    try:
        return load(path)
    except UserError as error:
        warn(f"the page has no live model: {error}")
        return None


def _data(run: Run) -> Dataset | None:
    """The run's data; None if it has none, or they are not here."""
    if run._dataset is None:
        return None
    try:
        return run.data()
    except (UserError, OSError) as error:
        warn(f"the page shows no test images: {str(error).splitlines()[0]}")
        return None


def _head(found: Facts, title: str, command: str) -> str:
    entry = found.entry
    parts = [document.top(title, found.record["experiment"])]
    if entry.value is not None:
        better = "higher is better" if _maximized(found) else "lower is better"
        parts.append(
            f'<p class="value">{html.escape(entry.objective or "")} <b>{html.escape(facts.number(entry.value))}</b> '
            f'<span class="soft">{better}</span></p>'
        )
    if entry.note:
        parts.append(f'<p class="alarm" role="note">{html.escape(entry.note)}</p>')
    shown = facts.head(found)
    if entry.value is not None:
        del shown["Objective"]
    parts.append(document.definitions(shown))
    if command:
        parts += ["<p>To repeat it:</p>", document.copied(command)]
    return "\n".join(parts)


def _maximized(found: Facts) -> bool:
    from jaxgen.runs import listing

    objective = listing.objective_of(found.record)
    return objective is not None and objective.maximize


def _alive(found: Facts, model: "models.Model | None", member: int) -> list[str]:
    if model is None:
        why = "The model cannot be shown at work: its state cannot be read, or pages do not know its algorithm or task."
        return [document.section("model", "The model", f'<p class="soft">{why}</p>')]
    many = len(found.seeds)
    seed = f" Of {many} members this is the one with seed {found.seeds[member]}." if many > 1 else ""
    said = f'<p class="note">{html.escape(" ".join(model.notes) + seed)}</p>'
    return [
        document.section("model", "The model, alive", '<div id="alive" class="alive"></div>', said, note=model.lead)
    ]


def _band(found: Facts) -> str:
    said = "Move over a curve to read its values."
    if len(found.seeds) > 1:
        return f"{said} Lines are means over {len(found.seeds)} members, bands 95% intervals of these means."
    return said


def _metrics(found: Facts) -> str:
    rows = [(name, facts.number(value)) for name, value in found.values.items()]
    if not rows:
        return ""
    return document.section("metrics", "Last values", document.table(("metric", "value"), rows, caption="Last values"))


def _settings(found: Facts, preset: Json | None) -> str:
    rows = facts.settings(found.record, preset)
    marked = [before is not None for _, _, before in rows]
    name = found.record["settings"].get("preset")
    if preset is None:
        plain = document.table(("setting", "value"), [row[:2] for row in rows], caption="Settings")
        return document.section("settings", "Settings", plain)
    cells = [(field, value, before or "") for field, value, before in rows]
    heads = ("setting", "value", "in the preset")
    count = sum(marked)
    of = f"the preset {name}" if name else "the experiment's own"
    note = f"{count or 'No'} setting{'' if count == 1 else 's'} differ{'s' if count == 1 else ''} from {of}."
    return document.section("settings", "Settings", document.table(heads, cells, marked, "Settings"), note=note)


def _foot(found: Facts) -> str:
    started = found.sessions[0].get("started", "") if found.sessions else ""
    when = f", trained {html.escape(started[:10])}" if started else ""
    return f'<footer class="soft">{html.escape(found.name)}{when}. Written by jaxgen report.</footer>'
