"""What is asked: the same of every engine."""
import base64
import io
from dataclasses import dataclass

import numpy
from PIL import Image

_ABOUT_AN_IMAGE = "What is in the image?"
_WORDS = "red blue green small large left right above below circle square star house tree road river".split()
LONG, SHORT = 32, 5  # tokens, forced


@dataclass(frozen=True)
class Question:
    words: str
    image: bytes | None = None  # PNG

    @property
    def prompt(self) -> str:
        """What the model reads behind the image: BLIP-2's form, which our chat completions write themselves."""
        return f"Question: {self.words} Answer:"


def about_an_image(seed: int) -> Question:
    return Question(_ABOUT_AN_IMAGE, _png(seed))


def text_alone(seed: int) -> Question:
    """One that shares no beginning with others, which a cache could keep."""
    words = numpy.random.default_rng(seed).choice(_WORDS, 8)
    return Question(f"{seed}: which of {', '.join(words)} is next?")


def _png(seed: int) -> bytes:
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
