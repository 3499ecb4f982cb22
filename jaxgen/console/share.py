"""`jaxgen export`: a run's model as a directory for other people and programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jaxgen.console.model import loaded


@dataclass(frozen=True)
class Export:
    """A run's model as a directory: weights (safetensors), settings, model card, sample images; needs no data."""

    path: tyro.conf.Positional[Path]
    """The run directory."""
    to: Path
    """The directory to write, which must be new or empty."""
    precision: Literal["float32", "float16"] = "float32"
    """Precision of the stored weights."""
    programs: Literal["none", "inside", "apart"] = "none"
    """Also write the model's functions as jax.export programs, with the weights inside or apart from them."""
    reference: str | None = None
    """A sentence for the model card: the value that others report."""
    member: int | None = None
    """With several seeds in the run: whose model."""
    step: int | None = None
    """A kept checkpoint; default: the newest."""
    best: bool = False
    """The state of the best evaluation instead of the newest."""

    def run(self) -> None:
        """Export."""
        from jaxgen.export.weights import export

        run = loaded(self.path, self.step)
        run = run if self.member is None else run.member(self.member)
        run = run.best() if self.best else run
        to = export(run, self.to, precision=self.precision, reference=self.reference, with_programs=self.programs)
        files = ", ".join(sorted(file.name for file in to.iterdir()))
        print(f"{self.path} (step {run.step:,}) in {to}: {files}")
