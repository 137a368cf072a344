"""What is asked: the same of every engine."""
import base64
import io

import numpy
from PIL import Image

PROMPT = "Question: What is in the image? Answer:"
LONG, SHORT = 32, 5  # tokens, forced


def png(seed: int) -> bytes:
    """An image of 224 x 224 that no cache has seen: a gradient with noise."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:224, 0:224]
    channels = [x * (1 + seed % 5) + 31 * seed, y * (1 + seed % 3) + 17 * seed, x + y + 7 * seed]
    noise = random.integers(-20, 21, (224, 224, 3))
    pixels = (numpy.stack(channels, -1) % 256 + noise).clip(0, 255).astype(numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels, "RGB").save(out, "PNG")
    return out.getvalue()


def data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()
