"""Rows of a metrics file carry what reveals damage."""

import json

import pytest

from jaxgen.runs import metrics

ROWS = [{"step": 1, "train/loss": 0.1234}, {"step": 2, "train/loss": [0.5, None]}, {"step": 3, "test/loss": 2.0}]


@pytest.fixture
def written(tmp_path):
    log = metrics.MetricsLog(tmp_path / "metrics.jsonl", 0, None)
    for row in ROWS:
        log.write(row)
    log.close()
    return tmp_path / "metrics.jsonl"


def test_rows_come_back_as_they_were_written(written):
    assert metrics.read(written) == ROWS
    assert all("crc32" in json.loads(line) for line in written.read_text().splitlines())


@pytest.mark.parametrize(("old", "new"), [("0.1234", "0.1235"), ('"step": 1', '"step": 4'), ('{"step": 1', "#step: 1")])
def test_a_damaged_row_is_reported_and_left_out_and_the_rest_is_kept(written, capsys, old, new):
    written.write_text(written.read_text().replace(old, new, 1))
    assert metrics.read(written) == ROWS[1:]
    assert f"{written}: line 1 is damaged" in capsys.readouterr().err


def test_a_row_without_a_checksum_is_damaged_where_others_have_one(written, capsys):
    written.write_text(written.read_text().replace('"crc32"', '"crc32_"', 1))
    assert metrics.read(written) == ROWS[1:]
    assert "line 1 is damaged (no checksum)" in capsys.readouterr().err


def test_a_half_written_last_line_is_left_out_without_a_word(written, capsys):
    written.write_text(written.read_text()[:-5])
    assert metrics.read(written) == ROWS[:2]
    assert capsys.readouterr().err == ""


def test_rows_of_format_0_have_no_checksum_and_get_one_when_the_run_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert metrics.read(path) == ROWS
    metrics.MetricsLog(path, 2, None).close()
    assert metrics.read(path) == ROWS[:2]
    assert path.read_text().count("crc32") == 2
