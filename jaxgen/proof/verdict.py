"""The result of `verify`, for people and for programs."""

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from jaxgen.errors import UserError
from jaxgen.files import Json, interpreting, read_json, write_json
from jaxgen.proof.comparison import ABSOLUTE, RELATIVE, shortened

RECORD = "verification-record.json"
"""File in a run directory that says what its last verification found. It is a record; the proof is to do it again."""


class Stretch(NamedTuple):
    """Steps `first` to `last` made again, and how they compare with the record."""

    first: int
    last: int
    numbers: int
    """Logged numbers compared."""
    arrays: int
    """Arrays of the checkpoint at `last` compared by their SHA-256."""
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether a run is what its directory says."""

    path: Path
    steps: int
    """Steps that the run has done, as recorded: those of its newest checkpoint or row."""
    beginning: int
    """0, or the step at which a fork left its parent; steps before it are the parent's to prove."""
    every: bool
    """Whether all stretches were made again and everything else was checked."""
    exact: bool
    """Compared bit for bit; otherwise to rounding, and only the first logging interval after each checkpoint."""
    of: int
    """Number of stretches that there are."""
    whole: int
    """Number of stretches made again from end to end; of the others, only the beginning."""
    checkpoints: int
    """Number of checkpoints that there are."""
    stretches: tuple[Stretch, ...]
    """Those that were made again, to where that ended."""
    problems: tuple[str, ...]
    """Everything else that is wrong with the directory."""
    notes: tuple[str, ...]
    """Limits of this verdict."""
    seed: int
    """Chooses the stretches."""
    settings_sha256: str
    """SHA-256 of settings.json: the settings that the numbers follow from."""
    seconds: float
    """In all, with loading and compiling."""
    compile_seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.problems and not any(stretch.differences for stretch in self.stretches)

    def lines(self) -> list[str]:
        """A summary, everything that is wrong, and the limits."""
        wrong = [stretch for stretch in self.stretches if stretch.differences]
        lines = [self._summary(len(wrong))]
        for stretch in wrong:
            lines += [f"  steps {stretch.first} to {stretch.last}: {one}" for one in shortened(stretch.differences)]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [*self._omitted(), *(f"note: {note}" for note in self.notes)]
        return [*lines, f"settings.json has the SHA-256 {self.settings_sha256}"]

    @property
    def made(self) -> int:
        """Number of steps made again."""
        return sum(stretch.last - stretch.first for stretch in self.stretches)

    @property
    def compared(self) -> int:
        """Number of checkpoints whose arrays were compared."""
        return sum(stretch.arrays > 0 for stretch in self.stretches)

    def _summary(self, wrong: int) -> str:
        steps, begun = self.steps - self.beginning, len(self.stretches) - self.whole
        numbers, arrays = (sum(getattr(one, name) for one in self.stretches) for name in ("numbers", "arrays"))
        which = f"{self.whole} of {self.of} stretches" + (f" and the beginning of {begun} more" if begun else "")
        chosen = "" if len(self.stretches) == self.of else f", chosen with seed {self.seed}"
        how = "bit for bit" if self.exact else f"to rounding ({RELATIVE:.0%} plus {ABSOLUTE})"
        made = f"{which} ({self.made:,} of {steps:,} steps{chosen}) made again, {numbers:,} logged numbers and "
        made += f"{arrays:,} arrays of {self.compared} of {self.checkpoints} checkpoints compared {how}, "
        made += f"{self.seconds:.1f} s with {self.compile_seconds:.1f} s of compiling"
        if self.passed:
            return f"{self.path} is proved: {made}"
        found = f"{wrong} of the stretches differ" if wrong else "it is not what it says"
        return f"{self.path} is NOT proved: {found}; {made}"

    def _omitted(self) -> list[str]:
        """A line about everything that was not compared, if there is anything."""
        steps, checkpoints = self.steps - self.beginning - self.made, self.checkpoints - self.compared
        missing = [f"{steps:,} steps"] * (steps > 0) + [f"the arrays of {checkpoints} checkpoints"] * (checkpoints > 0)
        missing += ["the result, the sessions and the fitted settings"] * (not self.every)
        return [f"not compared: {', '.join(missing)}" + ("" if self.every else " (--all compares all)")] * bool(missing)

    def to_json(self) -> Json:
        """All of it as JSON values."""
        stretches = [{**one._asdict(), "differences": list(one.differences)} for one in self.stretches]
        lists = {"stretches": stretches, "problems": list(self.problems), "notes": list(self.notes)}
        made = {"steps_made_again": self.made, "checkpoints_compared": self.compared}
        return {"passed": self.passed, **asdict(self), **made, "path": str(self.path), **lists}

    def write_record(self) -> Path:
        """Write what was found into the run directory."""
        record = {
            "note": "what jaxgen verify found, not a proof: run it again to check",
            "passed": self.passed,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "steps": self.steps,
            "beginning": self.beginning,
            "steps_made_again": self.made,
            "checkpoints": self.checkpoints,
            "checkpoints_compared": self.compared,
            "exact": self.exact,
            "everything": self.every,
            "seed": self.seed,
            "settings_sha256": self.settings_sha256,
        }
        write_json(self.path / RECORD, record)
        return self.path / RECORD


class Verified(NamedTuple):
    """The finding of the last verification of a run."""

    passed: bool
    at: str
    steps: int
    made: int
    exact: bool
    checkpoints: tuple[int, int] | None
    """Number of checkpoints whose arrays were compared, and of all; None if an older version of `verify` wrote it."""


def recorded(path: Path) -> Verified | None:
    """The record in the run directory `path`; None without one, with a damaged one, or of other settings."""
    try:
        found = read_json(path / RECORD)
        with interpreting(path / RECORD):
            if found["settings_sha256"] != hashlib.sha256((path / "settings.json").read_bytes()).hexdigest():
                return None
            counts = (int(found["checkpoints_compared"]), int(found["checkpoints"])) if "checkpoints" in found else None
            return Verified(
                bool(found["passed"]), str(found["at"]), int(found["steps"]), int(found["steps_made_again"]),
                bool(found["exact"]), counts,
            )  # fmt: skip
    except (UserError, OSError):
        return None
