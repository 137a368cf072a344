"""Synthetic scenes: what is in a picture, and how it is drawn.

A scene is one to five coloured shapes on an invisible 3x3 grid over a named background. Everything is drawn
from a `random.Random`, so a seed fixes a scene and its pixels.
"""
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

SHAPES = ["circle", "square", "triangle", "star", "heart", "cross"]
COLORS = {
    "red": (215, 35, 40), "orange": (245, 135, 25), "yellow": (245, 215, 45), "green": (35, 160, 60),
    "blue": (40, 75, 215), "purple": (135, 50, 180), "pink": (250, 145, 195), "cyan": (50, 200, 220),
}
COLOR_NAMES = list(COLORS)
BACKGROUNDS = {
    "white": (246, 246, 246), "gray": (150, 150, 150), "black": (18, 18, 20),
    "beige": (226, 208, 170), "brown": (98, 62, 36),
}
BACKGROUND_NAMES = list(BACKGROUNDS)
SIZES = ["small", "large"]


@dataclass(slots=True)
class SceneObject:
    """One shape. `cell` is its place in the 3x3 grid, 0-8 in reading order."""

    cell: int
    shape: str
    color: str
    size: str


@dataclass(slots=True)
class Scene:
    """A background and its objects, at most one a cell, ordered by cell."""

    background: str
    objects: list[SceneObject]

    def at(self, cell: int) -> SceneObject | None:
        """The object in a cell, or None."""
        return next((o for o in self.objects if o.cell == cell), None)


def make_scene(rng: random.Random, dense: bool = False) -> Scene:
    """A random scene of 1-5 objects; `dense` scenes (4-9 objects) show perception more shapes an image."""
    count = rng.choice((4, 5, 6, 7, 7, 8, 8, 9, 9)) if dense else rng.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 5))
    # A repeated theme makes equal shapes and equal colours common enough to be worth counting.
    theme_shape, theme_color = rng.choice(SHAPES), rng.choice(COLOR_NAMES)
    objects = []
    for cell in sorted(rng.sample(range(9), count)):
        shape = theme_shape if rng.random() < 0.22 else rng.choice(SHAPES)
        color = theme_color if rng.random() < 0.22 else rng.choice(COLOR_NAMES)
        objects.append(SceneObject(cell, shape, color, rng.choice(SIZES)))
    return Scene(rng.choice(BACKGROUND_NAMES), objects)


def mirrored(scene: Scene) -> Scene:
    """The scene as its left-right mirrored picture shows it (every shape is mirror symmetric)."""
    objects = [SceneObject(o.cell // 3 * 3 + 2 - o.cell % 3, o.shape, o.color, o.size) for o in scene.objects]
    return Scene(scene.background, sorted(objects, key=lambda o: o.cell))


def _star_distance(x, y):
    """Signed distance to the nearest edge line of a five-pointed star."""
    outer, inner = 1.12, 0.48
    angle = np.arctan2(x, -y)
    angle = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    radius = np.sqrt(x * x + y * y)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    dx, dy = inner * np.cos(np.pi / 5) - outer, inner * np.sin(np.pi / 5)
    return ((px - outer) * dy - py * dx) / np.hypot(dx, dy)


def _heart_distance(x, y):
    """Signed distance to a heart, by the two-part construction published by Inigo Quilez (sdHeart)."""
    scale = 0.60
    x, y = np.abs(x) * scale, 0.56 - y * scale
    arc = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - 0.35355
    m = 0.5 * np.maximum(x + y, 0)
    tip = np.sqrt(np.minimum(x**2 + (y - 1) ** 2, (x - m) ** 2 + (y - m) ** 2)) * np.sign(x - y)
    return np.where(x + y > 1.0, arc, tip) / scale


def _signed_distance(shape, x, y):
    """About the distance to the outline, negative inside, in units of the radius; y points down."""
    ax, ay = np.abs(x), np.abs(y)
    if shape == "circle":
        return np.sqrt(x * x + y * y) - 1.0
    if shape == "square":
        return np.maximum(ax, ay) - 0.88
    if shape == "triangle":
        return np.maximum(y - 0.72, 0.8823 * ax - 0.4706 * (y + 1.02))
    if shape == "cross":
        return np.minimum(np.maximum(ax - 1.0, ay - 0.33), np.maximum(ax - 0.33, ay - 1.0))
    return _star_distance(x, y) if shape == "star" else _heart_distance(x, y)


_NOISE_POOLS: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _noise_pool(size):
    """(white, smooth) noise images of twice the picture's side; the renderer crops them at random."""
    if size not in _NOISE_POOLS:
        generator = np.random.default_rng(12345)
        white = generator.standard_normal((4, size * 2, size * 2, 3)).astype(np.float32)
        smooth = []
        for _ in range(12):
            coarse = Image.fromarray((generator.random((10, 10)) * 255).astype(np.uint8))
            smooth.append(np.asarray(coarse.resize((size * 2, size * 2), Image.BICUBIC), np.float32) / 127.5 - 1)
        _NOISE_POOLS[size] = (white, np.stack(smooth))
    return _NOISE_POOLS[size]


def _crop(pool, rng, size):
    field, top, left = pool[rng.randrange(len(pool))], rng.randrange(size), rng.randrange(size)
    return field[top:top + size, left:left + size]


def _draw_object(image, o, rng):
    """Blends one anti-aliased shape with jittered place, size, angle, aspect and colour into the image."""
    side = image.shape[0]
    radius = side * (rng.uniform(0.064, 0.080) if o.size == "small" else rng.uniform(0.112, 0.136))
    jitter = min(0.06, 0.162 - radius / side) * side
    cx = (o.cell % 3 + 0.5) * side / 3 + rng.uniform(-jitter, jitter)
    cy = (o.cell // 3 + 0.5) * side / 3 + rng.uniform(-jitter, jitter)
    angle, aspect = rng.uniform(-0.17, 0.17), rng.uniform(0.94, 1.06)
    extent = radius * 1.25 + 1.5
    x0, x1 = max(0, int(cx - extent)), min(side, int(cx + extent) + 1)
    y0, y1 = max(0, int(cy - extent)), min(side, int(cy + extent) + 1)
    x = (np.arange(x0, x1, dtype=np.float32) + 0.5 - cx) / (radius * aspect)
    y = ((np.arange(y0, y1, dtype=np.float32) + 0.5 - cy) * (aspect / radius))[:, None]
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    distance = _signed_distance(o.shape, c * x - s * y, s * x + c * y)
    alpha = np.clip(0.5 - distance * radius, 0, 1)[:, :, None]
    color = np.array([v + rng.uniform(-16, 16) for v in COLORS[o.color]], np.float32)
    box = image[y0:y1, x0:x1]
    box += alpha * (color - box)


def render(scene: Scene, rng: random.Random, size: int) -> np.ndarray:
    """Draws a scene: uint8 RGB, [size, size, 3]. The background is plain, a gradient, noisy or blotchy."""
    white, smooth = _noise_pool(size)
    image = np.empty((size, size, 3), np.float32)
    image[:] = [channel + rng.uniform(-9, 9) for channel in BACKGROUNDS[scene.background]]
    style = rng.random()
    if 0.35 <= style < 0.65:  # gradient
        angle, amplitude = rng.uniform(0, 6.283), rng.uniform(8, 22)
        t = np.linspace(-1, 1, size, dtype=np.float32)
        image += (amplitude * (np.cos(angle) * t[None, :] + np.sin(angle) * t[:, None]))[:, :, None]
    elif style >= 0.82:  # blotches
        blotches = _crop(smooth, rng, size)
        image += (rng.uniform(6, 16) * blotches)[:, :, None]
    for o in scene.objects:
        _draw_object(image, o, rng)
    sigma = rng.uniform(6, 12) if 0.65 <= style < 0.82 else rng.uniform(0, 4)  # 0.65-0.82: noisy
    image += np.float32(sigma) * _crop(white, rng, size)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
