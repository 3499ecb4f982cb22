"""Checks in processes of their own: one that crashes, hangs or fails is one line, the others go on."""

import json
import sys

import pytest

from jaxgen import console
from jaxgen.doctor import results, series
from jaxgen.doctor.series import Worker

FAKE = """
import json, os, signal, sys, time
checks = [[name, name == "last"] for name in ("good", "crash", "hang", "exit", "last")]
print(json.dumps({"head": {"jax": "1"}, "checks": checks}), flush=True)
for line in sys.stdin:
    match line.strip():
        case "crash": os.kill(os.getpid(), signal.SIGSEGV)
        case "hang": time.sleep(60)
        case "exit": sys.exit(3)
    answer = dict(name=line.strip(), status="ok", compares="", error=0.0, tolerance=0.0, seconds=0.0)
    print(json.dumps(answer), flush=True)
"""


def _fake(patience: float = 5.0) -> Worker:
    return Worker((sys.executable, "-c", FAKE), patience)


def test_the_others_go_on():
    heads, told = [], []
    every = series.run(heads.append, told.append, True, _fake, workers=2)
    assert heads == [{"jax": "1"}]
    assert [(result.name, result.status) for result in every] == [
        ("good", "ok"),
        ("crash", "failed"),
        ("hang", "failed"),
        ("exit", "failed"),
        ("last", "ok"),
    ]
    assert [result.note for result in every if result.status == "failed"] == [
        "the process ended by SIGSEGV",
        "not ready after 5 s",
        "exit code 3",
    ]
    assert sorted(told) == sorted(every)
    assert not results.passed(every)


def test_slow_checks_are_left_out_by_default():
    every = series.run(lambda head: None, lambda result: None, start=lambda: _fake(1.0), workers=2)
    assert [result.name for result in every] == ["good", "crash", "hang", "exit"]


def test_a_result_is_a_line():
    wrong = results.Result("a name", "WRONG", "this and that", 0.008, 1e-5, 0.1)
    line = results.line(wrong)
    assert line.split() == ["WRONG", "a", "name", "8.0e-03", "of", "1e-05", "this", "and", "that"]
    assert "1 WRONG" in results.summary([wrong], 1)
    assert "do not trust" in results.summary([wrong], 1)
    assert "computes right" in results.summary([wrong._replace(status="known")], 1)


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("known", 0), ("WRONG", 1), ("failed", 1)])
@pytest.mark.parametrize("as_json", [False, True])
def test_the_command(monkeypatch, capsys, status, code, as_json):
    result = results.Result("a", status, "b", 0.5, 0.1, 1.0, "c")

    def run(begin, report, full):
        assert not full
        begin({"jax": "1.2.3"})
        report(result)
        return [result]

    monkeypatch.setattr(series, "run", run)
    with pytest.raises(SystemExit) as stop:
        console.main(["doctor", *(["--json"] if as_json else [])])
    assert stop.value.code == code
    said = capsys.readouterr().out
    if as_json:
        found = json.loads(said)
        assert found["installation"] == {"jax": "1.2.3"}
        assert found["passed"] is (code == 0)
        assert found["checks"] == [result._asdict()]
    else:
        assert "1.2.3" in said
        assert results.line(result) in said


def test_the_command_loads_no_jax():
    import subprocess

    code = "import sys, jaxgen.console; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.slow
def test_this_jax_computes_right(capsys):
    with pytest.raises(SystemExit) as stop:
        console.main(["doctor"])
    assert stop.value.code == 0, capsys.readouterr().out
