"""The five blossoms of `petals`: distance and polar functions over a grid of pixels.

A blossom is a function `(dice, view) -> Paint`. Equal dice give flowers of one kind: the same colors, petal count
and shape. Colors are (3, 1, 1) or (3, S, S): channels first, because the last axis is the one that vectorizes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Number = Array | float  # a scalar, traced or not
Color = tuple[float, float, float]  # red, green, blue in [0, 1]


class View(NamedTuple):
    """Pixel coordinates (S, S), with the blossom at the origin and about one unit in radius.

    `soft` is the width of an edge in those units: one pixel if sharp, more if blurred, so no edge is aliased.
    """

    u: Array
    v: Array
    soft: Array


class Paint(NamedTuple):
    """A layer over a picture: `rgb` (3, S, S) and its opacity `alpha` (S, S)."""

    rgb: Array
    alpha: Array


class Dice:
    """Uniform random numbers from one key, handed out in the order requested.

    All come from one draw, because XLA takes seconds to compile dozens of small ones.
    """

    def __init__(self, key: Array, count: int):
        self.rest = jax.random.uniform(key, (count,))

    def __call__(self, low: Number, high: Number, shape: tuple[int, ...] = ()) -> Array:
        """The next numbers, between `low` and `high`."""
        count = math.prod(shape)
        numbers, self.rest = self.rest[:count].reshape(shape), self.rest[count:]
        return low + (high - low) * numbers

    def whole(self, low: int, high: int) -> Array:
        """An integer from `low` to `high` - 1, as a float."""
        return jnp.floor(self(low, high))

    def row(self, table: Sequence[Any]) -> Array:
        """One row of a table."""
        return jnp.array(table)[self.whole(0, len(table)).astype(jnp.int32)]

    def color(self, palette: Sequence[Color]) -> Array:
        """A color (3, 1, 1) of the palette, a little toward another one."""
        chosen, other = self.row(palette), self.row(palette)
        return (chosen + (other - chosen) * self(0.0, 0.25)).reshape(3, 1, 1)


def color(red: float, green: float, blue: float) -> Array:
    return jnp.array([red, green, blue]).reshape(3, 1, 1)


def mix(a: Array, b: Array, weight: Array) -> Array:
    """Color `a` where weight (S, S) is 0, `b` where it is 1."""
    return a + (b - a) * weight[None]


def ramp(x: Array, start: Number, end: Number) -> Array:
    """Smooth rise from 0 at `start` to 1 at `end`; a fall if end < start."""
    t = jnp.clip((x - start) / (end - start), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def inside(distance: Array, soft: Number) -> Array:
    """Coverage of a shape by the signed distance from its edge (negative inside), over an edge `soft` wide."""
    return jnp.clip(0.5 - distance / soft, 0.0, 1.0)


def length(u: Array, v: Array) -> Array:
    return jnp.sqrt(u * u + v * v)


def angle(u: Array, v: Array) -> Array:
    """atan2(v, u) to 2e-6 by a minimax polynomial: XLA's, a library call per pixel, takes 25 times as long on a CPU."""
    a, b = jnp.abs(u), jnp.abs(v)
    t = jnp.minimum(a, b) / jnp.maximum(jnp.maximum(a, b), 1e-9)
    series = jnp.zeros_like(t)
    for coefficient in (-0.0117212, 0.05265332, -0.11643287, 0.19354346, -0.33262347, 0.99997726):
        series = series * t * t + coefficient
    octant = t * series
    quadrant = jnp.where(b > a, jnp.pi / 2 - octant, octant)
    half = jnp.where(u < 0.0, jnp.pi - quadrant, quadrant)
    return jnp.where(v < 0.0, -half, half)


def cosine(x: Array) -> Array:
    """cos(x) to 2e-4 by the first terms of a sine series, for the same reason."""
    turns = x / (2 * jnp.pi)
    z = jnp.pi * (0.5 - 2.0 * jnp.abs(turns - jnp.round(turns)))  # cos(x) = sin(z), z from -pi/2 to pi/2
    return z * (1.0 - z * z / 6.0 * (1.0 - z * z / 20.0 * (1.0 - z * z / 42.0)))


def over(top: Paint, bottom: Paint) -> Paint:
    """`top` laid over `bottom`; colors are kept apart from opacity, so an edge has no dark seam."""
    alpha = top.alpha + bottom.alpha * (1.0 - top.alpha)
    return Paint(mix(bottom.rgb, top.rgb, top.alpha / jnp.maximum(alpha, 1e-4)), alpha)


def pile(layer: Callable[..., Paint], parts: tuple[Array, ...], bottom: Paint | None = None, *, like: Array) -> Paint:
    """Lay `layer(*part)` over `bottom` (or nothing) for each part, a row of all `parts`; the last one is on top.

    `like` (S, S) is any grid. A scan, because XLA takes a minute to compile the layers written out one by one.
    """
    if bottom is None:
        bottom = Paint(jnp.zeros((3, *like.shape)), jnp.zeros(like.shape))
    return jax.lax.scan(lambda below, part: (over(layer(*part), below), None), bottom, parts)[0]


class Petal(NamedTuple):
    """For each pixel (S, S), the frame of its petal and the petal's individual variations."""

    along: Array
    across: Array
    slant: Array  # angle from the petal's axis in half sectors, -1 to 1
    size: Array  # -1 to 1
    tone: Array  # -1 to 1


def petals(seed: Array, u: Array, v: Array, count: Number, turn: Number) -> Petal:
    """Fold the plane into `count` sectors, turned by `turn` sectors; `seed` in [0, 1) sets the variations."""
    sectors = angle(u, v) * (count / (2 * jnp.pi)) + turn
    index = jnp.round(sectors)
    # An integer hash of the petal's number, 10 bits per variation: a table would cost a gather per pixel.
    name = index - count * jnp.floor(index / count) + jnp.floor(seed * 2.0**20)
    bits = name.astype(jnp.uint32) * jnp.uint32(0x9E3779B1)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x85EBCA77)
    aside, size, tone = (((bits >> shift) & 1023).astype(jnp.float32) / 511.5 - 1.0 for shift in (2, 12, 22))
    bearing, r = (sectors - index + 0.18 * aside) * (2 * jnp.pi / count), length(u, v)
    return Petal(r * cosine(bearing), r * cosine(bearing - jnp.pi / 2), 2.0 * (sectors - index), size, tone)


class Ray(NamedTuple):
    """The long petals of a ring: their number, half width, roundness (2 pointed, 7 round), and two colors."""

    number: Number
    width: Number
    blunt: int
    base: Array
    tip: Array


def rays(view: View, ray: Ray, seed: Array, turn: Number, reach: Number, light: Number) -> Paint:
    """A ring of long petals with grooves and dark edges."""
    petal = petals(seed, view.u, view.v, ray.number, turn)
    t = jnp.clip(petal.along / (reach * (1.0 + 0.09 * petal.size)), 0.0, 1.0)
    half = ray.width * jnp.sqrt(t) * (1.0 - t**ray.blunt)
    across = petal.across / (half + 0.02)
    grooves = 1.0 - 0.1 * cosine(7.0 * across) * ramp(t, 1.0, 0.6)
    shade = (0.92 + 0.1 * petal.tone) * grooves * (1.0 - 0.22 * across**2) * (0.72 + 0.28 * ramp(t, 0.2, 0.7))
    rgb = mix(ray.base, ray.tip, ramp(t, 0.25, 0.8)) * jnp.clip(shade * light, 0.0, 1.15)[None]
    return Paint(rgb, leaf_cover(t, petal.across, half, view.soft))


def leaf_cover(t: Array, across: Array, half: Array, soft: Number) -> Array:
    """Coverage of a blade whose half width is `half` at the part t of its length: nothing before 0 or after 1."""
    return inside(jnp.abs(across) - half, soft) * ((t > 0.0) & (t < 1.0)).astype(jnp.float32)


def florets(view: View, radius: Array, spirals: tuple[int, int], rim: Array, heart: Array) -> Paint:
    """A domed disc of florets, placed where two families of spirals cross (phyllotaxis)."""
    r, around = length(view.u, view.v) / radius, angle(view.u, view.v)
    winding = jnp.log(r + 0.08)
    dots = cosine(spirals[0] * (around + 1.3 * winding)) * cosine(spirals[1] * (around - 0.8 * winding))
    dome = (1.0 - 0.35 * ramp(r, 0.6, 1.0)) * (1.0 + 0.2 * (view.u + view.v) / radius)
    shade = dome * (1.0 + 0.3 * dots * jnp.clip(1.0 - 4.0 * view.soft, 0.2, 1.0))
    rgb = mix(heart, rim, ramp(r, 0.2, 0.75)) * jnp.clip(shade, 0.0, 1.6)[None]
    return Paint(rgb, inside((r - 1.0) * radius, view.soft))


def daisy(dice: Dice, view: View) -> Paint:
    """Many narrow round petals, white or pale, in two rings around a yellow button."""
    tip = dice.color(((0.98, 0.98, 0.96), (0.97, 0.97, 1.0), (1.0, 0.98, 0.9), (0.98, 0.78, 0.88), (0.84, 0.76, 0.97)))
    count, radius = dice.whole(11, 20), dice(0.24, 0.34)
    ray = Ray(count, dice(1.9, 2.7) / count, 7, tip * color(0.86, 0.88, 0.86), tip)
    turn, reach, light = jnp.array([[0.5, 0.97, 0.8], [0.0, 1.0, 1.0]]).T
    parts = (dice(0.0, 1.0, (2,)), turn, reach, light)
    flower = pile(lambda *part: rays(view, ray, *part), parts, like=view.u)
    shadow = 1.0 - 0.4 * ramp(length(view.u, view.v), radius + 0.14, radius)
    button = florets(view, radius, (13, 8), color(0.9, 0.6, 0.05), color(0.98, 0.84, 0.2))
    return over(button, flower._replace(rgb=flower.rgb * shadow[None]))


def dandelion(dice: Dice, view: View) -> Paint:
    """A ball of seeds: a see-through globe of fine threads that end in white stars, around a brown core."""
    white = dice.color(((0.97, 0.97, 0.95), (0.92, 0.95, 0.97), (0.98, 0.93, 0.82), (0.86, 0.9, 0.84)))
    u, v, soft = view
    r = length(u, v)
    fine = jnp.clip(0.055 / soft, 0.0, 1.0)  # threads and stars fade into haze as the picture blurs
    globe = dice(0.5, 1.1) * (0.3 + 0.25 * ramp(r, 0.2, 0.8)) * ramp(r, 1.0, 0.82)
    bare = dice(0.2, 2.2)  # below 1 some seeds have flown
    haze = Paint(white * (0.66 + 0.25 * ramp(r, 0.1, 0.9))[None], globe)

    def ring(seed: Array, count: Array, radius: Array) -> Paint:
        petal = petals(seed, u, v, count, 0.0)
        outward = petal.along - radius * (1.0 + 0.07 * petal.size)
        thread = 0.55 * fine * inside(jnp.abs(petal.across) - 0.006, soft) * (outward < 0.0).astype(jnp.float32)
        spokes = 0.55 + 0.45 * cosine(9.0 * angle(outward, petal.across) + 3.0 * petal.tone)
        star = 1.3 * ramp(length(outward, petal.across), 0.17, 0.0) * (spokes * fine + 0.5 * (1.0 - fine))
        seed_head = jnp.clip(jnp.maximum(star, thread), 0.0, 1.0) * (petal.tone < bare).astype(jnp.float32)
        return Paint(white * (0.92 + 0.1 * petal.tone)[None], seed_head)

    counts = jnp.array([29.0, 20.0, 10.0]) + dice.whole(0, 6)
    parts = (dice(0.0, 1.0, (3,)), counts, jnp.array([0.84, 0.6, 0.33]))
    core = Paint(color(0.45, 0.35, 0.2) * (1.0 + u + v)[None], 0.85 * inside(r - 0.11, soft + 0.06))
    return over(core, pile(ring, parts, haze, like=u))


def rose(dice: Dice, view: View) -> Paint:
    """Broad petals folded in rings around a spiral heart, each with a bright lip and its neighbor's shadow."""
    reds = ((0.85, 0.06, 0.12), (0.72, 0.02, 0.1), (0.98, 0.5, 0.62), (0.95, 0.25, 0.45), (1.0, 0.7, 0.55))
    outside = dice.color((*reds, (0.98, 0.93, 0.86), (0.99, 0.82, 0.4)))
    deep = outside**2 * color(0.75, 0.5, 0.55)
    drift, twist = dice(-0.05, 0.05, (2,)), dice(0.3, 0.45)

    def ring(seed: Array, step: Array, count: Array) -> Paint:
        petal = petals(seed, view.u - step * drift[0], view.v - step * drift[1], count, twist * step)
        radius, r = 0.79**step, length(petal.along, petal.across)
        edge = radius * (1.0 + 0.07 * petal.size - 0.16 * petal.slant**2 - 0.05 * petal.slant)
        depth = jnp.clip((edge - r) / (0.26 * radius + 0.05), 0.0, 1.0)
        fold = 1.0 - 0.4 * ramp(petal.slant, 0.55, 1.0) * (1.0 - depth)
        veins = 1.0 + 0.03 * cosine(14.0 * petal.slant)
        shade = (0.95 + 0.08 * petal.tone + 0.16 * ramp(depth, 0.3, 0.08)) * fold * veins
        rgb = mix(outside, deep, ramp(depth, 0.1, 1.0)) * jnp.clip(shade, 0.0, 1.25)[None]
        return Paint(rgb, inside(r - edge, view.soft))

    leaf = Ray(5.0, 0.45, 2, color(0.08, 0.2, 0.06), color(0.16, 0.38, 0.12))
    leaves = rays(view, leaf, dice(0.0, 1.0), 0.0, 1.45, 1.0)
    counts = jnp.array([5.0, 5.0, 5.0, 4.0, 3.0, 3.0, 2.0])
    parts = (dice(0.0, 1.0, counts.shape), jnp.arange(len(counts), dtype=jnp.float32), counts)
    return pile(ring, parts, leaves, like=view.u)


def sunflower(dice: Dice, view: View) -> Paint:
    """Pointed petals from yellow to rust in three rings around a large dark disc of seeds."""
    yellows = ((1.0, 0.83, 0.08), (1.0, 0.77, 0.02), (1.0, 0.9, 0.25), (1.0, 0.85, 0.12), (0.99, 0.66, 0.05))
    tip = dice.color((*yellows, (0.9, 0.4, 0.08)))
    brown = dice.color(((0.2, 0.1, 0.04), (0.33, 0.19, 0.06), (0.3, 0.3, 0.1), (0.12, 0.06, 0.05)))
    count = dice.whole(15, 25)
    ray = Ray(count, dice(2.8, 3.9) / count, 2, tip * color(0.96, 0.8, 0.55), tip)
    turn, reach, light = jnp.array([[0.5, 1.0, 0.7], [0.0, 0.98, 0.88], [0.3, 0.86, 1.0]]).T
    parts = (dice(0.0, 1.0, (3,)), turn, reach, light)
    flower = pile(lambda *part: rays(view, ray, *part), parts, like=view.u)
    return over(florets(view, dice(0.4, 0.55), (21, 13), color(0.4, 0.22, 0.06), brown), flower)


def tulip(dice: Dice, view: View) -> Paint:
    """An upright cup of five pointed petals, seen from the side."""
    reds = ((0.88, 0.08, 0.1), (0.95, 0.3, 0.45), (1.0, 0.55, 0.65), (0.98, 0.5, 0.1), (0.75, 0.1, 0.4))
    body = dice.color((*reds, (0.98, 0.82, 0.12), (0.5, 0.16, 0.55), (0.97, 0.95, 0.9)))
    edge = 0.65 * body + 0.35 * dice.color(((1.0, 0.9, 0.4), (1.0, 0.95, 0.92), (0.9, 0.2, 0.2)))
    spread = dice(0.7, 1.45)

    def petal(lean: Array, top: Array, width: Array, light: Array) -> Paint:
        t = jnp.clip((view.v + 0.95) / (top + 0.95), 0.0, 1.0)
        half = 1.42 * width * jnp.sqrt(t * (1.0 - t)) * (1.35 - 0.35 * t)
        side = view.u - lean * spread * jnp.sqrt(t) * (0.6 + 0.4 * t)
        across = side / (half + 0.02)
        streaks = 1.0 + 0.07 * cosine(11.0 * across) * ramp(t, 0.05, 0.4)
        shade = light * streaks * (1.06 - 0.3 * across**2) * (0.78 + 0.22 * ramp(t, 0.0, 0.5))
        tint = mix(body, edge, ramp(jnp.abs(across), 0.45, 1.0) * ramp(t, 0.3, 0.9))
        tint = mix(color(0.75, 0.72, 0.3), tint, ramp(t, 0.0, 0.22))
        return Paint(tint * jnp.clip(shade, 0.0, 1.2)[None], leaf_cover(t, side, half, view.soft))

    behind = [-0.2, 0.8, 0.5, 0.62], [0.22, 0.78, 0.5, 0.58]
    before = [-0.46, 0.92, 0.46, 0.86], [0.46, 0.9, 0.46, 0.78], [0.03, 0.72, 0.56, 1.0]
    return pile(petal, tuple(jnp.array([*behind, *before]).T), like=view.u)
