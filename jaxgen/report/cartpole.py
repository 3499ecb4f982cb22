"""Pictures of the pole on its cart, drawn with Pillow: arrays in, a GIF out."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.report import figures

WIDTH, HEIGHT = 480, 200
METERS = 2.4
"""Half the track's length."""
POLE = 1.0
"""The pole's length in meters."""
FRAME_STEPS = 2
"""Steps (of 20 ms) per frame."""


def animate(path: Path, states: np.ndarray) -> None:
    """States (T, 4) of position, velocity, angle (radians from upright) and angular velocity as a real-time GIF."""
    frames = [frame(state, step * FRAME_STEPS) for step, state in enumerate(states[::FRAME_STEPS])]
    figures.gif(path, frames, 20 * FRAME_STEPS, 1_500)


def frame(state: np.ndarray, step: int) -> Any:
    """One picture, with its step in a corner."""
    from PIL import Image, ImageDraw

    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([255, 255, 255, 30, 30, 30, 202, 152, 101, 129, 132, 203, 150, 150, 150])
    draw = ImageDraw.Draw(image)
    scale, ground = WIDTH / (2 * METERS + 0.4), HEIGHT - 30
    x, angle = WIDTH / 2 + scale * float(state[0]), float(state[2])
    draw.line([(0, ground), (WIDTH, ground)], fill=4, width=2)
    for end in (-METERS, METERS):
        edge = WIDTH / 2 + scale * end
        draw.line([(edge, ground - 8), (edge, ground + 8)], fill=4, width=2)
    draw.rectangle([x - 26, ground - 24, x + 26, ground], fill=1)
    hinge = (x, ground - 24)
    tip = (x + scale * POLE * math.sin(angle), hinge[1] - scale * POLE * math.cos(angle))
    draw.line([hinge, tip], fill=2, width=8)
    draw.ellipse([hinge[0] - 5, hinge[1] - 5, hinge[0] + 5, hinge[1] + 5], fill=3)
    draw.text((8, 6), f"step {step}", fill=1)
    return image
