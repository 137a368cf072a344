"""Fresh images in every form that the service decodes: odd crops of scikit-image's sample photographs."""
import random
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

# Only files that ship inside the wheel; the others would be downloaded.
_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg")
_AS_THEY_ARE = ("camera.png", "page.png", "horse.png", "logo.png", "chessboard_RGB.png", "hubble_deep_field.jpg")
_FOLDER = Path(data.__file__).parent


def _crop(rng, longest=500):
    photo = Image.open(_FOLDER / rng.choice(_PHOTOS)).convert("RGB")
    width, height = (rng.randint(5, min(longest, side)) for side in photo.size)
    left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
    return photo.crop((left, top, left + width, top + height))


def _with_alpha(rng, photo):
    alpha = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (photo.height, photo.width), dtype=np.uint8)
    photo.putalpha(Image.fromarray(alpha))
    return photo


def _grey_16_bit(rng):
    grey = np.asarray(_crop(rng).convert("L")).astype(np.uint16)
    return Image.fromarray(grey * rng.choice((1, 2, 257)))


def _rotated_by_exif(rng):
    exif = Image.Exif()
    exif[0x0112] = rng.randint(1, 8)
    return dict(exif=exif)


# name -> (file ending, image of a random generator, options of Image.save)
_FORMS = {
    "png": ("png", _crop, lambda rng: {}),
    "jpeg_420": ("jpg", _crop, lambda rng: dict(quality=rng.randint(30, 95), subsampling=2)),
    "jpeg_422": ("jpg", _crop, lambda rng: dict(quality=rng.randint(30, 95), subsampling=1)),
    "jpeg_444": ("jpg", _crop, lambda rng: dict(quality=95, subsampling=0)),
    "jpeg_progressive": ("jpg", _crop, lambda rng: dict(quality=75, progressive=True)),
    "jpeg_grey": ("jpg", lambda rng: _crop(rng).convert("L"), lambda rng: {}),
    "jpeg_cmyk": ("jpg", lambda rng: _crop(rng).convert("CMYK"), lambda rng: dict(quality=90)),
    "jpeg_exif": ("jpg", _crop, _rotated_by_exif),
    "png_exif": ("png", _crop, _rotated_by_exif),
    "webp_exif": ("webp", _crop, _rotated_by_exif),
    "gif": ("gif", lambda rng: _crop(rng).quantize(rng.choice((2, 60, 256))), lambda rng: dict(interlace=rng.randint(0, 1))),
    "gif_clear": ("gif", lambda rng: _crop(rng).quantize(60), lambda rng: dict(transparency=3)),
    "webp": ("webp", _crop, lambda rng: dict(quality=rng.randint(30, 95))),
    "webp_lossless": ("webp", _crop, lambda rng: dict(lossless=True)),
    "webp_alpha": ("webp", lambda rng: _with_alpha(rng, _crop(rng)), lambda rng: dict(lossless=True, exact=True)),
    "png_grey": ("png", lambda rng: _crop(rng).convert("L"), lambda rng: {}),
    "png_rgba": ("png", lambda rng: _with_alpha(rng, _crop(rng)), lambda rng: {}),
    "png_la": ("png", lambda rng: _with_alpha(rng, _crop(rng)).convert("LA"), lambda rng: {}),
    "png_palette": ("png", lambda rng: _crop(rng).quantize(rng.choice((2, 13, 200))), lambda rng: {}),
    "png_palette_clear": ("png", lambda rng: _crop(rng).quantize(60), lambda rng: dict(transparency=3)),
    "png_16_bit": ("png", _grey_16_bit, lambda rng: {}),
    "png_1_bit": ("png", lambda rng: _crop(rng).convert("1"), lambda rng: {}),
    "png_thin": ("png", lambda rng: _crop(rng).resize((rng.randint(1, 4), rng.randint(300, 900))), lambda rng: {}),
    "jpeg_flat": ("jpg", lambda rng: _crop(rng).resize((rng.randint(300, 900), rng.randint(1, 4))), lambda rng: {}),
}


def make(folder: Path, seed: int, of_each: int = 2) -> dict[str, list[Path]]:
    """Files by form; "as_it_is" are samples that scikit-image itself stores in an unusual form."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"as_it_is": [_FOLDER / name for name in _AS_THEY_ARE]}
    for form, (ending, draw, options) in _FORMS.items():
        made[form] = []
        for number in range(of_each):
            rng = random.Random(f"{seed} {form} {number}")
            path = folder / f"{form}_{number}.{ending}"
            draw(rng).save(path, **options(rng))
            made[form].append(path)
    return made
