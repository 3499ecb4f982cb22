import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
from forging import (
    CONFIGS,
    contents,
    edited,
    resealed,
    settings_of,
    swapped,
    trained,
    with_arrays,
    with_manifest,
    with_rows,
)
from tiny_runs import tiny_dataset

from jaxgen import data
from jaxgen.data.rows import of_arrays
from jaxgen.engine import members as members_lib
from jaxgen.errors import SettingError, UserError
from jaxgen.proof import stretches
from jaxgen.proof.verify import verify
from jaxgen.runs import lock, machine
from jaxgen.runs.fit import Task, execute

pytestmark = pytest.mark.usefixtures("tiny")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """The directory of an honest run of each algorithm, not to be changed."""

    @functools.cache
    def once(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(data, "load", lambda settings, on_device=True: tiny_dataset())
            return trained(name, tmp_path_factory.mktemp(name), seed=3)

    return once


@pytest.fixture(params=list(CONFIGS))
def honest(request, trained_once):
    """An algorithm's name and its run, not to be changed."""
    return request.param, trained_once(request.param)


@pytest.fixture(scope="module")
def honest_members(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda settings, on_device=True: tiny_dataset())
        return trained("autoencoder", tmp_path_factory.mktemp("members"), seeds=3)


@pytest.fixture
def forged(honest, tmp_path):
    """A copy to tamper with."""
    return honest[0], shutil.copytree(honest[1], tmp_path / "forged")


def assert_passes(path, **options):
    verdict = verify(path, **options)
    assert verdict.passed, "\n".join(verdict.lines())
    assert verdict.exact
    return verdict


def assert_fails(path, said):
    verdict = verify(path, all=True)
    assert not verdict.passed
    assert "is NOT proved" in verdict.lines()[0]
    found = [difference for stretch in verdict.stretches for difference in stretch.differences]
    text = "\n".join([*found, *verdict.problems])
    assert said in text, text


def test_an_honest_run_passes_and_its_directory_is_left_alone(honest):
    path = honest[1]
    before = contents(path)
    whole = assert_passes(path, all=True)
    assert contents(path) == before
    assert [stretch[:2] for stretch in whole.stretches] == [(0, 6), (6, 12), (12, 18)]
    logged = [name for line in (path / "metrics.jsonl").open() for name in json.loads(line) if "/" in name]
    assert sum(stretch.numbers for stretch in whole.stretches) == len(logged)
    assert min(stretch.arrays for stretch in whole.stretches) > 5
    assert json.loads(json.dumps(whole.to_json()))["passed"] is True
    assert (whole.whole, whole.compared, whole.checkpoints) == (3, 3, 3)
    assert "3 of 3 stretches (18 of 18 steps) made again" in whole.lines()[0]
    assert not any(line.startswith("not compared") for line in whole.lines())


def test_a_short_run_is_made_again_in_part_and_says_in_which(honest):
    """One stretch of the two is whole, of the other there is an interval."""
    part, again = (assert_passes(honest[1], segments=2, seed=7) for _ in range(2))
    assert part.stretches == again.stretches
    assert [(one.last - one.first, one.arrays > 0) for one in part.stretches] == [(6, True), (4, False)]
    assert (part.whole, part.compared, part.checkpoints, part.made) == (1, 1, 3, 10)
    assert "1 of 3 stretches and the beginning of 1 more (10 of 18 steps, chosen with seed 7) made" in part.lines()[0]
    assert "arrays of 1 of 3 checkpoints compared bit for bit" in part.lines()[0]
    assert part.lines()[1] == (
        "not compared: 8 steps, the arrays of 2 checkpoints, the result, the sessions and the fitted settings (--all "
        "compares all)"
    )
    record = part.to_json()
    assert (record["steps_made_again"], record["checkpoints_compared"], record["checkpoints"]) == (10, 1, 3)


def test_a_number_that_was_made_again_is_compared_and_another_is_not(honest, tmp_path):
    path = shutil.copytree(honest[1], tmp_path / "forged")
    edited(path, 8, f"train/{ANY[honest[0]]}", last_digit)
    found = {seed: verify(path, segments=1, seed=seed) for seed in range(8)}
    assert {one.passed for one in found.values()} == {True, False}
    assert all(one.passed == (one.stretches[0].first != 6) for one in found.values())


def test_stretches_are_cut_to_the_steps_there_are_but_for_the_shortest():
    ten = [(100 * place, 100 * place + 100) for place in (1, 4, 8)]
    assert stretches.cut(ten, 300, 10) == ten
    assert stretches.cut(ten, 1000, 10) == ten
    assert stretches.cut(ten, 150, 10) == [(100, 200), (400, 420), (800, 830)]
    assert stretches.cut(ten, 0, 10) == [(100, 200), (400, 410), (800, 810)]
    assert stretches.cut([(0, 3), (95, 400), (400, 407)], 60, 10) == [(0, 3), (95, 140), (400, 407)]
    assert stretches.cut([(0, 50)], 1, 10) == [(0, 50)]


def test_a_short_stretch_is_among_those_chosen_if_there_is_one():
    long = [(100 * place, 100 * place + 100) for place in range(20)]
    both = [*long, (2000, 2009), (2009, 2015)]
    for seed in range(40):
        plain, found = stretches.chosen(both, 5, seed), stretches.chosen(both, 5, seed, steps=100)
        assert found == sorted(found)
        assert len(set(found)) == 5
        assert set(found) & {*both[20:]}
        assert len(set(found) & set(plain)) >= 4
        assert found == plain or not set(plain) & {*both[20:]}
        assert stretches.chosen(long, 5, seed, steps=100) == stretches.chosen(long, 5, seed)


def in_settings(change):
    return lambda path: resealed(path / "settings.json", change)


def both(field, value):
    """A hyperparameter in the settings and among the fitted ones."""

    def change(record):
        for part in (record["settings"], record["fitted"]):
            inner = part["hparams"]
            *folders, last = field.split(".")
            for folder in folders:
                inner = inner[folder]
            assert inner[last] != value
            inner[last] = value

    return in_settings(change)


RATE = {"gan": "generator.learning_rate"}
ANY = {"autoencoder": "loss", "vae": "loss", "iwae": "loss", "gan": "generator_loss", "dqn": "loss"}


def last_digit(value):
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


def a_test(path):
    return next(name for row in rows(path) for name in row if name.startswith("test/"))


def nudged(arrays):
    name = max((name for name in arrays if name.startswith("state.")), key=lambda name: arrays[name].nbytes)
    arrays[name].reshape(-1).view(np.uint8)[0] ^= 1


FORGERIES = {
    "a hyperparameter": (lambda path, name: both(RATE.get(name, "learning_rate"), 0.0123)(path), "made again it is"),
    "a hyperparameter, not the fitted one": (
        lambda path, name: in_settings(lambda r: r["fitted"]["hparams"].popitem())(path), "the fitted hparams.",
    ),
    "a metric's last digit": (
        lambda path, name: edited(path, 8, f"train/{ANY[name]}", last_digit), "of step 8 is logged as",
    ),
    "an evaluation": (
        lambda path, name: edited(path, 12, a_test(path), last_digit),
        "of step 12 is logged as",
    ),
    "another seed": (lambda path, name: in_settings(lambda r: r["settings"]["run"].update(seed=4))(path), "arrays of"),
    "a checkpoint swapped": (lambda path, name: swapped(path, 6, 12), "arrays of checkpoint 6 differ"),
    "a checkpoint altered with its manifest": (
        lambda path, name: with_arrays(path, 12, nudged), "1 of",
    ),
    "the last checkpoint altered with its manifest": (
        lambda path, name: with_arrays(path, 18, nudged), "arrays of checkpoint 18 differ, first state.",
    ),
    "a row removed": (
        lambda path, name: with_rows(path, lambda rows: [row for row in rows if row["step"] != 8]), "is missing",
    ),
    "the last rows removed": (lambda path, name: with_rows(path, lambda rows: rows[:-2]), "is missing"),
    "a row repeated": (lambda path, name: with_rows(path, lambda rows: [*rows, rows[0]]), "has two train rows"),
    "a row invented": (
        lambda path, name: with_rows(path, lambda rows: [*rows, {**rows[0], "step": 10}]), "was not due",
    ),
    "a number invented": (
        lambda path, name: with_rows(path, lambda rows: [{**rows[0], "train/skill": 1.0}, *rows[1:]]), "not computed",
    ),
    "the result": (
        lambda path, name: resealed(
            path / "result.json", lambda r: r.update({k: v + 0.5 for k, v in r.items() if k.startswith("test/")})
        ),
        "result.json has test/",
    ),
    "the time taken": (
        lambda path, name: resealed(path / "result.json", lambda r: r.update(train_seconds=0.1)), "train_seconds",
    ),
    "an alarm hidden or invented": (
        lambda path, name: resealed(path / "result.json", lambda r: r.update(alarm="none")), "result.json has alarm",
    ),
    "fewer epochs": (
        lambda path, name: in_settings(lambda r: r["settings"]["run"].update(epochs=2))(path), "its settings end at 12",
    ),
    "other intervals": (
        lambda path, name: in_settings(lambda r: r["settings"]["run"].update(log_every=2))(path), "is missing",
    ),
    "the batch size": (
        lambda path, name: in_settings(
            lambda r: [p["config"].update(batch_size=7) for p in (r["settings"], r["fitted"])]
        )(path),
        "made again",
    ),
    "the best step": (
        lambda path, name: with_manifest(path, 18, lambda r: r["best"].update(step=6, score=-1.0)),
        "checkpoint 18 names step 6",
    ),
    "no sessions": (lambda path, name: (path / "sessions.json").unlink(), "sessions.json is missing"),
}  # fmt: skip


def rows(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").open()]


@pytest.mark.parametrize("how", list(FORGERIES)[:8])
def test_a_forgery_is_caught(forged, how):
    name, path = forged
    forge, said = FORGERIES[how]
    forge(path, name)
    assert_fails(path, said)


@pytest.mark.parametrize("name", [name if name == "gan" else pytest.param(name, marks=slow) for name in CONFIGS])
@pytest.mark.parametrize("how", list(FORGERIES)[8:])
def test_a_forgery_that_any_algorithm_shows_is_caught(name, how, trained_once, tmp_path):
    path = shutil.copytree(trained_once(name), tmp_path / "forged")
    forge, said = FORGERIES[how]
    forge(path, name)
    assert_fails(path, said)


MEMBER_FORGERIES = {
    "a member's number": (
        lambda path: edited(path, 8, "train/loss", lambda v: [v[0], last_digit(v[1]), v[2]]), "train/loss of step 8",
    ),
    "two members exchanged": (
        lambda path: edited(path, 8, "train/loss", lambda v: [v[1], v[0], v[2]]), "train/loss of step 8",
    ),
    "a member's hyperparameter": (
        in_settings(lambda r: r["members"]["hparams"]["learning_rate"].__setitem__(2, 0.5)), "train/loss of step",
    ),
    "a member's seed": (in_settings(lambda r: r["members"]["seeds"].__setitem__(1, 9)), "train/loss of step"),
    "a member left out": (
        in_settings(lambda r: [r["members"]["seeds"].pop(), r["members"]["hparams"]["learning_rate"].pop()]), "",
    ),
    "a member's arrays": (lambda path: with_arrays(path, 18, nudged), "1 of"),
}  # fmt: skip


@pytest.mark.parametrize("how", MEMBER_FORGERIES)
def test_a_forged_member_is_caught(honest_members, tmp_path, how):
    path = shutil.copytree(honest_members, tmp_path / "forged")
    forge, said = MEMBER_FORGERIES[how]
    forge(path)
    assert_fails(path, said)


def test_members_of_many_kinds_pass(honest_members, tmp_path):
    assert len(assert_passes(honest_members, all=True).stretches) == 3
    hparams = [CONFIGS["vae"][0].HParams(learning_rate=rate) for rate in (1e-3, 1e-2)]
    assert_passes(trained("vae", tmp_path, members=members_lib.stack([5, 6], hparams)), all=True)


def test_a_sharded_run_passes_and_its_last_digit_counts(tmp_path):
    path = trained("autoencoder", tmp_path, devices=2)
    assert_passes(path, all=True)
    edited(path, 8, "train/loss", last_digit)
    assert_fails(path, "of step 8 is logged as")


def test_a_streamed_run_passes(tmp_path, monkeypatch):
    pytest.importorskip("grain")
    made = tiny_dataset()
    streamed = dataclasses.replace(made, train=of_arrays(made.train))
    monkeypatch.setattr(data, "load", lambda settings, on_device=True: streamed)
    path = trained("vae", tmp_path)
    assert_passes(path, all=True)
    edited(path, 8, "train/loss", last_digit)
    assert_fails(path, "of step 8 is logged as")


def test_arrays_are_given_again(tmp_path, monkeypatch):
    settings = dataclasses.replace(settings_of("vae", tmp_path), data=None)
    path = execute(Task("vae", CONFIGS["vae"][0], settings, dataset=tiny_dataset())).directory
    with pytest.raises(UserError, match="give them as dataset="):
        verify(path)
    assert_passes(path, all=True, dataset=tiny_dataset())
    other = dataclasses.replace(
        tiny_dataset(), train=tiny_dataset().train._replace(images=tiny_dataset().train.images + 1)
    )
    assert not verify(path, dataset=other).passed


def test_an_unfinished_run_is_made_again_up_to_its_last_row(honest, tmp_path):
    name, _ = honest
    path = trained(name, tmp_path, on_evaluation=lambda snapshot: snapshot.step == 12)
    ended = assert_passes(path, all=True)
    assert "ended by its callback at step 12 of 18" in ended.notes
    (path / "result.json").unlink()
    shutil.rmtree(path / "checkpoints" / "12")
    verdict = assert_passes(path, all=True)
    assert [stretch[:2] for stretch in verdict.stretches] == [(0, 6), (6, 12)]
    assert verdict.stretches[-1].arrays == 0
    assert "not finished: 12 of 18 steps" in verdict.notes
    shutil.rmtree(path / "checkpoints")
    assert [stretch[:2] for stretch in assert_passes(path).stretches] == [(0, 12)]


def test_a_prolonged_run_with_odd_intervals_passes(tmp_path):
    options = {"log_every": 5, "evaluate_every": 2, "save_every": 0, "keep": 9}
    path = trained("autoencoder", tmp_path, epochs=3, **options)
    assert_passes(path, all=True)
    trained("autoencoder", tmp_path, epochs=7, **options)
    assert {row["step"] for row in rows(path) if "test/loss" in row} == {12, 18, 24, 36, 42}
    assert [stretch[:2] for stretch in assert_passes(path, all=True).stretches][-1][1] == 42


def test_rounding_is_allowed_for_elsewhere(honest, tmp_path):
    path = shutil.copytree(honest[1], tmp_path / "moved")
    file = path / "sessions.json"
    sessions = json.loads(file.read_text())
    for session in sessions:
        del session["sha256"]
        session["processor"]["model"] = "another"
    file.write_text(json.dumps(sessions))
    edited(path, 8, f"train/{ANY[honest[0]]}", lambda value: value * 1.001)
    verdict = verify(path, all=True)
    assert verdict.passed
    assert not verdict.exact
    assert [stretch[:2] for stretch in verdict.stretches] == [(0, 4), (6, 8), (12, 16)]
    assert "its training was done elsewhere" in verdict.notes[0]
    assert "to rounding (2% plus 0.001)" in verdict.lines()[0]
    edited(path, 8, f"train/{ANY[honest[0]]}", lambda value: value * 1.5 + 1)
    assert not verify(path, all=True).passed


def test_a_session_elsewhere_is_a_part(honest, tmp_path, monkeypatch):
    path = shutil.copytree(honest[1], tmp_path / "moved")
    monkeypatch.setattr(machine, "model", lambda: "another")
    trained(honest[0], tmp_path, directory="moved", seed=3, epochs=4)
    assert "a part of its training" in verify(path, segments=1).notes[0]


def test_a_run_being_trained_is_refused(honest, tmp_path):
    path = shutil.copytree(honest[1], tmp_path / "live")
    held = lock.attempt(path / ".lock")
    with pytest.raises(UserError, match="is being trained right now"):
        verify(path)
    held.release()
    assert_passes(path, segments=1)


def test_other_data_other_seals_and_no_segments_are_refused(honest, tmp_path):
    path = shutil.copytree(honest[1], tmp_path / "other")
    with pytest.raises(SettingError, match="segments = 0"):
        verify(path, segments=0)
    text = (path / "settings.json").read_text()
    (path / "settings.json").write_text(text.replace('"seed": 3', '"seed": 4', 1))
    with pytest.raises(UserError, match="is damaged"):
        verify(path)
    (path / "settings.json").write_text(text)
    if honest[0] != "dqn":
        resealed(path / "settings.json", lambda record: record["data"].update(version="2"))
        with pytest.raises(UserError, match="the data are now"):
            verify(path)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=slow) if seed >= 6 else seed for seed in range(20)])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_hundred_honest_runs_pass(name, seed, tmp_path):
    """Other seeds, lengths, intervals and chunks; every third one continued by another call."""
    rng = np.random.default_rng(seed)
    evaluate_every, save_every, chunk_steps = (int(rng.integers(1, high)) for high in (3, 3, 9))
    log_every = 4 if seed < 6 else int(rng.integers(1, 8))  # another one is compiled anew
    options = {"seed": seed + 100, "log_every": log_every, "evaluate_every": evaluate_every, "keep": 9}
    options |= {"save_every": save_every, "chunk_steps": chunk_steps}
    if seed % 3 == 0:
        trained(name, tmp_path, epochs=1, **options)
    path = trained(name, tmp_path, epochs=int(rng.integers(2, 5)), **options)
    assert_passes(path, all=True)
