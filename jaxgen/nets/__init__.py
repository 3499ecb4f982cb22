"""Architectures, the only flax code.

autoencoders   dense and convolutional, 28x28      flowers      80x80 color      gan      both players
q              action values                       classifier   feature net      ops/     the operations they use
"""
