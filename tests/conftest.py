"""Strict settings for every test: no silent promotion of ranks or types, shapes checked, four CPU devices.

Machine code is not optimized, because most of the time goes into compiling programs that run once. With
JAXGEN_TEST_OPTIMIZATION=default it is what users run; `.ci/run` takes the slow tests so.
"""

import functools
import os
import tempfile

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
    + ("" if os.environ.get("JAXGEN_TEST_OPTIMIZATION") == "default" else " --xla_backend_optimization_level=0")
)
os.environ["JAX_PLATFORMS"] = "cpu"
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers have that of the process that started them
    cache = tempfile.TemporaryDirectory(prefix="jaxgen-test-cache-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache.name

import jax
import optax
from jaxtyping import install_import_hook

import jaxgen  # noqa: F401 mends XLA_FLAGS, before a test module lets JAX start

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

TYPED = (
    *("collectives", "distributions", "nets", "rl", "batching"),
    *("losses.bounds", "losses.temporal_difference"),
    *("algorithms.gan.players", "algorithms.gan.fused", "algorithms.vae.objectives"),
)
"""Modules whose annotations, shapes included, are checked at run time; losses and settings check themselves."""
install_import_hook([f"jaxgen.{name}" for name in TYPED], "beartype.beartype")


def promoting(function):
    """`function` of another library that mixes types itself."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return wrapped


def promoting_schedule(make):
    return functools.wraps(make)(lambda *args, **kwargs: promoting(make(*args, **kwargs)))


optax.tree.bias_correction = promoting(optax.tree.bias_correction)  # decay**count
optax.cosine_decay_schedule = promoting_schedule(optax.cosine_decay_schedule)  # min(count, length)

from tiny_runs import make_settings, tiny  # noqa: E402, F401

from jaxgen.launch import command_line  # noqa: E402

command_line.keep_executables = lambda folder: None  # tests replace functions that programs are made from
