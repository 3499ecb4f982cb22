"""Generative models and reinforcement learning in JAX. Importing the package loads neither jax nor numpy."""

from jaxgen import installed

installed.mend()
