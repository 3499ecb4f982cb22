"""Strict settings for every test: rank promotion is an error, four CPU devices, one compilation cache a run.

Machine code is not optimised: most of the time goes into compiling programs that run once.
"""

import os
import tempfile

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jaxgen-test-cache-"))

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
install_import_hook("jaxgen.nets", "beartype.beartype")  # every shape annotation there is checked at run time
