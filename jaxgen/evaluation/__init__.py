"""Fixed evaluation protocols for trained models, each number with its error bar.

vae            bounds and codes of a VAE                    likelihood       log p(x) by importance sampling
generator      scores of samples                            sample_quality   Frechet distance and more
classifier     the feature net behind them (features/ holds those that are shipped)
codes          active units, KL per latent, neighbors       neighbors        nearest points, a block at a time
returns        robust means over seeds
"""
