"""Trained models for other programs: weights, programs, JavaScript.

weights      a run as safetensors, settings, card and images    programs    `jax.export` files for serving
functions    a model's functions, random draws as inputs        plain       these as lists of equations
javascript   plain programs as scripts for pages and Node, by translation, views, loops, elementwise, memory, wasm
             and kernels.js                                     onnx        plain programs as ONNX models
"""
