"""The record of a sweep's or a search's directory."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxgen.errors import UserError
from jaxgen.sweeps.claim import recorded


def test_of_many_that_begin_at_once_one_writes_and_all_find_the_same(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: recorded(tmp_path, "sweep", {"number": number}), range(32)))
    assert all(record == found[0] for record in found)
    assert recorded(tmp_path, "sweep", {"number": -1}) == found[0]


def test_what_a_killed_process_left_half_written_does_not_count(tmp_path):
    (tmp_path / ".#.search.json").write_text("{")
    assert recorded(tmp_path, "search", {"a": 1}) == {"a": 1}


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"exists and is not a search \(it has no search.json\)"):
        recorded(tmp_path, "search", {})
    assert not (tmp_path / "search.json").exists()
