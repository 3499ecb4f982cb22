"""Executables from disk: the same numbers as compiled ones, and never those of something else."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from tiny_runs import tiny_dataset

from jaxgen.algorithms import autoencoder
from jaxgen.engine import executables, loop, members, placements, programs
from jaxgen.engine.programs import Programs
from jaxgen.losses import reconstruction
from jaxgen.nets import autoencoders as nets
from jaxgen.runs import session

CONFIG = autoencoder.Config(image_shape=(12, 12, 1), widths=(8,), batch_size=8)
HPARAMS = autoencoder.HParams()
CPU = jax.devices()[:1]


def another_process():
    """Forget all programs of this process, once all of them are written."""
    for thread in threading.enumerate():
        if thread.name == "keep an executable":
            thread.join()
    programs._kept.clear()
    executables._program.cache_clear()


@pytest.fixture
def store(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "jax"))  # the tests' own may have these programs
    compilation_cache.reset_cache()
    executables.use(tmp_path / "programs", lambda: {"processor": "a"})
    another_process()
    yield tmp_path / "programs"
    another_process()
    executables.use(None)
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


def trained(config=CONFIG, many=None, steps=4):
    """Rows, weights and evaluation after some steps; the arguments are donated as in a run."""
    data = session.batches_of(autoencoder, tiny_dataset())
    of = Programs(autoencoder, config, data, placements.of(0, many, None), 2)
    of.compile(HPARAMS if many is None else many.hparams)
    carry, chunk = of.chunk(of.start(), 0, steps)
    again, _ = of.chunk(carry, steps, steps + 1)
    return jax.tree.map(np.asarray, (chunk, again.sums, again.state.params, of.evaluate(again)))


def count_compilations(monkeypatch):
    made = []
    compile = Programs._compile
    monkeypatch.setattr(Programs, "_compile", lambda self, name: made.append(name) or compile(self, name))
    return made


def equal(one, other):
    assert jax.tree.all(jax.tree.map(lambda x, y: np.array_equal(x, y, equal_nan=True), one, other))


@pytest.mark.parametrize("count", [None, 3])
def test_a_later_process_loads_what_an_earlier_one_compiled(store, monkeypatch, count):
    many = None if count is None else members.of_seeds(0, count, HPARAMS)
    made = count_compilations(monkeypatch)
    first = trained(many=many)
    another_process()
    equal(trained(many=many), first)
    assert len(made) == 1
    executables.use(None)
    another_process()
    equal(trained(many=many), first)
    assert len(made) == 2


def test_other_settings_options_and_processors_have_other_programs(store, monkeypatch):
    made = count_compilations(monkeypatch)
    trained()
    another_process()
    trained(replace(CONFIG, widths=(9,)))
    another_process()
    jax.config.update("jax_default_matmul_precision", "highest")
    trained()
    jax.config.update("jax_default_matmul_precision", None)
    another_process()
    executables.use(store, lambda: {"processor": "b"})
    trained()
    assert len(set(made)) == len(made) == 4


def test_arguments_that_a_program_does_not_use_count(store):
    def first(used, unused):
        return used + 1

    texts, results = set(), []
    for count in (3, 4):
        arguments = jnp.ones(2), {"x": jnp.ones(count)}
        lowered = jax.jit(first).lower(*arguments)
        texts.add(lowered.as_text())
        results.append(executables.compile(lowered, CPU).call(*arguments))
        another_process()
    assert len(texts) == 1
    equal(*results)


def test_an_executable_whose_program_is_the_same_outlives_changes_of_the_source(store, monkeypatch):
    first = trained()
    kept = {path.name for path in store.glob("*.program")}
    another_process()
    monkeypatch.setattr(executables, "_source", lambda: "other source")
    equal(trained(), first)
    assert {path.name for path in store.glob("*.program")} == kept
    assert len(list(store.glob("*.set"))) == 2


@pytest.mark.parametrize("suffix", [".set", ".program"])
def test_damaged_files_are_made_again(store, monkeypatch, suffix):
    first = trained()
    another_process()
    for path in store.glob(f"*{suffix}"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    made = count_compilations(monkeypatch)
    equal(trained(), first)
    assert len(made) == 1
    another_process()
    equal(trained(), first)
    assert len(made) == 1


def test_functions_from_elsewhere_have_no_name(store, monkeypatch):
    assert executables.name((autoencoder.init,), CONFIG) is not None
    assert executables.name((autoencoder.init, lambda: 0), CONFIG) is None
    monkeypatch.setattr(autoencoder, "evaluate", lambda *args, **kwargs: {"loss": jnp.zeros(())})
    made = count_compilations(monkeypatch)
    trained()
    assert made == [None]
    assert not list(store.glob("*.set"))


@pytest.mark.parametrize(
    ("owner", "name", "value", "kept"),
    [
        (reconstruction, "bernoulli_cross_entropy", lambda *args, **kwargs: jnp.zeros(()), False),
        (nets.DenseEncoder, "__call__", lambda self, x: x, False),
        (reconstruction, "bernoulli_cross_entropy", reconstruction.squared_error, True),
        (loop, "SCALE", 2.0, True),
    ],
)
def test_programs_of_replaced_functions_and_constants_are_not_taken_for_the_sources(
    store, monkeypatch, owner, name, value, kept
):
    before = executables.name((autoencoder.init,), CONFIG)
    assert before == executables.name((autoencoder.init,), CONFIG)
    monkeypatch.setattr(owner, name, value, raising=False)
    after = executables.name((autoencoder.init,), CONFIG)
    assert (after is not None) == kept
    assert after != before


def test_a_call_is_kept_by_its_shapes_and_fixed_arguments(store):
    params = autoencoder.init(jax.random.key(0), HPARAMS, CONFIG).params
    codes = [np.zeros((n, CONFIG.code_size), np.float32) for n in (2, 3)]
    first = [executables.call(autoencoder.decode, CONFIG, params, code) for code in codes]
    another_process()
    for code, image in zip(codes, first, strict=True):
        equal(executables.call(autoencoder.decode, CONFIG, params, code), image)
        assert image.shape[0] == len(code)
    assert len(list(store.glob("*.set"))) == 2


def test_arguments_may_be_on_any_device(store):
    params = autoencoder.init(jax.random.key(0), HPARAMS, CONFIG).params
    code = np.ones((2, CONFIG.code_size), np.float32)
    first = executables.call(autoencoder.decode, CONFIG, params, code)
    many = members.spread(lambda scale: jax.tree.map(lambda x: x * scale, params), (True,), 4)
    for other in (jax.device_put(params, jax.devices()[3]), members.member(jax.jit(many)(np.ones(4, np.float32)), 1)):
        equal(executables.call(autoencoder.decode, CONFIG, other, code), first)


def test_files_that_were_not_used_for_longest_are_removed(store, monkeypatch):
    store.mkdir()
    for age, name in enumerate(["new", "old", "older"]):
        (store / name).write_bytes(bytes(100))
        os.utime(store / name, (1_000_000 - age, 1_000_000 - age))
    monkeypatch.setattr(executables, "LARGEST", 200)
    executables._write("written", None)
    assert {path.name for path in store.iterdir()} == {"written", "new"}


def test_a_full_disk_costs_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    first = trained()
    another_process()
    equal(trained(), first)
    assert not list(store.iterdir())


NAMES = """
import sys
from pathlib import Path
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.engine import executables
from jaxgen.evaluation import codes
from jaxgen.rl import environments

environments.make("CartPole-v1")
executables.use(Path(sys.argv[1]))
for algorithm in (autoencoder, dqn, gan, vae):
    print(executables.name((algorithm.init, algorithm.step, algorithm.evaluate), algorithm.Config()))
print(executables.name((codes.posteriors,), vae.Config()))
"""


def test_names_are_the_same_in_every_process(tmp_path):
    names = [
        subprocess.run(
            [sys.executable, "-c", NAMES, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert names[0] == names[1]
    assert len(set(names[0])) == 5
    assert "None" not in names[0]


IN_BOTH = """
import sys, threading, jax, jax.numpy as jnp
from pathlib import Path
from jaxgen.engine import executables

jax.config.update("jax_compilation_cache_dir", sys.argv[1] + "/jax")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
lowered = jax.jit(lambda x: jnp.linalg.inv(x @ x + jnp.eye(8))).lower(jnp.ones((8, 8)))
executables.use(Path(sys.argv[1]) / "ours")
if sys.argv[2] == "ours":
    with executables.in_place_of_jaxs(jax.devices()[:1]):
        program = executables.compile(lowered, jax.devices()[:1])
    print(program.key is not None, program.call(jnp.eye(8))[0, 0])
else:
    lowered.compile()
"""


def test_executables_from_jaxs_cache_are_not_written_again(tmp_path):
    """Some XLA releases write such an executable without its code."""

    def run(kept):
        command = [sys.executable, "-c", IN_BOTH, str(tmp_path), kept]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    run("JAX's")
    assert run("ours") == ["False", "0.5"]  # found there
    assert not (tmp_path / "ours").exists()
    for path in (tmp_path / "jax").iterdir():
        path.unlink()
    assert run("ours") == run("ours") == ["True", "0.5"]  # compiled, then loaded
    assert not any("lambda" in path.name for path in (tmp_path / "jax").iterdir())
