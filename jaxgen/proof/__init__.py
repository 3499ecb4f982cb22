"""Proofs of a run: its steps made again from what its directory records. Nothing is written into that directory.

verify         `verify`: stretches between checkpoints, bit for bit     verdict        its result
checks         clauses that need no training                            evidence       what is compared
comparison     rows and arrays                                          recorded       a run resolved and compiled
replay         `replay`: everything about one step                      blame          the origin of a NaN
fork           `fork`: a new run from a step, with other hyperparameters
"""
