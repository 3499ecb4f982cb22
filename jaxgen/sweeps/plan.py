"""The plan of a sweep: its points in groups, each of which is one program.

Traced settings (hyperparameters and the seed) differ between the members of a group; static ones (configuration and
data) between groups. A group is no larger than fits in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxgen.engine import members
from jaxgen.engine.members import Members
from jaxgen.errors import SettingError
from jaxgen.runs.settings import check_numbers
from jaxgen.sweeps import fields
from jaxgen.sweeps.axes import Axis, Point
from jaxgen.sweeps.experiment import Chosen


class Member(NamedTuple):
    """A run of the sweep."""

    number: int
    """Its index among all points of the sweep."""
    point: Point


class Group(NamedTuple):
    """Members that are trained as one program."""

    number: int
    static: Point
    """The settings common to all members, which fix the program."""
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """The name of the group's run directory."""
        return f"group-{self.number:03d}"


def is_traced(name: str) -> bool:
    """Whether a field is a traced input of a compiled program."""
    return name == "seed" or name.startswith("hparams.")


def groups(points: Sequence[Point], largest: Callable[[Point], int]) -> list[Group]:
    """Groups in the order in which their static settings first occur; `largest` gives the maximum members of one.

    If members of the same program need several groups, their sizes are as equal as possible.
    """
    kinds: dict[tuple[Any, ...], list[Member]] = {}
    for number, point in enumerate(points):
        kinds.setdefault(tuple(static_of(point).items()), []).append(Member(number, point))
    found: list[Group] = []
    for kind, of_kind in kinds.items():
        parts = -(-len(of_kind) // largest(dict(kind)))
        size = -(-len(of_kind) // parts)
        for first in range(0, len(of_kind), size):
            found.append(Group(len(found), dict(kind), tuple(of_kind[first : first + size])))
    return found


def static_of(point: Point) -> Point:
    """The part of a point that fixes its program."""
    return {name: value for name, value in point.items() if not is_traced(name)}


def compiles(planned: Sequence[Group]) -> int:
    """Number of distinct programs: groups of the same kind and size share one."""
    return len({(tuple(group.static.items()), len(group.members)) for group in planned})


def members_of(experiment: Chosen, points: Sequence[Point]) -> Members:
    """These points as members of one program."""
    settings = experiment.settings_with(static_of(points[0]))
    hparams = [hparams_of(settings, point) for point in points]
    return members.stack([point.get("seed", experiment.settings.run.seed) for point in points], hparams)


def hparams_of(settings: Any, point: Point) -> Any:
    """The hyperparameters of a point."""
    values = {k.removeprefix("hparams."): v for k, v in point.items() if k.startswith("hparams.")}
    return fields.replace(settings.hparams, values)


def check(experiment: Chosen, points: Sequence[Point]) -> None:
    """Refuse the first point with out-of-range settings."""
    known: dict[tuple[Any, ...], Any] = {}
    for point in points:
        kind = tuple(static_of(point).items())
        if kind not in known:
            known[kind] = experiment.settings_with(dict(kind))
            check_numbers("config", known[kind].config)
        check_numbers("hparams", hparams_of(known[kind], point))
        experiment.algorithm.validate(hparams_of(known[kind], point), known[kind].config)
        if not 0 <= point.get("seed", 0) < 2**32:
            raise SettingError(f"seed = {point['seed']!r} is not allowed: 0 to 2**32 - 1")


def describe(axes: Sequence[Axis], planned: Sequence[Group]) -> str:
    """The plan in human-readable form: axes, groups, compilations, members per program."""
    lines = [f"  {axis.name} ({'traced' if is_traced(axis.name) else 'static'}): {_values(axis)}" for axis in axes]
    count = sum(len(group.members) for group in planned)
    lines.append(
        f"  {count} members in {_many(len(planned), 'group')}, {_many(compiles(planned), 'compilation')}, "
        f"on {_many(len(jax.devices()), 'device')}"
    )
    for group in planned:
        static = ", ".join(f"{name}={value}" for name, value in group.static.items())
        lines.append(f"  {group.name}: {_many(len(group.members), 'member')}{f' with {static}' if static else ''}")
    return "\n".join(lines)


def _values(axis: Axis) -> str:
    shown = [str(value) for value in axis.values]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]]) + f" ({len(shown)})"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def to_json(planned: Sequence[Group]) -> list[Mapping[str, Any]]:
    """The groups as recorded for a sweep."""
    return [
        {"name": group.name, "members": [{"number": m.number, **_plain(m.point)} for m in group.members]}
        for group in planned
    ]


def _plain(point: Point) -> Mapping[str, Any]:
    kept = (int, float, str, bool, type(None))
    return {
        name: value if isinstance(value, kept) else list(value) if isinstance(value, tuple) else str(value)
        for name, value in point.items()
    }
