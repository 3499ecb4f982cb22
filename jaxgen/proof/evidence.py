"""The contents of a run's directory that a verdict rests on."""

from typing import NamedTuple

from jaxgen.errors import UserError
from jaxgen.files import Json, read_json_list
from jaxgen.proof import comparison
from jaxgen.proof.comparison import Table
from jaxgen.proof.recorded import Recorded
from jaxgen.runs import checkpoint, directory, metrics
from jaxgen.runs.metrics import Row


class Evidence(NamedTuple):
    """Everything in a run's directory besides its settings."""

    rows: list[Row]
    table: Table
    steps: list[int]
    """Steps with a checkpoint, ascending."""
    result: Json | None
    sessions: list[Json] | None
    """None: the list is missing or damaged."""
    strange: list[str]
    """Each damaged line and each row that a run does not log so."""

    @property
    def end(self) -> int:
        """The last step of which there is anything."""
        return max([*self.steps, *(step for step, _ in self.table)], default=0)


def of(run: Recorded) -> Evidence:
    """Read a directory, except for its arrays."""
    strange: list[str] = []
    rows = metrics.read(run.path / "metrics.jsonl", strange.append)
    table, odd = comparison.tabulated(rows)
    try:
        sessions = read_json_list(run.path / "sessions.json")
    except (UserError, OSError):
        sessions = None
    result = directory.read_result(run.path, strange.append)
    return Evidence(rows, table, checkpoint.steps(run.checkpoints), result, sessions, [*strange, *odd])
