"""Virtual devices, each in processes of its own: they can be made only before JAX starts."""

import os
import subprocess
import sys

import jax
import pytest

from jaxgen.errors import SettingError
from jaxgen.launch import devices
from jaxgen.runs import machine

MEASURE = """
import os, sys
from jaxgen.launch import devices
devices.place(2, 1)
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, PartitionSpec as P
assert len(jax.devices()) == 2, jax.devices()

def seconds():
    "Processor seconds of each thread."
    spent = {}
    for task in os.listdir("/proc/self/task"):
        name, rest = open(f"/proc/self/task/{task}/stat").read().split("(")[1].rsplit(")", 1)
        spent[task, name] = sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return spent

def work(x):
    return jax.lax.fori_loop(0, 5000, lambda i, x: jnp.tanh(x @ x), x)

mesh = Mesh(np.array(jax.devices()), ("members",))
run = jax.jit(jax.shard_map(jax.vmap(work), mesh=mesh, in_specs=P("members"), out_specs=P("members")))
x = jnp.ones((2, 128, 128))
run(x).block_until_ready()
before = seconds()
run(x).block_until_ready()
spent = {key: after - before.get(key, 0) for key, after in seconds().items()}
pool = sum(value for (task, name), value in spent.items() if "Eigen" in name)  # threads that share one product
most, second = sorted(spent.values())[:-3:-1]
assert pool < 0.1 * most and second > 0.3 * most > 0.03, spent
"""


def python(code, **environment):
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the threads' times from /proc")
def test_each_virtual_device_has_one_thread_of_its_own():
    done = python(MEASURE)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("wanted", "members", "environment", "found"),
    [
        (None, 1, {}, "1 False"),
        (None, 8, {}, f"{min(8, machine.cores())} True"),
        (0, 8, {}, "1 False"),
        (3, 1, {}, "3 True"),
        (None, 8, {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, "5 False"),
        (3, 8, {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, "3 True"),
    ],
)
def test_the_number_of_devices(wanted, members, environment, found):
    code = (
        f"from jaxgen.launch import devices; import jax, os; devices.place({wanted}, {members}); "
        "print(len(jax.devices()), 'eigen=false' in os.environ.get('XLA_FLAGS', ''))"
    )
    done = python(code, **environment)
    assert done.stdout.strip() == found, done.stderr


def test_a_number_that_comes_too_late_is_refused_and_none_is_no_trouble():
    jax.devices()
    with pytest.raises(SettingError, match=r"run\.cpu_devices = 3 is not allowed: it must be set before"):
        devices.place(3, 1)
    devices.place(None, 8)
    with pytest.raises(SettingError, match=r"run\.cpu_devices = -1 is not allowed: at least 0"):
        devices.place(-1, 1)
