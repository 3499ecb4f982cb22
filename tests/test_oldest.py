"""The constraints file of the oldest versions allowed."""

import tomllib
from pathlib import Path

import pytest
from oldest import oldest

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_every_dependency_is_pinned_to_its_lower_bound():
    lines = oldest(PYPROJECT)
    names = [line.partition("==")[0] for line in lines]
    assert len(set(names)) == len(names)
    needed = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    assert len(set(names) & {need.partition(">=")[0] for need in needed}) == len(needed)


def test_the_highest_of_several_bounds_holds_and_none_is_an_error(tmp_path):
    file = tmp_path / "pyproject.toml"
    text = (
        '[project]\ndependencies = ["a>=1.9,<2; python_version > \'3\'", "b[x]>=3"]\n[project.optional-dependencies]\n'
    )
    file.write_text(text + 'more = ["a>=1.10", "jaxgen[other]"]\nbench = ["c"]\n')
    assert oldest(file) == ["a==1.10", "b==3"]
    file.write_text(text + 'more = ["c<2"]\n')
    with pytest.raises(ValueError, match="'c<2' has no lower bound"):
        oldest(file)
