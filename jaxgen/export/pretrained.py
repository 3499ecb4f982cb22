"""The small trained models that ship with jaxgen; `experiments/make_pretrained.py` makes them."""

import hashlib
from pathlib import Path

from jaxgen.errors import check_choice
from jaxgen.export import weights
from jaxgen.runs.run import Run

SHIPPED = Path(__file__).parents[1] / "pretrained"
HASHES = SHIPPED / "hashes.json"
"""SHA-256 of each model's weights."""


def names() -> list[str]:
    """Names of the models that ship with jaxgen."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{weights.WEIGHTS}"))


def pretrained(name: str) -> Run:
    """A small trained model that ships with jaxgen, by the name of its experiment: to sample, encode, decode or act."""
    check_choice("name", name, names())
    return weights.load(SHIPPED / name)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
