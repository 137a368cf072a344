"""Small images drawn from a seed, in the forms that files take."""
from pathlib import Path

import numpy as np
from PIL import Image


def draw(seed: int, width: int, height: int, channels: int = 3) -> np.ndarray:
    """Waves, a few rectangles and a little noise: uint8 [height, width, channels]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, channels))
    for c in range(channels):
        fx, fy, phase = random.uniform(0.02, 0.25, 2).tolist() + [random.uniform(0, 6)]
        image[..., c] = 128 + 90 * np.sin(fx * x + fy * y + phase)
    for _ in range(5):
        left, top = random.integers(0, width), random.integers(0, height)
        image[top:top + height // 3, left:left + width // 3] = random.integers(0, 256, channels)
    image += random.integers(-6, 7, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def write_golden_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(1, 61, 47)).save(folder / "waves.png", optimize=True)
    Image.fromarray(draw(2, 75, 50)).save(folder / "photo.jpg", quality=85)
    Image.fromarray(draw(3, 33, 52)[..., 0]).save(folder / "grey.png", optimize=True)
    Image.fromarray(draw(4, 40, 31, 4), "RGBA").save(folder / "alpha.png", optimize=True)
    Image.fromarray(draw(5, 29, 29)).quantize(40).save(folder / "palette.png", optimize=True)
