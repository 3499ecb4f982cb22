"""The oldest versions that pyproject.toml allows, as `name==version` lines for `pip install --constraint`."""

import re
import tomllib
from pathlib import Path

BOUND = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)")


def oldest(pyproject: Path) -> list[str]:
    """One line for each dependency with a lower bound, of all extras but `bench`; the highest where several are given.

    Raises ValueError for a dependency without one.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name != "bench"}
    bounds: dict[str, str] = {}
    for need in [*project["dependencies"], *(need for needs in extras.values() for need in needs)]:
        if need.startswith("jaxgen["):
            continue
        bound = BOUND.match(need)
        if bound is None:
            raise ValueError(f"{need!r} has no lower bound")
        name, version = bound.groups()
        bounds[name] = max(bounds.get(name, version), version, key=_numbers)
    return [f"{name}=={version}" for name, version in bounds.items()]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    print("\n".join(oldest(Path(__file__).parents[1] / "pyproject.toml")))
