"""Algorithms, each a module that implements `jaxgen.contract` (read that first).

autoencoder    reconstruction
vae            the evidence lower bound and tighter bounds: config, objectives
gan            adversarial losses: config, players, fused (one pass of each net for both players)
dqn            deep Q-learning: config
"""
