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
    stretches: tuple[Stretch, ...]
    """Those that were made again."""
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
        lines += [f"note: {note}" for note in self.notes]
        return [*lines, f"settings.json has the SHA-256 {self.settings_sha256}"]

    def _summary(self, wrong: int) -> str:
        made = sum(stretch.last - stretch.first for stretch in self.stretches)
        numbers, arrays = (sum(getattr(one, name) for one in self.stretches) for name in ("numbers", "arrays"))
        which = f"{len(self.stretches)} of {self.of} stretches ({made:,} of {self.steps - self.beginning:,} steps"
        chosen = "" if len(self.stretches) == self.of else f", chosen with seed {self.seed}"
        how = "bit for bit" if self.exact else f"to rounding ({RELATIVE:.0%} plus {ABSOLUTE})"
        compared = f"{numbers:,} numbers and {arrays:,} arrays compared {how}, {self.seconds:.1f} s "
        compared += f"with {self.compile_seconds:.1f} s of compiling"
        if self.passed:
            return f"{self.path} is proved: {which}{chosen}) made again, {compared}"
        found = f"{wrong} of the stretches differ" if wrong else "it is not what it says"
        return f"{self.path} is NOT proved: {found}; {which}{chosen}) made again, {compared}"

    def to_json(self) -> Json:
        """All of it as JSON values."""
        stretches = [{**one._asdict(), "differences": list(one.differences)} for one in self.stretches]
        lists = {"stretches": stretches, "problems": list(self.problems), "notes": list(self.notes)}
        return {"passed": self.passed, **asdict(self), "path": str(self.path), **lists}

    def write_record(self) -> Path:
        """Write what was found into the run directory."""
        made = sum(stretch.last - stretch.first for stretch in self.stretches)
        record = {
            "note": "what jaxgen verify found, not a proof: run it again to check",
            "passed": self.passed,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "steps": self.steps,
            "beginning": self.beginning,
            "steps_made_again": made,
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


def recorded(path: Path) -> Verified | None:
    """The record in the run directory `path`; None without one, with a damaged one, or of other settings."""
    try:
        found = read_json(path / RECORD)
        with interpreting(path / RECORD):
            if found["settings_sha256"] != hashlib.sha256((path / "settings.json").read_bytes()).hexdigest():
                return None
            return Verified(
                bool(found["passed"]), str(found["at"]), int(found["steps"]), int(found["steps_made_again"]),
                bool(found["exact"]),
            )  # fmt: skip
    except (UserError, OSError):
        return None
