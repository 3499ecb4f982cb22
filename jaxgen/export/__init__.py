"""Trained models for other programs: weights, programs, JavaScript.

weights      a run as safetensors, settings, model card and images    programs     `jax.export` files for serving
functions    what a trained model computes, random draws as inputs    plain        functions as lists of equations
javascript   these as a script for pages, workers and Node, with views, loops, elementwise, wasm and kernels.js
"""
