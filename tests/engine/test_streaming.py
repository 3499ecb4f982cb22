"""Images from disk: the same batches as from the device, from any step, and a line where they cannot be read."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest
from training import train

from jaxgen import data
from jaxgen.algorithms import autoencoder
from jaxgen.data import rows
from jaxgen.data.dataset import Dataset, Split
from jaxgen.engine import batches, loop, parallel, streaming
from jaxgen.errors import SettingError, UserError
from jaxgen.runs import metrics
from jaxgen.runs.load import load

pytest.importorskip("grain", reason="grain is not installed")
KEY = loop.keys(3).order
CFG = autoencoder.Config(image_shape=(12, 12, 1), batch_size=8)


def arrays(count=53):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 12, 12, 1)).astype(np.uint8)
    return images, np.arange(count, dtype=np.int32)


def reader(images, labels, fails_at=None):
    def read(places):
        if fails_at in places:
            raise ValueError("not what it was\nat all")
        return [(images[place], labels[place]) for place in places]

    return rows.of_reader(read, len(labels), "/somewhere")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of four batches: an epoch of six has one of four and one of two."""
    monkeypatch.setattr(streaming, "BLOCK_STEPS", 4)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("first", [0, 9])
def test_every_batch_is_the_one_that_images_on_the_device_would_give(first, devices):
    images, labels = arrays()
    split, mesh = autoencoder.Batch(images, labels), parallel.mesh(devices)
    stream = streaming.Stream(reader(images, labels), autoencoder.Batch, 8, KEY, mesh)
    of_block, of_split = batches.of_block(split, CFG, stream.steps), batches.of_split(split, CFG)
    assert stream.steps == 4
    assert [stream.end(step) for step in (0, 3, 4, 5, 6, 11)] == [4, 4, 6, 6, 10, 12]
    try:
        for t in range(first, 20):
            block = stream.block(t)
            assert {len(leaf.sharding.device_set) for leaf in block} == {devices}
            got = of_block(block, KEY, None, None)(t)
            jax.tree.map(
                np.testing.assert_array_equal, got, of_split(jax.device_put(split), KEY, t // 6 * 6, t // 6 * 6 + 6)(t)
            )
    finally:
        stream.close()


def test_blocks_are_small_where_images_are_large():
    large = Split(np.zeros((64, 512, 512, 3), np.uint8), np.zeros(64, np.int32))
    stream = streaming.Stream(rows.of_arrays(large), autoencoder.Batch, 16, KEY, None)
    assert stream.steps * 16 * 512 * 512 * 3 <= streaming.BLOCK_BYTES
    assert stream.steps == 2


@pytest.fixture
def both(monkeypatch):
    """A data set on the device, or from a reader with data.streaming."""
    images, labels = arrays()
    test = Split(jax.device_put(images[:20]), jax.device_put(labels[:20]))

    def load(settings, on_device=True):
        train = reader(images, labels % 3) if settings.streaming else Split(images, labels % 3)
        return Dataset("tiny", "1", train, test, ("a", "b", "c"))

    monkeypatch.setattr(data, "load", load)


def go(made, streamed, draw=lambda snapshot: None):
    made = dataclasses.replace(made, data=dataclasses.replace(made.data, streaming=streamed))
    return train("tiny", autoencoder, made, draw)


@pytest.mark.usefixtures("both", "small_blocks")
def test_a_streamed_run_is_the_run_on_the_device(make_settings):
    resident = go(make_settings(name="resident"), False)
    streamed = go(make_settings(name="streamed"), True)
    assert metrics.read(streamed / "metrics.jsonl") == metrics.read(resident / "metrics.jsonl")


@pytest.mark.usefixtures("both", "small_blocks")
def test_a_streamed_run_resumes_at_the_exact_batch(make_settings):
    whole = go(make_settings(name="whole"), True)
    with pytest.raises(SystemExit):
        go(make_settings(name="cut", chunk_steps=1, draw_every=1), True, interrupt_after(6))
    assert metrics.read(make_settings().run.root / "cut" / "metrics.jsonl")[-1]["step"] < 9
    cut = go(make_settings(name="cut", chunk_steps=5), True)
    assert metrics.read(cut / "metrics.jsonl") == metrics.read(whole / "metrics.jsonl")
    jax.tree.map(
        np.testing.assert_array_equal, load(cut, algorithm=autoencoder).state, load(whole, algorithm=autoencoder).state
    )


def interrupt_after(step):
    def draw(snapshot):
        if int(snapshot.state.step) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return draw


@pytest.mark.usefixtures("both")
def test_a_run_streamed_to_four_devices_is_the_run_on_one(make_settings):
    alone = metrics.read(go(make_settings(name="alone"), True) / "metrics.jsonl")
    shared = metrics.read(go(make_settings(name="shared", devices=4), True) / "metrics.jsonl")
    for got, wanted in zip(shared, alone, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


def test_what_cannot_be_read_ends_the_run_in_a_line(make_settings, monkeypatch):
    images, labels = arrays()
    train_split, test = reader(images, labels % 3, fails_at=30), Split(images[:20], labels[:20])
    dataset = Dataset("tiny", "1", train_split, test, ("a", "b", "c"))
    monkeypatch.setattr(data, "load", lambda settings, on_device=True: dataset)
    with pytest.raises(UserError, match=r"/somewhere cannot be read, in rows \d+ to \d+: not what it was at all$"):
        go(make_settings(), True)


def test_images_of_other_sizes_are_refused():
    images, labels = list(arrays()[0]), arrays()[1]
    images[5] = images[5][:8]
    split = reader(images, labels)
    assert split.images[0].shape == (12, 12, 1)
    with pytest.raises(SettingError, match=r"images of /somewhere differ in size \(12x12 and 8x12\); try --data.size"):
        split.examples(np.array([4, 5]))


def test_many_members_cannot_be_streamed(make_settings):
    with pytest.raises(SettingError, match=r"data.streaming = True is not allowed: False with many members"):
        go(make_settings(seeds=2), True)
