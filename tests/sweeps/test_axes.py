"""The grammar of axes, and the points they make."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxgen as jg
from jaxgen.algorithms import autoencoder, gan, vae
from jaxgen.data import DataSettings
from jaxgen.errors import SettingError
from jaxgen.sweeps import axes, fields

KNOWN = {
    "seed": int,
    "hparams.learning_rate": float,
    "hparams.beta": float,
    "config.latent_size": int,
    "config.widths": tuple[int, ...],
    "config.learn_scale": bool,
    "data.source": str,
    "data.path": Path | None,
}


def values(text, draws=0, seed=0):
    return axes.parse(text, KNOWN, draws, seed).values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hparams.beta=lin:0:1:5", (0, 0.25, 0.5, 0.75, 1)),
        ("hparams.learning_rate=log:1e-4:1e-2:3", (1e-4, 1e-3, 1e-2)),
        ("hparams.learning-rate=1e-4,0.5", (1e-4, 0.5)),
        ("seed=2:5", (2, 3, 4)),
        ("run.seed=7", (7,)),
        ("config.latent_size=log:1:64:4", (1, 4, 16, 64)),
        ("config.latent_size=lin:1:3:9", (1, 2, 3)),
        ("config.widths=500x200,50", ((500, 200), (50,))),
        ("config.learn_scale=True,False", (True, False)),
        ("data.source=digits,mnist:3.0.1", ("digits", "mnist:3.0.1")),
        ("data.path=None,a/b", (None, Path("a/b"))),
    ],
)
def test_values(text, expected):
    assert values(text) == pytest.approx(expected) if isinstance(expected[0], float) else values(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hparams.learning_rat=1", r"'hparams\.learning_rat' is not a field.*did you mean 'hparams\.learning_rate'"),
        ("epochs=1,2", "is not a field of this experiment"),
        ("seed", r"NAME=VALUES"),
        ("hparams.beta=log:0:1:4", "bounds above 0"),
        ("hparams.beta=lin:0:1", "lin:a:b:n"),
        ("hparams.beta=lin:0:x:3", "a number where 'x' stands"),
        ("hparams.beta=lin:0:inf:3", "finite"),
        ("hparams.beta=lin:0:1:0", "at least 1"),
        ("hparams.beta=1,x", r"hparams\.beta = 'x' is not allowed: a number"),
        ("seed=0:x", "an integer where 'x' stands"),
        ("seed=4:4", "a first integer below the last"),
        ("seed=0.5,1", r"seed = '0\.5' is not allowed: an integer"),
        ("config.learn_scale=yes", "True or False"),
        ("config.widths=lin:1:2:2", r"config\.widths = 'lin:1:2:2' is not allowed: an integer"),
        ("hparams.beta=uniform:0:1", "draws = 0"),
        ("hparams.beta=a:b:c:d", "lin:a:b:n"),
    ],
)
def test_what_is_no_axis_is_one_line(text, said):
    with pytest.raises(SettingError, match=said) as error:
        values(text)
    assert "\n" not in str(error.value)


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(0, 100))
def test_draws_lie_between_the_bounds_and_come_again(a, b, seed):
    a, b = sorted((a, b))
    for kind in ("uniform", "loguniform"):
        drawn = values(f"hparams.beta={kind}:{a}:{b}", draws=20, seed=seed)
        assert len(drawn) == 20
        assert all(a * (1 - 1e-5) <= value <= b * (1 + 1e-5) for value in drawn)
        assert drawn == values(f"hparams.beta={kind}:{a}:{b}", draws=20, seed=seed)
    if b > 1.1 * a:
        assert drawn != values(f"hparams.beta=loguniform:{a}:{b}", draws=20, seed=seed + 1)


def test_loguniform_is_uniform_in_the_logarithm():
    drawn = values("hparams.beta=loguniform:1e-4:1", draws=4000)
    for bound, share in ((1e-3, 0.25), (1e-2, 0.5), (1e-1, 0.75)):
        assert sum(value < bound for value in drawn) / 4000 == pytest.approx(share, abs=0.03)


def parsed(*texts, draws=0):
    return [axes.parse(text, KNOWN, draws, 0) for text in texts]


def test_axes_are_crossed_zipped_and_drawn_together():
    grid = axes.points(parsed("hparams.beta=1,2", "seed=0:3"), False)
    assert grid == [{"hparams.beta": b, "seed": s} for b, s in itertools.product((1.0, 2.0), range(3))]
    pairs = axes.points(parsed("hparams.beta=1,2,3", "seed=0:3"), True)
    assert pairs == [{"hparams.beta": float(s + 1), "seed": s} for s in range(3)]
    both = parsed("hparams.beta=uniform:0:1", "seed=0:2", "hparams.learning_rate=loguniform:1e-4:1e-2", draws=5)
    drawn = axes.points(both, False)
    assert len(drawn) == 10
    assert len({(p["hparams.beta"], p["hparams.learning_rate"]) for p in drawn}) == 5
    assert list(drawn[0]) == ["hparams.beta", "seed", "hparams.learning_rate"]


def test_axes_that_do_not_go_together_are_refused():
    with pytest.raises(SettingError, match="as many values each"):
        axes.points(parsed("hparams.beta=1,2,3", "seed=0:2"), True)
    with pytest.raises(SettingError, match="seed is given twice"):
        axes.points(parsed("seed=0:2", "run.seed=5,6"), False)


def test_fields_of_real_experiments_are_found_and_replaced():
    class Settings:
        data, config, hparams = DataSettings(), gan.Config(), gan.HParams()

    found = fields.hints(Settings())
    assert found["hparams.generator.learning_rate"] is float
    assert {"config.net", "data.source", "seed"} <= found.keys()
    assert axes.parse("config.net=dense,small", found, 0, 0).values == ("dense", "small")
    with pytest.raises(SettingError, match=r"config\.net = 'smal' is not allowed.*did you mean 'small'"):
        axes.parse("config.net=smal", found, 0, 0)
    changed = fields.replace(gan.HParams(), {"generator.learning_rate": 0.5, "generator.b1": 0.1, "penalty": 3.0})
    assert (changed.generator.learning_rate, changed.generator.b1, changed.penalty) == (0.5, 0.1, 3.0)
    assert changed.discriminator == gan.HParams().discriminator
    assert fields.replace(vae.HParams(), {}) == vae.HParams()


@pytest.mark.parametrize(
    ("over", "named"),
    [
        ({"hparams.learning_rate": ["fast"]}, r"hparams\.learning_rate = 'fast' is not allowed: a number"),
        ({"seed": [0.5]}, r"seed = 0\.5 is not allowed: an integer"),
        ({"hparams.learning_rate": []}, r"hparams\.learning_rate = \[\] is not allowed: at least one value"),
    ],
)
def test_values_given_from_python_have_their_fields_type(over, named):
    settings = jg.Settings(autoencoder.Config(), autoencoder.HParams(), data=DataSettings("digits"))
    with pytest.raises(SettingError, match=named):
        jg.sweep(jg.Experiment("mine", autoencoder, {"plain": settings}), over)
