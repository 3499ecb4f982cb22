"""The page of a run: one HTML file, opened from disk, in which the trained model is alive.

single, several   the page of a run, and one that compares runs        facts      the text of a run directory
sweep             the page of a sweep or a search
models            the live part: codes (autoencoders, VAEs), noise     pictures   figures and sheets of sprites
                  (GANs), poles (DQN on CartPole)                      document   style, scripts and data in one file
"""
