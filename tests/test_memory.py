"""Sizes are estimated before anything is allocated; too large ones are refused, with the number that would fit."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jaxgen import data, memory
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.engine import memory as programs
from jaxgen.errors import SettingError, UserError
from jaxgen.runs.fit import Task, execute
from jaxgen.runs.settings import RunSettings, Settings
from jaxgen.sweeps import axes


def refused(tmp_path, algorithm, config, **run):
    """The one line in which a run is refused, which leaves no directory."""
    settings = Settings(
        config,
        algorithm.HParams(),
        RunSettings(root=tmp_path / "runs", name="run", **run),
        None if algorithm is dqn else data.DataSettings("digits"),
    )
    with pytest.raises(UserError) as error:
        execute(Task("tiny", algorithm, settings))
    assert not (tmp_path / "runs" / "run").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("seeds", [10**9 // 2, 4 * 10**9])
def test_too_many_seeds(tmp_path, seeds):
    said = refused(tmp_path, autoencoder, autoencoder.Config(), seeds=seeds)
    assert "members do not fit into memory: at most" in said or "run.seeds = 4000000000 is not allowed" in said


@pytest.mark.parametrize(
    ("algorithm", "change"),
    [
        (autoencoder, {"widths": (10**9,)}),
        (autoencoder, {"code_size": 2**31 - 1}),
        (vae, {"latent_size": 10**9}),
        (gan, {"noise_size": 2**31 - 1}),
        (dqn, {"episodes": 2**31 - 1, "widths": (10**6, 10**6)}),
        (dqn, {"replay_size": 2**31 - 8}),
    ],
)
def test_a_model_that_does_not_fit(tmp_path, algorithm, change):
    said = refused(tmp_path, algorithm, dataclasses.replace(algorithm.Config(), **change))
    assert "does not fit into memory: a step needs" in said


def test_a_program_that_does_not_fit(tmp_path):
    said = refused(tmp_path, vae, vae.Config(samples=2_000_000, objective="iwae"))
    assert "training does not fit into memory: it needs" in said


def test_the_number_that_is_said_to_fit_fits(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 2**30)
    config, hparams = autoencoder.Config(), autoencoder.HParams()
    with pytest.raises(SettingError, match="at most") as error:
        programs.check_state(autoencoder, config, hparams, 10**6)
    most = int(str(error.value).split("at most ")[1].split(" ")[0].replace(",", ""))
    programs.check_state(autoencoder, config, hparams, most)
    with pytest.raises(SettingError):
        programs.check_state(autoencoder, config, hparams, most + 1)
    state = autoencoder.init(jax.random.key(0), hparams, config)
    assert most == 2**30 // (2 * sum(leaf.nbytes for leaf in jax.tree.leaves(state)))


def test_a_programs_own_account_is_compared_with_what_is_free(monkeypatch):
    compiled = jax.jit(lambda x: (x @ x) @ (x + 1)).lower(jnp.ones((256, 256))).compile()
    programs.check_program("it", compiled)
    monkeypatch.setattr(memory, "free_bytes", lambda: 2**18 - 1)  # less than the result alone
    with pytest.raises(UserError, match="it does not fit into memory: it needs"):
        programs.check_program("it", compiled)


@pytest.mark.parametrize(
    "text", ["seed=0:1000000000000", "hparams.rate=lin:0:1:1000000000000", "hparams.rate=uniform:0:1"]
)
def test_axes_of_a_million_million_values(text):
    with pytest.raises(SettingError, match=r"at most .*, for a member takes 8 KiB"):
        axes.parse(text, {"seed": int, "hparams.rate": float}, draws=10**12, seed=0)


def test_a_product_of_axes():
    known = {"seed": int, "hparams.rate": float}
    long = [axes.parse(text, known, 0, 0) for text in ("seed=0:100000", "hparams.rate=lin:0:1:100000")]
    with pytest.raises(SettingError, match=r"number of values of seed x hparams\.rate = 10000000000"):
        axes.points(long, zipped=False)
    assert len(axes.points(long, zipped=True)) == 100_000


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (1023, "1.02e+03 bytes"), (1536, "1.5 KiB"), (2**30, "1 GiB"), (2**70, "1.05e+06 PiB")],
)
def test_sizes(count, said):
    assert memory.size(count) == said
