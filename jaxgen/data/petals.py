"""`petals`: flowers drawn from a key, so that the 80x80 models run anywhere, with nothing to download."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxgen.data.dataset import Dataset, Split
from jaxgen.data.petals_shapes import (
    Dice,
    Paint,
    View,
    color,
    daisy,
    dandelion,
    inside,
    leaf_cover,
    length,
    mix,
    pile,
    ramp,
    rose,
    sunflower,
    tulip,
)
from jaxgen.errors import check_at_least, refuse

VERSION = "1"  # of the drawing: incremented whenever a pixel of it would change
BATCH = 32  # flowers of one class drawn at once, up to 80x80 pixels; fewer if larger, to bound memory
OTHERS = 4  # maximum number of blossoms around the first


class Species(NamedTuple):
    """Geometry of a flower in its picture; lengths in half widths of the picture, angles in radians."""

    radius: tuple[float, float]
    others: float  # probability of each further blossom
    tilt: tuple[float, float]  # height of the blossom over its width, as seen
    lean: float  # greatest rotation
    stem: float  # half width of the stem of a blossom of radius 1
    leaf: tuple[float, float]  # length and half width of the leaves at the stem


BLOSSOMS = {
    "daisy": (daisy, Species((0.42, 0.8), 0.35, (0.62, 1.0), np.pi, 0.05, (0.5, 0.05))),
    "dandelion": (dandelion, Species((0.45, 0.78), 0.15, (0.94, 1.0), np.pi, 0.045, (0.55, 0.08))),
    "rose": (rose, Species((0.48, 0.75), 0.25, (0.8, 1.0), np.pi, 0.07, (0.0, 0.0))),
    "sunflower": (sunflower, Species((0.5, 0.85), 0.35, (0.8, 1.0), np.pi, 0.08, (0.7, 0.18))),
    "tulip": (tulip, Species((0.36, 0.6), 0.55, (1.0, 1.2), 0.25, 0.09, (1.1, 0.12))),
}
CLASS_NAMES = tuple(BLOSSOMS)

# Colors above, below, and of the spots of light in the blurred background.
SETTINGS = (
    ((0.1, 0.2, 0.07), (0.05, 0.1, 0.04), (0.3, 0.42, 0.16)),  # foliage in shade
    ((0.5, 0.66, 0.28), (0.22, 0.42, 0.12), (0.75, 0.8, 0.4)),  # sunny meadow
    ((0.42, 0.64, 0.92), (0.75, 0.85, 0.95), (0.95, 0.97, 1.0)),  # sky
    ((0.62, 0.78, 0.93), (0.3, 0.44, 0.14), (0.5, 0.62, 0.25)),  # field under the sky
    ((0.42, 0.26, 0.1), (0.2, 0.13, 0.06), (0.95, 0.66, 0.3)),  # evening
    ((0.3, 0.32, 0.38), (0.1, 0.11, 0.14), (0.45, 0.42, 0.5)),  # studio
)
GREENS = ((0.24, 0.44, 0.14), (0.36, 0.52, 0.2), (0.16, 0.36, 0.16), (0.42, 0.5, 0.24))


class Stand(NamedTuple):
    """Positions of the blossoms, the first in front; every field has one value per blossom."""

    x: Array
    y: Array
    radius: Array
    angle: Array
    tilt: Array
    present: Array


def stand(dice: Dice, species: Species) -> Stand:
    """One large blossom near the middle and up to `OTHERS` small ones around it."""
    radius = dice(*species.radius)
    return Stand(
        x=jnp.append(dice(-0.22, 0.22), dice(-0.95, 0.95, (OTHERS,))),
        y=jnp.append(dice(-0.12, 0.32), dice(-0.8, 0.8, (OTHERS,))),
        radius=radius * jnp.append(1.0, dice(0.3, 0.6, (OTHERS,))),
        angle=dice(-species.lean, species.lean, (1 + OTHERS,)),
        tilt=dice(*species.tilt, (1 + OTHERS,)),
        present=jnp.append(True, dice(0.0, 1.0, (OTHERS,)) < species.others),
    )


def noise(dice: Dice, rows: int, columns: int, size: int) -> Array:
    """A smooth random field (size, size) of `rows` by `columns` waves, about -1 to 1."""
    return jax.image.resize(dice(-1.0, 1.0, (rows, columns)), (size, size), "cubic")


def surroundings(dice: Dice, x: Array, y: Array) -> Array:
    """The background (3, S, S): two colors, cloudy, with blades below and blurred spots of light."""
    size = len(x)
    above, below, spot = (dice.row(SETTINGS) * dice(0.92, 1.08, (3, 3)))[..., None, None]
    cloud = 0.6 * noise(dice, 4, 4, size) + 0.4 * noise(dice, 9, 9, size)
    level = dice(-0.4, 0.4)
    green = jnp.clip(6.0 * (below[1] - jnp.maximum(below[0], below[2])), 0.1, 1.0)  # blades where the ground is green
    blades = green * noise(dice, 4, 26, size) * ramp(y, level + 0.2, level - 0.5)
    picture = mix(below, above, ramp(y + 0.25 * cloud, level - 0.35, level + 0.35))
    picture = picture * (1.0 + 0.28 * cloud + 0.25 * blades)[None]
    picture = picture + 0.03 * noise(dice, 5, 5, size)[None] * color(1.0, 0.2, -1.0)

    def glimmer(at_x: Array, at_y: Array, width: Array, strength: Array) -> Paint:
        return Paint(spot, strength * ramp(length(x - at_x, y - at_y), width + 0.07, width - 0.05))

    spots = (dice(-1.1, 1.1, (7,)), dice(-1.1, 1.1, (7,)), dice(0.08, 0.26, (7,)), dice(0.0, 0.5, (7,)))
    return pile(glimmer, spots, Paint(picture, jnp.ones_like(x)), like=x).rgb


def greenery(dice: Dice, x: Array, y: Array, at: Stand, species: Species) -> Paint:
    """Stems below all blossoms, and two leaves on the first one's."""
    green, bend, soft = dice.color(GREENS), dice(-0.3, 0.3), 3.0 / len(x)

    def stem(soft: Array, at: Stand) -> Paint:
        down, half = jnp.maximum(at.y - y, 0.0), species.stem * at.radius
        across = (x - at.x - bend * down**2) / half
        shown = ((y < at.y) & at.present).astype(jnp.float32)
        alpha = inside((jnp.abs(across) - 1.0) * half, soft) * shown
        return Paint(green * jnp.clip(0.9 - 0.3 * across, 0.5, 1.2)[None], alpha)

    tall, width = species.leaf
    foot = jnp.minimum(at.y[0] - at.radius[0] - 0.55, -0.75)

    def leaf(side: Array, reach: Array, curve: Array) -> Paint:
        t = jnp.clip((y - foot) / jnp.maximum(reach * tall, 1e-3), 0.0, 1.0)
        from_middle = x - at.x[0] - bend * (at.y[0] - foot) ** 2 - side * curve * tall * t * (0.4 + 0.6 * t)
        half = 2.0 * width * jnp.sqrt(t) * (1.0 - t)
        rib = inside(jnp.abs(from_middle) - 0.2 * soft, soft)
        shade = 0.85 + 0.2 * side * from_middle / (half + 0.02) - 0.2 * rib + 0.2 * t
        return Paint(green * jnp.clip(shade, 0.4, 1.3)[None], leaf_cover(t, from_middle, half, soft))

    softness = jnp.where(jnp.arange(1 + OTHERS) == 0, soft, 3.0 * soft)
    stems = pile(stem, jax.tree.map(jnp.flip, (softness, at)), like=x)
    leaves = (jnp.array([-1.0, 1.0]), dice(0.7, 1.1, (2,)), dice(0.35, 0.8, (2,)))
    return pile(leaf, leaves, stems, like=x)


def look(x: Array, y: Array, at: Stand) -> View:
    """Views of two layers of blossoms (2, S, S): the nearest of the others at each pixel, and the first."""

    def view(at: Stand) -> View:
        dx, dy, cos, sin = x - at.x, y - at.y, jnp.cos(at.angle), jnp.sin(at.angle)
        u, v = (cos * dx + sin * dy) / at.radius, (cos * dy - sin * dx) / (at.radius * at.tilt)
        return View(u, v, jnp.full_like(x, 2.4 / len(x) / at.radius))

    def nearer(best: View, at: Stand) -> tuple[View, None]:
        this = view(at)
        closer = at.present & (length(this.u, this.v) < length(best.u, best.v))
        return View(*(jnp.where(closer, a, b) for a, b in zip(this, best, strict=True))), None

    nowhere = View(*(jnp.full_like(x, 9.0) for _ in View._fields))
    others, _ = jax.lax.scan(nearer, nowhere, jax.tree.map(lambda leaf: leaf[1:], at))
    first = view(jax.tree.map(lambda leaf: leaf[0], at))
    blurred = others._replace(soft=2.0 * others.soft)
    return View(*(jnp.stack(pair) for pair in zip(blurred, first, strict=True)))


def blossom_layers(blossom: Callable[[Dice, View], Paint], key: Array, view: View) -> Paint:
    """The same kind of flower in every view (axis 0)."""
    return jax.vmap(lambda view: blossom(Dice(key, 24), view))(view)


def draw(key: Array, label: Array | int, size: int) -> Array:
    """One flower of class `label`, (size, size, 3) in [0, 1]; keep `label` out of a vmap to compute one class only."""
    dice, blossom_key = Dice(key, 400), jax.random.fold_in(key, 1)
    line = (jnp.arange(size, dtype=jnp.float32) + 0.5) * (2.0 / size) - 1.0
    x, y = jnp.meshgrid(line, -line)
    species = jax.tree.map(lambda *values: jnp.array(values)[label], *(species for _, species in BLOSSOMS.values()))
    at = stand(dice, species)
    view = look(x, y, at)
    blossoms = [partial(blossom_layers, blossom) for blossom, _ in BLOSSOMS.values()]
    others, first = (Paint(*layer) for layer in zip(*jax.lax.switch(label, blossoms, blossom_key, view), strict=True))

    picture, green = surroundings(dice, x, y), greenery(dice, x, y, at, species)
    picture = mix(picture, green.rgb, green.alpha)
    picture = mix(picture, 0.88 * others.rgb, others.alpha)
    shadow = 0.3 * jnp.exp(-1.2 * (view.u[1] ** 2 + view.v[1] ** 2))
    picture = mix(picture * (1.0 - shadow)[None], first.rgb, first.alpha)
    slope_x, slope_y, strength, warmth = dice(-1.0, 1.0, (4,))
    light = 1.0 + 0.14 * (slope_x * x + slope_y * y) + 0.1 * strength - 0.08 * (x**2 + y**2)
    picture = picture * light[None] * (1.0 + 0.05 * warmth * color(1.0, 0.0, -1.0))
    return jnp.moveaxis(jnp.clip(picture, 0.0, 1.0), 0, -1)


def batch_size(size: int) -> int:
    """Number of flowers drawn at once."""
    return max(1, min(BATCH, BATCH * 80 * 80 // (size * size)))


@partial(jax.jit, static_argnames="size")
def draw_batch(root: Array, label: Array, first: Array, size: int) -> Array:
    """Bytes (batch, size, size, 3) of the flowers `first`, `first` + 5, ... of one class."""
    index = first + len(BLOSSOMS) * jnp.arange(batch_size(size))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(root, index)
    images = jax.vmap(draw, (0, None, None))(keys, label, size)
    return jnp.round(images * 255.0).astype(jnp.uint8)


def load(count: int, size: int, test_fraction: float, seed: int) -> Dataset:
    """`count` flowers of `size` x `size` pixels, the last `test_fraction` of them for testing.

    Flower i has class i mod 5, so both splits are balanced, and depends on `seed`, `size` and i only; another `size`
    shows the same flower. 5,000 of 80x80 take about 12 s on two cores, half of it to compile.
    Raises `SettingError` for an invalid setting.
    """
    check_at_least("data.count", count, 2)
    check_at_least("data.size", size, 8)
    if not 0 <= seed < 2**32:
        refuse("data.seed", seed, "from 0 to 2**32 - 1")
    if not 0.0 < test_fraction < 1.0:
        refuse("data.test_fraction", test_fraction, "more than 0 and less than 1")
    images = np.empty((count, size, size, 3), np.uint8)
    root, classes = jax.random.key(seed), len(BLOSSOMS)
    step = classes * batch_size(size)
    for label in range(classes):
        for first in range(label, count, step):
            rows = images[first : first + step : classes]
            rows[:] = np.asarray(draw_batch(root, label, first, size))[: len(rows)]
    labels = np.arange(count, dtype=np.int32) % classes
    train = count - min(max(round(count * test_fraction), 1), count - 1)
    return Dataset(
        name="petals",
        version=VERSION,
        train=Split(images[:train], labels[:train]),
        test=Split(images[train:], labels[train:]),
        class_names=CLASS_NAMES,
    )
