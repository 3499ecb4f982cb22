import contextlib
import hashlib
import json
import os
import shutil
from types import SimpleNamespace

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.runs.checkpoint import Checkpoints, Reader, steps


def tree(value):
    return {
        "w": jnp.full((50, 40), value),
        "nested": (jnp.int32(value), jnp.full((), -1, jnp.int32)),
        "half": jnp.full(3, value, jnp.bfloat16),
    }


@pytest.fixture
def three(tmp_path):
    """A folder with checkpoints 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path / "c", keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step), {"seconds": step / 10})
    checkpoints.close()
    return tmp_path / "c"


def restored(folder, warn=print):
    checkpoints = Checkpoints(folder, keep=3, warn=warn)
    try:
        return checkpoints.restore(tree(0))
    finally:
        checkpoints.close()


def test_round_trip_keeps_every_bit_type_and_structure(three):
    step, got, meta = restored(three)
    assert (step, meta) == (3, {"seconds": 0.3})
    chex.assert_trees_all_equal(got, tree(3))
    chex.assert_trees_all_equal_dtypes(got, tree(3))


def test_nothing_to_restore(tmp_path):
    assert restored(tmp_path / "new") is None


def test_newest_and_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, score in enumerate((5.0, 1.0, 3.0, 4.0, 2.0), start=1):
        checkpoints.save(step, tree(step), {}, score)
    checkpoints.close()
    assert steps(tmp_path) == [2, 4, 5]
    again = Checkpoints(tmp_path, keep=2)
    again.restore(tree(0))
    again.save(6, tree(6), {}, 1.5)
    again.close()
    assert steps(tmp_path) == [2, 5, 6]


def test_saving_copies_what_the_caller_then_overwrites(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    array = np.ones((300, 300), np.float32)
    checkpoints.save(1, {"x": array}, {})
    array[:] = 7
    checkpoints.close()
    again = Checkpoints(tmp_path, keep=2)
    np.testing.assert_array_equal(again.restore({"x": jnp.zeros((300, 300))})[1]["x"], 1)
    again.close()


def test_a_full_disk_is_one_line_and_costs_nothing_saved(three, monkeypatch):
    checkpoints = Checkpoints(three, keep=3)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(UserError, match=r"the disk is full.*mend that and run the same command again"):
            checkpoints.save(4, tree(4), {})
    checkpoints.close()
    assert steps(three) == [1, 2, 3]


def data_files(folder):
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: -p.stat().st_size)


def flip(path):
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 4, len(content), max(1, len(content) // 50)):
        content[position] ^= 0xFF
    path.write_bytes(content)


def make_empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def truncate_all(folder):
    for path in data_files(folder):
        os.truncate(path, path.stat().st_size // 2)


def flip_all_arrays(folder):
    for path in data_files(folder / "arrays"):
        flip(path)


def drop_manifest(folder):
    shutil.rmtree(folder / "manifest")


def change_manifest(folder, change, seal):
    path = next(p for p in (folder / "manifest").rglob("*") if p.is_file() and b"sha256" in p.read_bytes())
    record = json.loads(path.read_text())
    change(record)
    if seal:
        del record["sha256"]
        text = json.dumps(record, sort_keys=True)
        record["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(record))


def lie_in_manifest(folder):
    """One array's hash is another: the case of bits flipped where the file format does not notice."""
    change_manifest(folder, lambda record: record["arrays"]["w"].update(sha256="0" * 64), seal=True)


def flip_a_name_in_manifest(folder):
    """Without the manifest's own hash, this would pass for another version of the code."""
    change_manifest(folder, lambda record: record["arrays"].update(v=record["arrays"].pop("w")), seal=False)


def flip_a_number_in_manifest(folder):
    change_manifest(folder, lambda record: record["meta"].update(seconds=0.2), seal=False)


def change_orbax_notes(folder):
    notes = json.loads((folder / "_CHECKPOINT_METADATA").read_text())
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps({**notes, "init_timestamp_nsecs": {}}))


def garble_orbax_notes(folder):
    (folder / "_CHECKPOINT_METADATA").write_bytes(b"\xff{")


DAMAGES = (
    *(change_orbax_notes, garble_orbax_notes),
    *(make_empty, truncate_all, flip_all_arrays, drop_manifest),
    *(lie_in_manifest, flip_a_name_in_manifest, flip_a_number_in_manifest),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_step_falls_back_and_says_so(three, damage, capsys):
    damage(three / "3")
    step, got, _ = restored(three)
    assert step == 2
    chex.assert_trees_all_equal(got, tree(2))
    assert "checkpoint 3 is damaged" in capsys.readouterr().out
    assert (three.parent / "damaged-3").exists()
    assert restored(three)[0] == 2


def test_the_fallback_can_be_saved_over(three):
    make_empty(three / "3")
    checkpoints = Checkpoints(three, keep=3)
    checkpoints.restore(tree(0))
    checkpoints.save(3, tree(33), {})
    checkpoints.close()
    step, got, _ = restored(three)
    assert step == 3
    chex.assert_trees_all_equal(got, tree(33))


def test_all_damaged_is_a_fresh_start(three, capsys):
    for step in (1, 2, 3):
        make_empty(three / str(step))
    assert restored(three) is None
    assert capsys.readouterr().out.count("damaged") >= 3


def test_another_structure_is_refused_not_set_aside(three):
    checkpoints = Checkpoints(three, keep=3)
    with pytest.raises(UserError, match="does not fit this version of the code: w is"):
        checkpoints.restore({**tree(0), "w": jnp.zeros((5, 5))})
    checkpoints.close()
    assert steps(three) == [1, 2, 3]


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("damage", DAMAGES)
def test_reading_passes_over_a_damaged_step_and_changes_nothing(three, damage):
    damage(three / "3")
    (three / "4.orbax-checkpoint-tmp-1" / "arrays").mkdir(parents=True)  # of a run that is being trained
    before, warnings = contents(three.parent), []
    with contextlib.closing(Reader(three, warnings.append)) as reader:
        step, arrays, manifest = reader.newest()
        with pytest.raises(UserError, match="checkpoint 3 is damaged"):
            reader.at(3)
        with pytest.raises(UserError, match=r"no checkpoint of step 7; there are \[1, 2, 3\]"):
            reader.at(7)
        chex.assert_trees_all_equal(reader.at(1, tree(0))[1], tree(1))
    assert step == 2
    assert manifest["arrays"].keys() == arrays.keys()
    np.testing.assert_array_equal(arrays["w"], tree(2)["w"])
    assert warnings[0].startswith("checkpoint 3 is damaged")
    assert len(warnings) == 1
    assert contents(three.parent) == before
