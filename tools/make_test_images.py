#!/usr/bin/env python3
"""Writes tests/data/images/, tiny awkward images and what Pillow makes of each; tests/data/exif.json, EXIF blocks and
how Pillow has an image turned for each; and tests/fuzz/corpus/image/, files that attack a decoder.

    .deps/python/bin/python tools/make_test_images.py

expected.json holds, for each file, the sides and the CRC-32 of what transformers makes of it: load_image, which turns
it as its EXIF says, but with transparency over white, as the image processor's convert_to_rgb shows it.
Run it with the versions in tools/parity/requirements.txt, and read the diff of
expected.json before you commit it: the files are seeded and change only with the encoders.
"""

import json
import pathlib
import zlib

import PIL
import transformers
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb
from transformers.image_utils import load_image

from test_images.hostile import hostile
from test_images.images import images
from test_images.orientation import exif_blocks, pillow_orientation

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
FOLDER = TESTS / "data" / "images"
HOSTILE_FOLDER = TESTS / "fuzz" / "corpus" / "image"


def reference(path):
    """The image as the model is to see it, before it is resized."""
    opened = ImageOps.exif_transpose(Image.open(path))
    rgb = Image.fromarray(convert_to_rgb(opened, return_numpy=True))
    transparent = "A" in opened.getbands() or opened.info.get("transparency") is not None
    if not transparent and load_image(str(path)).tobytes() != rgb.tobytes():
        raise RuntimeError(f"load_image reads {path.name} otherwise")
    return rgb


def main():
    HOSTILE_FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in hostile():
        (HOSTILE_FOLDER / name).write_bytes(data)
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {"pillow": PIL.__version__, "transformers": transformers.__version__, "images": {}}
    for name, data in images():
        (FOLDER / name).write_bytes(data)
        rgb = reference(FOLDER / name)
        expected["images"][name] = {"width": rgb.width, "height": rgb.height, "crc32": zlib.crc32(rgb.tobytes())}
    blocks = [{"block": block.hex(), "orientation": pillow_orientation(block)} for block in exif_blocks()]
    (TESTS / "data" / "exif.json").write_text(json.dumps({"pillow": PIL.__version__, "blocks": blocks}, indent=1) + "\n")
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{len(expected['images'])} images in {FOLDER}")


if __name__ == "__main__":
    main()
