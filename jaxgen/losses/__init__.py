"""Losses and bounds, unreduced: one value per example.

reconstruction         Bernoulli, Gaussian, bits per dimension     bounds     ELBO terms, importance-weighted bounds
adversarial            five losses of two players, penalties       temporal_difference    errors of action values
"""
