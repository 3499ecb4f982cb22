"""Pages written at the end of training, and what verification has found in their heads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgen import page
from jaxgen.algorithms import autoencoder
from jaxgen.errors import SettingError
from jaxgen.experiment import Experiment
from jaxgen.files import write_json
from jaxgen.launch import experiments
from jaxgen.page import facts
from jaxgen.proof import verdict
from jaxgen.proof.verify import verify
from jaxgen.runs import checkpoint
from jaxgen.runs.fit import fit


def test_a_page_is_written_at_the_end_and_again_where_it_is_missing(tiny, make_settings, capsys):
    settings = make_settings(page=True, epochs=1)
    experiment = Experiment("tiny", autoencoder, {"one": settings}, page=page.at_end)
    run = experiments.train(experiment, settings)
    path = run.directory / "page.html"
    text = path.read_text()
    assert "<dt>State</dt><dd>finished</dd>" in text
    assert 'id="model"' in text
    assert "No settings differ from the experiment" in text
    assert f"its page is {path}" in capsys.readouterr().out
    path.unlink()
    assert experiments.train(experiment, settings).status == "finished"
    assert path.exists()
    path.unlink()
    experiments.train(experiment, make_settings(epochs=1))
    assert not path.exists()


def test_a_page_that_fails_is_one_warning(tiny, make_settings, capsys):
    def write(run, preset):
        raise OSError("the ink is dry\nand the pen is lost")

    settings = make_settings(page=True, epochs=1)
    run = experiments.train(Experiment("tiny", autoencoder, {"one": settings}, page=write), settings)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "ink" in line] == [
        f"warning: {run.directory} has no page (OSError: the ink is dry)"
    ]
    assert run.status == "finished"
    assert json.loads((run.directory / "result.json").read_text())["drawn"]


def test_a_page_is_refused_where_nobody_writes_it(tmp_path):
    script = Path(__file__).parents[2] / "examples" / "linear.py"
    words = [sys.executable, str(script), "--run.page", "--run.root", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: run.page = True is not allowed: False, for linear has no page")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(SettingError, match="page = True is not allowed"):
        fit(autoencoder, page=True)


def test_the_head_says_what_the_last_verification_found(tiny, make_settings):
    settings = make_settings(epochs=2)
    path = experiments.train(Experiment("tiny", autoencoder, {"one": settings}), settings).directory

    def said():
        return facts.head(facts.read(path))["Verified"]

    assert said().startswith("not yet")
    found = verify(path, all=True)
    assert found.passed
    assert found.write_record() == path / verdict.RECORD
    saved = json.loads((path / verdict.RECORD).read_text())
    assert "not a proof" in saved["note"]
    there = len(checkpoint.steps(path / "checkpoints"))
    assert verdict.recorded(path) == (True, saved["at"], 12, 12, True, (there, there))
    assert said() == (
        f"passed on {saved['at'][:10]}: 12 of 12 steps and the arrays of {there} of {there} checkpoints made again and "
        "equal bit for bit (a record of jaxgen verify, not a proof)"
    )
    older = {name: value for name, value in saved.items() if not name.startswith(("checkpoints", "sha256"))}
    write_json(path / verdict.RECORD, older)
    assert "12 of 12 steps made again" in said()
    found.write_record()
    assert verify(path, all=True).passed  # the record is no part of what is proved
    (path / verdict.RECORD).write_text((path / verdict.RECORD).read_text().replace("true", "false", 1))
    assert said().startswith("not yet")  # its checksum is wrong
    found.write_record()
    longer = make_settings(epochs=3)
    experiments.train(Experiment("tiny", autoencoder, {"one": longer}), longer)
    assert said().startswith("not yet")  # the settings have another length
    lines = (path / "metrics.jsonl").read_text().splitlines()
    (path / "metrics.jsonl").write_text("\n".join(lines[:1] + lines[2:]) + "\n")
    wrong = verify(path, all=True)
    assert not wrong.passed
    wrong.write_record()
    assert said().startswith("NOT passed on ")
