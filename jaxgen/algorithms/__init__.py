"""The maths: each algorithm is a module that keeps `jaxgen.contract`, to be read first.

autoencoder    reconstruction
vae            the evidence lower bound and tighter bounds: config, objectives
gan            adversarial losses: config, players, fused (one pass of each net for both players)
dqn            deep Q-learning: config
"""
