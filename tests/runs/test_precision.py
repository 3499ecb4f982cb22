"""One line where bfloat16 is not faster, or not known to be; none elsewhere."""

from dataclasses import replace

import jax
import pytest

from jaxgen import installed
from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.runs import fit, machine, precision
from jaxgen.runs.session import Watcher

DENSE = [(autoencoder, {}), (vae, {}), (gan, {})]
OTHERS = [(autoencoder, {"net": "conv"}), (vae, {"net": "conv"}), (gan, {"net": "small"})]
FLOWERS = [(vae, {"net": "flower", "image_shape": (80, 80, 3)}), (gan, {"net": "flower", "image_shape": (80, 80, 3)})]


def half(algorithm, settings):
    return replace(algorithm.Config(**settings), dtype="bfloat16")


@pytest.fixture
def processor(monkeypatch):
    """A CPU with AMX and without flags, or with what a test gives it."""

    def of(abilities=frozenset({precision.UNIT}), flags="", backend="cpu"):
        monkeypatch.setattr(machine, "has", lambda name: None if abilities is None else name in abilities)
        monkeypatch.setenv("XLA_FLAGS", flags)
        monkeypatch.setattr(jax, "default_backend", lambda: backend)

    of()
    return of


@pytest.mark.parametrize(("algorithm", "settings"), DENSE)
def test_dense_nets_are_faster_with_the_unit(processor, algorithm, settings):
    assert precision.warning(algorithm, half(algorithm, settings)) is None
    for abilities, said in (({"avx512_bf16"}, "this one lacks"), (set(), "this one lacks"), (None, "unknown")):
        processor(abilities)
        line = precision.warning(algorithm, half(algorithm, settings))
        assert line.startswith("config.dtype = bfloat16 ")
        assert "amx_bf16" in line
        assert said in line
        assert "\n" not in line


@pytest.mark.parametrize(("algorithm", "settings"), DENSE)
def test_without_ynnpack_they_are_slower(processor, algorithm, settings):
    processor(flags=f"--xla_x=1 {installed.REMEDY}")
    assert installed.REMEDY in precision.warning(algorithm, half(algorithm, settings))
    processor(flags=f"{installed.REMEDY} {installed.OPTION}=individual_dot")
    assert precision.warning(algorithm, half(algorithm, settings)) is None


@pytest.mark.parametrize(("algorithm", "settings"), OTHERS + FLOWERS)
def test_convolutions_are_slower_on_every_processor(processor, algorithm, settings):
    assert "convolves in float32" in precision.warning(algorithm, half(algorithm, settings))


@pytest.mark.parametrize(("algorithm", "settings"), DENSE + OTHERS)
def test_no_line_for_float32_or_another_device(processor, algorithm, settings):
    processor(abilities=set())
    assert precision.warning(algorithm, algorithm.Config(**settings)) is None
    processor(abilities=set(), backend="gpu")
    assert precision.warning(algorithm, half(algorithm, settings)) is None


def test_abilities_are_read_from_linux(monkeypatch):
    monkeypatch.setattr(machine, "_cpuinfo", lambda *names: "fpu avx512_bf16 amx_bf16_x")
    assert machine.has("avx512_bf16")
    assert machine.has("amx_bf16") is False
    monkeypatch.setattr(machine, "_cpuinfo", lambda *names: "")
    assert machine.has("avx512_bf16") is None


def test_a_run_says_it_once_before_it_trains(processor, tiny, make_settings):
    class Recorder(Watcher):
        def __init__(self):
            self.seen = []

        def warned(self, message):
            self.seen.append(message)

        def began(self, first, total, parameters):
            self.seen.append("began")

    settings, recorder = make_settings(epochs=2), Recorder()
    config = replace(settings.config, net="conv", dtype="bfloat16")
    fit.execute(fit.Task("tiny", autoencoder, replace(settings, config=config), watcher=recorder))
    assert recorder.seen == [f"warning: {precision.warning(autoencoder, config)}", "began"]


def test_an_algorithm_without_a_dtype_gets_no_line(processor):
    processor(abilities=set())
    assert precision.warning(dqn, dqn.Config()) is None
