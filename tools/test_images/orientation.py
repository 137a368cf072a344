"""EXIF and XMP blocks that say how an image is to be turned, whole and damaged."""

import random
import struct

from PIL import Image

ORIENTATION = 0x0112
TIFF_MAGIC = (b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+")


def tiff(*entries, order="<", magic=None, directory_at=8):
    """An EXIF block of (tag, type, count, bytes of the values)."""
    values_at = directory_at + 2 + 12 * len(entries) + 4
    body, values = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, data in entries:
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "L", values_at + len(values))
        values += data if len(data) > 4 else b""
        body += struct.pack(order + "HHL", tag, kind, count) + place
    magic = magic or {"<": b"II*\0", ">": b"MM\0*"}[order]
    return magic + struct.pack(order + "L", directory_at) + bytes(directory_at - 8) + body + bytes(4) + values


def oriented(orientation, order="<"):
    """An EXIF block as cameras write it: the maker first."""
    return tiff((0x010F, 2, 6, b"Maker\0"), (ORIENTATION, 3, 1, struct.pack(order + "H", orientation)), order=order)


def exif_rotated():
    return b"Exif\0\0" + oriented(6)


def random_exif(rng):
    """A block that may be unusual or damaged in any way."""
    order = rng.choice("<>")
    value = rng.choice([0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8, 9, 300])
    kind = rng.choice([3] * 6 + [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 99])
    form = {3: "H", 4: "L", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L", 16: "Q"}.get(kind)
    data = struct.pack(order + form, value) if form else bytes([value & 255])
    if kind in (5, 10):
        times = rng.choice([1, 1, 2, 3])
        data = struct.pack(order + "LL", value * times, rng.choice([times, times, 0]))
    entries = [(ORIENTATION, kind, rng.choice([1] * 8 + [0, 2, 100]), data)]
    if rng.random() < 0.5:
        entries.insert(0, (0x010F, 2, rng.choice([6, 6, 6, 0, 5000]), b"Maker\0"))
    if rng.random() < 0.2:
        entries.insert(rng.randint(0, 1), (ORIENTATION, 3, 1, struct.pack(order + "H", 3)))
    magic = rng.choice([None] * 8 + [{"<": b"II\0*", ">": b"MM*\0"}[order], b"MM\0+", b"II+\0", b"none"])
    block = bytearray(tiff(*entries, order=order, magic=magic, directory_at=rng.choice([8, 8, 20])))
    if rng.random() < 0.15:
        del block[rng.randrange(len(block)) :]
    elif rng.random() < 0.15:
        block[rng.randrange(len(block))] = rng.randrange(256)
    return rng.choice([b"", b"", b"Exif\0\0", b"Exif\0\0Exif\0\0"]) + bytes(block)


def pillow_orientation(block):
    """How Pillow has an image with this block turned; None if it finds no orientation, 1 if it refuses the block."""
    exif = Image.Exif()
    tiff_block = block.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0")
    try:
        exif.load(block)
        value = exif.get(ORIENTATION)
    except Exception:  # noqa: BLE001 - of many kinds
        return 1
    if ORIENTATION not in exif:
        return 1 if tiff_block and tiff_block[:4] not in TIFF_MAGIC else None
    return next((n for n in range(1, 9) if value == n), 1)


def exif_blocks():
    rng = random.Random(1)
    return [b"", b"Exif\0\0"] + [oriented(n, order) for n in range(10) for order in "<>"] + [random_exif(rng) for _ in range(200)]


def xmp(orientation):
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def raw_profile(block):
    """ImageMagick's way to keep EXIF in a PNG's text."""
    digits = block.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\nexif\n{len(block):8}\n{lines}\n".encode()
