"""Numbers that the device cannot represent, and names that no folder should have, are refused in one line."""

import dataclasses

import pytest

from jaxgen.algorithms import dqn, gan, vae
from jaxgen.data import DataSettings
from jaxgen.errors import SettingError
from jaxgen.runs.fit import Task, check
from jaxgen.runs.settings import RunSettings, Settings, check_numbers


@pytest.mark.parametrize("value", [1e-46, -1e-46, 1e39, 1e-60, float("inf"), -float("inf"), float("nan"), 1e-40])
def test_numbers_beyond_single_precision(value):
    with pytest.raises(SettingError, match=r"hparams\.learning_rate = .* is not allowed: 0, or a number from 1\.2e-38"):
        check_numbers("hparams", vae.HParams(learning_rate=value))
    nested = gan.HParams(generator=dataclasses.replace(gan.HParams().generator, eps=value))
    with pytest.raises(SettingError, match=r"hparams\.generator\.eps"):
        check_numbers("hparams", nested)


@pytest.mark.parametrize("value", [1e-37, 3e38, 0.0, -2.5])
def test_numbers_within(value):
    check_numbers("hparams", vae.HParams(learning_rate=value))


def test_integers_beyond_32_bits():
    for config in (vae.Config(latent_size=2**31), vae.Config(widths=(5, 2**40))):
        with pytest.raises(SettingError, match="an integer below 2,147,483,648"):
            check_numbers("config", config)
    check_numbers("run", RunSettings(seed=2**32 - 1))
    with pytest.raises(SettingError, match=r"run\.seed"):
        check_numbers("run", RunSettings(seed=2**32))


def test_every_field_of_every_algorithm_is_checked_when_a_run_begins():
    for algorithm in (vae, gan, dqn):
        leaves = [f.name for f in dataclasses.fields(algorithm.HParams) if f.type in ("float", float)]
        assert leaves
        for name in leaves:
            hparams = dataclasses.replace(algorithm.HParams(), **{name: float("inf")})
            settings = Settings(algorithm.Config(), hparams, RunSettings(), DataSettings("digits"))
            with pytest.raises(SettingError, match=rf"hparams\.{name}"):
                check(Task("x", algorithm, settings))


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a\nb", "a\tb", "\udc80", "a\x00b", "..."])
def test_names_no_folder_should_have(name):
    settings = Settings(vae.Config(), vae.HParams(), RunSettings(name=name), DataSettings("digits"))
    with pytest.raises(SettingError, match=r"run\.name = .* is not allowed: a folder's name") as error:
        check(Task("x", vae, settings))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["nohost", ":1", "host:", "host:x", "host:0", "host:70000", "::1", "[::1]", "a b:1"])
def test_coordinators(where):
    settings = Settings(vae.Config(), vae.HParams(), RunSettings(coordinator=where), DataSettings("digits"))
    with pytest.raises(SettingError, match=r"run\.coordinator"):
        check(Task("x", vae, settings))


def test_more_steps_than_a_counter_holds():
    from jaxgen.data import load
    from jaxgen.runs.session import plan_of

    digits = load("digits")
    with pytest.raises(SettingError, match=r"run\.epochs = 2000000000 is not allowed: at most 195,225,786"):
        plan_of(vae, vae.Config(), digits, RunSettings(epochs=2_000_000_000))
