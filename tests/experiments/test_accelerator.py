"""The accelerator benchmark: its table of peaks, its bookkeeping, and small measurements on this machine."""

import json
import sys
from pathlib import Path

import collect
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks import accelerator, measuring

from jaxgen.errors import SettingError


def device(kind):
    return accelerator.Device(kind, 1, {"float32": 1.5, "bfloat16": 2.5})


@pytest.mark.parametrize(
    ("kind", "float32", "bfloat16"),
    [
        ("NVIDIA A100-SXM4-40GB", 156, 312),
        ("NVIDIA H100 80GB HBM3", 494.7, 989.4),
        ("NVIDIA H100 PCIe", 378, 756),
        ("NVIDIA H200", 494.7, 989.4),
        ("NVIDIA L4", 60, 121),
        ("NVIDIA GeForce RTX 4090", 82.6, 165.2),
        ("TPU v4", 275, 275),
        ("TPU v5 lite", 197, 197),
        ("TPU v5p", 459, 459),
        ("TPU v6e", 918, 918),
    ],
)
def test_a_listed_device_has_its_makers_peak(kind, float32, bfloat16):
    assert device(kind).peak("float32") == (float32, "maker's")
    assert device(kind).peak("bfloat16") == (bfloat16, "maker's")


def test_another_device_has_the_measured_peak_and_says_so():
    for kind in ("NVIDIA L40S", "cpu", "NVIDIA RTX 6000 Ada"):
        assert device(kind).peak("float32") == (1.5, "matrix product measured here")
    assert device("Tesla T4").peak("float32") == (8.1, "maker's")
    assert device("Tesla T4").peak("bfloat16") == (2.5, "matrix product measured here")  # it has none
    assert "cpu; float32: peak 1.5 TFLOP/s (matrix product measured here)" in str(device("cpu"))


def test_the_measured_peak_is_of_this_machine():
    assert 1e-4 < accelerator.product_tflops(256, "float32") < 1e3


def test_differing_bytes_are_counted_and_zeros_have_signs():
    state = {"a": jnp.float32([1.0, 0.0]), "b": np.int32(7)}
    assert accelerator.differing(state, dict(state)) == 0
    assert accelerator.differing(state, {"a": jnp.float32([1.0, -0.0]), "b": np.int32(7)}) == 1
    assert accelerator.differing(state, {"a": jnp.float32([1.0, 0.0]), "b": np.int32(8)}) == 1


def rows_of(parts, minutes=1.0):
    """The rows of a measurement with these parts in place of its own."""

    class Small(accelerator.Accelerator):
        def parts(self, device):
            yield from parts

    return list(Small(minutes=minutes, quick=True).measure())


def test_a_part_that_fails_costs_its_own_rows_and_after_the_minutes_none_begins(capsys):
    def good():
        yield measuring.compare("good", [1.0], None, [])

    def bad():
        raise MemoryError("4,096 seeds do not fit")

    rows = rows_of([("bad", bad), ("good", good)])
    assert [row["name"] for row in rows] == ["good"]
    assert "bad is left out: MemoryError: 4,096 seeds do not fit" in capsys.readouterr().out
    assert rows_of([("good", good)], minutes=0) == []
    assert "good is left out: 0 minutes are over" in capsys.readouterr().out


def test_an_interrupted_run_equals_a_whole_one_and_a_different_state_does_not(monkeypatch):
    algorithm = accelerator.RESUMED["autoencoder"][0]
    (row,) = accelerator._resumed("autoencoder", algorithm, algorithm.Config())
    assert row["exact"] is True
    assert row["steps"] // 2 < row["interrupted_at"] < row["steps"]
    monkeypatch.setattr(accelerator, "differing", lambda a, b: 1)
    (row,) = accelerator._resumed("autoencoder", algorithm, algorithm.Config())
    assert row["exact"] is False


def test_a_wrong_setting_is_one_line():
    for settings, said in (
        ({"models": ("dense",)}, "models = 'dense'"),
        ({"seeds": (0,)}, "seeds = 0"),
        ({"minutes": -1.0}, "minutes = -1"),
        ({"purejaxrl": Path("/nowhere")}, "purejaxrl = '/nowhere'"),
    ):
        with pytest.raises(SettingError, match=said):
            accelerator.Accelerator(**settings)


@pytest.mark.slow
def test_quick_measures_everything_and_the_book_takes_it(tmp_path, monkeypatch):
    import benchmark

    settings = accelerator.Accelerator(quick=True, out=tmp_path / "rows.jsonl")
    benchmark.main(settings)
    rows = [json.loads(line) for line in settings.out.read_text().splitlines()]
    names = [f"{model}, {dtype}" for model in ("dense_ae", "mlp_vae") for dtype in accelerator.DTYPES]
    names += [f"resumed {name}" for name in accelerator.RESUMED] + ["dqn, 1 seeds", "dqn, 4 seeds"]
    assert [row["name"] for row in rows] == names
    for row in rows[:4]:
        assert row["images_per_s"] == pytest.approx(128 * 1e3 / row["ours_ms"], rel=0.01)
        assert row["tflops"] == pytest.approx(row["gflop"] / row["ours_ms"], rel=0.01)
        assert row["share"] == pytest.approx(row["tflops"] / row["peak_tflops"], rel=0.01)
        assert row["compile_seconds"] > 0
    assert all(row["exact"] for row in rows if row["name"].startswith("resumed"))
    monkeypatch.setattr(sys, "argv", ["collect.py"])
    record = collect.of_benchmark(settings.out, "python experiments/benchmark.py accelerator --quick")
    assert [row["name"] for row in record["values"]] == names
