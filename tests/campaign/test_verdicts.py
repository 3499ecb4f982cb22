"""The campaign's own judgment: it sees a trace, a hang, a wrong array, a lost run and a careless exit."""

import json
import random
import signal
from pathlib import Path

import pytest
import vae_mnist

from . import server, strikes, verdicts
from .kinds import damage, folders, fuzz, signals
from .strikes import Operation
from .verdicts import EQUAL, HANG, LOST, RAN, SAID, SILENT, TRACE, Done

pytestmark = [pytest.mark.filterwarnings("ignore:.*fork"), pytest.mark.filterwarnings("ignore:os.fork")]
LOOK = {"rows": [{"step": 1, "train/loss": 0.5}], "result": {"step": 1}, "step": 1, "arrays": {"state.w": "abc"}}


def done(code=0, out="", err="", hang=""):
    return Done(code, out, err, 1.0, hang)


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (done(1, err='Traceback (most recent call last):\n  File "x"\nKeyError: 1'), TRACE),
        (done(0, err="Exception ignored in: <function f>\nRuntimeError: Event loop is closed"), TRACE),
        (done(1, err="error: no\n" + "more\n" * 10), TRACE),
        (done(-signal.SIGSEGV, err="Fatal Python error: Segmentation fault"), TRACE),
        (done(3, err="odd"), TRACE),
        (done(-9, hang="still running after 20 s"), HANG),
        (done(-signal.SIGTERM), SILENT),
        (done(1), SILENT),
        (done(2, err="usage: something"), SILENT),
    ],
)
def test_bad_manners_are_seen(ended, verdict):
    assert verdicts.manners(ended)[0] == verdict


@pytest.mark.parametrize(
    "ended", [done(), done(2, err="error: x = 1 is not allowed: 2\n"), done(0, err="jaxgen: a remark\n")]
)
def test_good_manners_are_no_fault(ended):
    assert verdicts.manners(ended) is None


@pytest.mark.parametrize(
    ("found", "said", "verdict"),
    [
        ({}, "", EQUAL),
        ({}, "jaxgen: checkpoint 2 is damaged, falling back\n", EQUAL),
        ({"arrays": {"state.w": "abd"}}, "", SILENT),
        ({"arrays": {"state.w": "abd"}}, "jaxgen: a warning excuses no wrong array\n", SILENT),
        ({"arrays": {}}, "", SILENT),
        ({"rows": []}, "", SILENT),
        ({"rows": []}, "metrics.jsonl: line 1 is damaged and left out\n", SAID),
        ({"result": {"step": 2}}, "", SILENT),
        ({"step": 0}, "", SILENT),
    ],
)
def test_a_finished_run_is_compared_with_the_undisturbed_one(found, said, verdict):
    assert verdicts.finished(done(err=said), {**LOOK, **found}, LOOK)[0] == verdict


def test_an_older_checkpoint_is_sound_if_it_is_what_it_was():
    older = {**LOOK, "step": 0, "arrays": {"state.w": "old"}}
    warned = done(err="jaxgen: checkpoint 1 is damaged, falling back to the one before it\n")
    history = {"0": {"state.w": "old"}, "1": {"state.w": "abc"}}
    assert verdicts.finished(warned, older, LOOK, history=history)[0] == SAID
    assert verdicts.finished(done(), older, LOOK, history=history)[0] == SILENT
    assert verdicts.finished(warned, {**older, "arrays": {"state.w": "new"}}, LOOK, history=history)[0] == SILENT
    assert verdicts.finished(warned, older, LOOK)[0] == SILENT


def test_a_run_that_should_have_gone_on_is_lost():
    assert verdicts.finished(done(1, err="error: cannot go on\n"), {}, LOOK)[0] == LOST


def test_the_gravest_verdict_counts():
    assert verdicts.worst((EQUAL, ""), None, (TRACE, "a"), (SILENT, "b")) == (TRACE, "a")
    assert set(verdicts.FAILURES) < set(verdicts.VERDICTS)


@pytest.mark.parametrize(
    ("ended", "steps", "verdict"),
    [
        (done(143, out="stopped and saved at step 5; run the same command\n"), [5], EQUAL),
        (done(143, out="stopped and saved at step 5; run the same command\n"), [4], SILENT),
        (done(-signal.SIGTERM), [], SILENT),
        (done(-signal.SIGTERM, out="stopped and saved at step 5; run the same command\n"), [5], EQUAL),
        (done(143), [5], SILENT),
        (done(130, out="stopped and saved at step 5\n"), [5], TRACE),
        (done(143, err="Traceback (most recent call last):\nKeyboardInterrupt"), [], TRACE),
    ],
)
def test_signals_are_judged_by_code_word_and_checkpoint(ended, steps, verdict):
    assert signals.judge(ended, signal.SIGTERM, steps)[0] == verdict


def test_fuzzed_commands_are_judged_by_what_they_leave_and_accept(tmp_path):
    refusal = done(2, err="error: config.widths = (10000000,) is not allowed\n")
    assert fuzz.judge(refusal, [], tmp_path, "run")[0] == SAID
    assert fuzz.judge(done(), ["--hparams.learning-rate=1e-3"], tmp_path, "run")[0] == RAN
    assert fuzz.judge(done(), ["--hparams.learning-rate=1e-46"], tmp_path, "run")[0] == SILENT
    assert fuzz.judge(done(), ["--hparams.learning-rate=1e-46", "--help"], tmp_path, "run")[0] == RAN
    assert fuzz.judge(done(), ["--hparams.eps=inf"], tmp_path, "run")[0] == SILENT
    assert fuzz.judge(done(), ["--axis", "config.image_shape=8,8,1"], tmp_path, "sweep")[0] == SILENT
    (tmp_path / "runs" / "r").mkdir(parents=True)
    assert fuzz.judge(refusal, [], tmp_path, "run")[0] == SILENT


def test_every_field_gets_words_of_every_kind():
    rng = random.Random(0)
    hints = fuzz.fields_of(vae_mnist.EXPERIMENT.settings("quick"))
    assert {"config.widths", "hparams.learning_rate", "run.name", "data.source", "data.path"} <= hints.keys()
    for name, hint in hints.items():
        words = {word for _ in range(50) for word in fuzz.option(name, hint, rng)}
        assert len(words) > 1
    assert fuzz.without(["--a", "1", "2", "--b", "3", "--a=4"], "--a") == ["--b", "3"]


@pytest.mark.parametrize("how", damage.DAMAGES)
def test_every_damage_changes_the_file_and_repeats(how):
    text = json.dumps({"step": 12, "values": [1.5, None], "name": "x"}).encode()
    changed = [damage.DAMAGES[how](text, random.Random(seed)) for seed in range(20)]
    assert sum(one != text for one in changed) > 15
    assert changed == [damage.DAMAGES[how](text, random.Random(seed)) for seed in range(20)]
    damage.DAMAGES[how](b"", random.Random(0))
    if how == "reshaped":
        assert all(json.loads(one) is not text for one in changed)


def test_a_strike_hits_its_operation_and_nothing_else(tmp_path):
    full = strikes.Strike(Operation("open", "b", 1))

    def writes():
        strikes.Hook(Path.cwd(), tmp_path / "listing", full).install()
        for name in ("a", "b", "b", "c"):
            try:
                Path(name).write_text("x")
            except OSError as error:
                print(name, error.strerror)

    (tmp_path / "work").mkdir()
    ended, _ = server.call(writes, tmp_path / "work")
    assert (ended.code, ended.out) == (0, "b No space left on device\nc No space left on device\n")
    kinds = [Operation("open", name, nth) for name, nth in (("a", 0), ("b", 0), ("b", 1), ("c", 0))]
    assert strikes.read(tmp_path / "listing") == kinds


def test_a_child_that_hangs_or_raises_is_seen(tmp_path):
    import time

    (tmp_path / "work").mkdir()
    ended, value = server.call(lambda: time.sleep(60), tmp_path / "work", limit=0.2)
    assert value is None
    assert verdicts.manners(ended)[0] == HANG
    ended, value = server.call(lambda: 1 / 0, tmp_path / "work")
    assert value is None
    assert verdicts.manners(ended)[0] == TRACE
    ended, value = server.call(lambda: {"x": 1}, tmp_path / "work")
    assert value == {"x": 1}
    assert verdicts.manners(ended) is None


def test_a_forked_command_ends_as_a_process_does(tmp_path):
    args = ["--run.epochs", "0", "--data.source", "digits"]
    (tmp_path / "work").mkdir()
    forked, real = (server.start("ae_mnist", args, tmp_path / "work", real=real).wait() for real in (False, True))
    assert (forked.code, forked.out, forked.err) == (real.code, real.out, real.err)
    assert forked.err.startswith("error: run.epochs = 0 is not allowed")
    assert forked.code == 2


def test_phases_are_told_apart():
    paths = ["runs/r/settings.json", "runs/r/checkpoints/1", "", "runs/r/checkpoints/2", "", "runs/r/figures/a.png"]
    kinds = ["open", "os.rename", "chunk", "os.rename", "chunk", "open"]
    found = strikes.phases([Operation(kind, path, 0) for kind, path in zip(kinds, paths, strict=True)])
    assert {name: [op.path for op in ops] for name, ops in found.items()} == {
        "before the first": ["runs/r/settings.json"],
        "saving": ["runs/r/checkpoints/1", "runs/r/checkpoints/2"],
        "between": [""],
        "after the last": [""],
        "drawing": ["runs/r/figures/a.png"],
    }


def test_hostile_folders_are_made_as_they_say(tmp_path):
    rng = random.Random(0)
    for number, (name, add) in enumerate(folders.HOSTILE.items()):
        folder = tmp_path / str(number) / "pictures"
        folders.good(folder, rng, classes=2, images=2)
        if name != "a bomb":
            add(folder, rng)
        assert any(folder.iterdir()), name
