#!/usr/bin/env python3
"""Writes tests/data/images/, tiny awkward images and what Pillow makes of each; tests/data/exif.json, EXIF blocks and
how Pillow has an image turned for each; and tests/fuzz/corpus/image/, files that attack a decoder.

    .deps/python/bin/python tools/make_test_images.py

expected.json holds, for each file, the sides and the CRC-32 of what transformers makes of it: load_image, which turns
it as its EXIF says, but with transparency over white, as the image processor's convert_to_rgb shows it.
Run it with the versions in tools/parity/requirements.txt, and read the diff of
expected.json before you commit it: the files are seeded and change only with the encoders.
"""

import ctypes
import ctypes.util
import io
import json
import pathlib
import random
import struct
import zlib

import numpy as np
import PIL
import transformers
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb
from transformers.image_utils import load_image

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
FOLDER = TESTS / "data" / "images"
HOSTILE_FOLDER = TESTS / "fuzz" / "corpus" / "image"
WIDTH, HEIGHT = 37, 23


def pixels(channels, depth=8, width=WIDTH, height=HEIGHT, seed=1):
    """Smooth ramps with a little noise, [height, width, channels], values below 2**depth."""
    rng = np.random.default_rng(seed)
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    ramp = (x / width + y / height * (c + 1) + 0.2 * np.sin(x * 0.7 + c)) % 1.0
    noisy = np.clip(ramp + rng.normal(0, 0.02, ramp.shape), 0, 1)
    return np.round(noisy * (2**depth - 1)).astype(np.uint16)


def pillow(mode, **options):
    """The image in a Pillow mode, encoded with save(**options)."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    picture = pixels(channels, width=options.pop("width", WIDTH), height=options.pop("height", HEIGHT)).astype(np.uint8)
    image = Image.fromarray(picture[:, :, 0] if mode == "L" else picture, mode)
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def png_chunk(name, payload):
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def pack_rows(samples, depth):
    """Rows of one PNG pass, each with filter byte 0."""
    rows = []
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        elif depth == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
            packed = np.packbits(bits.astype(np.uint8)).tobytes()
        rows.append(b"\0" + packed)
    return b"".join(rows)


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(color_type, depth, interlaced=False, palette=None, before_data=(), **size):
    """A PNG that Pillow's encoder may not be able to write: any type, depth and interlacing."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color_type]
    samples = pixels(channels, depth, **size)
    height, width = samples.shape[:2]
    if color_type == 0 and depth == 16:
        samples[: height // 2] //= 200  # half of the image lies in the range that is not clipped
    data = b""
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    for x, y, dx, dy in passes:
        part = samples[y::dy, x::dx]
        if part.size:
            data += pack_rows(part, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    chunks = [png_chunk(b"IHDR", header)]
    if palette is not None:
        chunks.append(png_chunk(b"PLTE", palette))
    chunks += [png_chunk(name, payload) for name, payload in before_data]
    chunks += [png_chunk(b"IDAT", zlib.compress(data, 9)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def color_table(entries):
    return bytes((37 * i + 91 * c) % 256 for i in range(entries) for c in range(3))


def turbo_jpeg(subsampling, width=WIDTH, height=HEIGHT):
    """A JPEG with a chroma subsampling that Pillow's encoder does not offer (4 is 4:4:0, 5 is 4:1:1)."""
    turbo = ctypes.CDLL(ctypes.util.find_library("turbojpeg"))
    turbo.tjInitCompress.restype = ctypes.c_void_p
    turbo.tjCompress2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                                  ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
                                  ctypes.c_int]  # fmt: skip
    turbo.tjBufSize.restype = ctypes.c_ulong
    picture = pixels(3, width=width, height=height).astype(np.uint8).tobytes()
    buffer = ctypes.create_string_buffer(turbo.tjBufSize(width, height, subsampling))
    address = ctypes.c_void_p(ctypes.addressof(buffer))
    size = ctypes.c_ulong(len(buffer))
    no_realloc = 1024
    handle = ctypes.c_void_p(turbo.tjInitCompress())
    failed = turbo.tjCompress2(handle, picture, width, 0, height, 0, ctypes.byref(address), ctypes.byref(size),
                               subsampling, 85, no_realloc)  # fmt: skip
    if failed:
        raise RuntimeError("TurboJPEG refused the image")
    return buffer.raw[: size.value]


ORIENTATION = 0x0112


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


TIFF_MAGIC = (b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+")


def exif_blocks():
    rng = random.Random(1)
    return [b"", b"Exif\0\0"] + [oriented(n, order) for n in range(10) for order in "<>"] + [random_exif(rng) for _ in range(200)]


def xmp(orientation):
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def with_segments(jpeg, *payloads):
    """The JPEG with an APP1 segment for each payload."""
    return jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in payloads) + jpeg[2:]


def raw_profile(block):
    """ImageMagick's way to keep EXIF in a PNG's text."""
    digits = block.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\nexif\n{len(block):8}\n{lines}\n".encode()


def after_data(png_file, *chunks):
    """The PNG with chunks between its pixels and its end."""
    return png_file[:-12] + b"".join(png_chunk(*chunk) for chunk in chunks) + png_file[-12:]


def sampling_patched(jpeg, first_component):
    """The JPEG with other sampling factors in its first component; only right for grey."""
    at = jpeg.index(b"\xff\xc0") + 11
    return jpeg[:at] + bytes([first_component]) + jpeg[at + 1 :]


def ycck(cmyk_jpeg):
    """The same data declared as YCCK: the last byte of Adobe's marker names the transform."""
    at = cmyk_jpeg.index(b"Adobe") + 11
    return cmyk_jpeg[:at] + b"\x02" + cmyk_jpeg[at + 1 :]


def without_adobe(jpeg):
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0] :]


def animated(channels=3, **options):
    frames = [Image.fromarray(pixels(channels, seed=s).astype(np.uint8), "RGBA" if channels == 4 else "RGB") for s in (1, 2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, save_all=True, append_images=frames[1:], duration=50, **options)
    return buffer.getvalue()


def gif(colors=60, **options):
    """A GIF of so many colors; 0: shades of grey."""
    if colors:
        image = Image.fromarray(pixels(3).astype(np.uint8), "RGB").quantize(colors)
    else:
        image = Image.fromarray(pixels(1).astype(np.uint8)[:, :, 0], "L")
    buffer = io.BytesIO()
    image.save(buffer, "GIF", **options)
    return buffer.getvalue()


def on_screen(gif_file, width, height, left=0, top=0):
    """The GIF with another screen, and its first frame elsewhere."""
    at = gif_file.index(b"," + bytes(4) + struct.pack("<HH", WIDTH, HEIGHT)) + 1
    moved = gif_file[:at] + struct.pack("<HH", left, top) + gif_file[at + 4 :]
    return moved[:6] + struct.pack("<HH", width, height) + moved[10:]


def webp_frame_at(webp_file, x, y):
    """The animated WebP on a canvas that is larger than its first frame, which lies at (x, y)."""
    moved = bytearray(webp_file)
    moved[24:30] = struct.pack("<I", WIDTH + x - 1)[:3] + struct.pack("<I", HEIGHT + y - 1)[:3]
    at = moved.index(b"ANMF") + 8
    moved[at : at + 6] = struct.pack("<I", x // 2)[:3] + struct.pack("<I", y // 2)[:3]
    return bytes(moved)


def segment_starts(jpeg):
    at, starts = 2, []
    while jpeg[at + 1] != 0xDA:
        starts.append(at)
        at += 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return starts + [at]


def irregular_jpegs():
    """What Pillow opens although something in it is not as it should be."""
    jpeg = pillow("RGB", format="JPEG", quality=85)
    progressive = pillow("RGB", format="JPEG", quality=85, progressive=True)
    starts = segment_starts(jpeg)

    def between(junk):
        return jpeg[: starts[0]] + junk.join(jpeg[a:b] for a, b in zip(starts, starts[1:])) + junk + jpeg[starts[-1] :]

    yield "zeros_before_end", jpeg[:-2] + bytes(8) + jpeg[-2:]
    yield "bytes_before_end", progressive[:-2] + b"\x12\x34\xff\x00\x56" + progressive[-2:]
    yield "stray_byte", between(b"\x00")
    yield "stray_bytes", between(b"abc")
    yield "stray_ff00", between(b"\xff\x00")
    yield "fill_bytes", between(b"\xff" * 5000)
    yield "bytes_behind_end", jpeg + b"something else"
    yield "twice", jpeg + jpeg
    yield "empty_comment", jpeg[:2] + b"\xff\xfe\0\0" + jpeg[2:]
    yield "damaged_scan", jpeg[:-300] + bytes([jpeg[-300] ^ 0x10]) + jpeg[-299:]
    yield "early_end", jpeg[:-300] + b"\xff\xd9"
    restarts = pillow("RGB", format="JPEG", quality=85, restart_marker_blocks=2)
    at = restarts.index(b"\xff\xd0")
    yield "lost_restart", restarts[:at] + restarts[at + 2 :]


def turned():
    """Images whose metadata says how to turn them, in every place where Pillow looks."""
    jpeg = pillow("RGB", format="JPEG", quality=85)
    xmp_prefix = b"http://ns.adobe.com/xap/1.0/\0"
    for orientation in range(1, 9):
        order = "<>"[orientation % 2]
        yield f"jpeg_exif_{orientation}.jpg", with_segments(jpeg, b"Exif\0\0" + oriented(orientation, order))
        yield f"png_exif_{orientation}.png", png(2, 8, before_data=[(b"eXIf", oriented(orientation, order))])
        yield f"webp_exif_{orientation}.webp", pillow("RGB", format="WEBP", quality=80, exif=oriented(orientation, order))
    block = b"Exif\0\0" + oriented(5)
    yield "jpeg_exif_in_two.jpg", with_segments(jpeg, block[:30], b"Exif\0\0" + block[30:])
    yield "jpeg_exif_cut_off.jpg", with_segments(jpeg, block[:25])
    yield "jpeg_exif_without_tag.jpg", with_segments(jpeg, b"Exif\0\0" + tiff(), xmp_prefix + xmp(6))
    yield "jpeg_xmp.jpg", with_segments(jpeg, xmp_prefix + xmp(8))
    yield "jpeg_cmyk_exif.jpg", with_segments(pillow("CMYK", format="JPEG", quality=85), b"Exif\0\0" + oriented(6))
    yield "png_exif_after_data.png", after_data(png(2, 8), (b"eXIf", oriented(6)))
    yield "png_exif_transparent.png", png(6, 8, before_data=[(b"eXIf", oriented(8))])
    yield "png_exif_16_bit.png", png(0, 16, before_data=[(b"eXIf", oriented(3))])
    profile = raw_profile(block)
    yield "png_raw_profile.png", png(2, 8, before_data=[(b"tEXt", b"Raw profile type exif\0" + profile)])
    yield "png_raw_profile_zipped.png", after_data(png(2, 8), (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))
    yield "png_xmp.png", png(2, 8, before_data=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6))])
    yield "png_xmp_zipped.png", png(2, 8, before_data=[(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(xmp(7)))])
    yield "webp_xmp.webp", pillow("RGB", format="WEBP", quality=80, xmp=xmp(6))
    yield "webp_animated_exif.webp", animated(format="WEBP", quality=80, exif=oriented(6))


def animations_and_gifs():
    yield "animated.webp", animated(format="WEBP", quality=50)
    yield "webp_animated_alpha.webp", animated(4, format="WEBP", lossless=True, exact=True)
    yield "webp_animated_on_larger_canvas.webp", webp_frame_at(animated(format="WEBP", quality=50), 4, 6)
    yield "webp_animated_alpha_on_larger_canvas.webp", webp_frame_at(animated(4, format="WEBP", lossless=True), 8, 2)
    yield "gif.gif", gif()
    yield "gif_2_colors.gif", gif(2)
    yield "gif_256_colors.gif", gif(256)
    yield "gif_grey.gif", gif(0)
    yield "gif_interlaced.gif", gif(interlace=1)
    yield "gif_transparent.gif", gif(transparency=3)
    yield "gif_grey_transparent.gif", gif(0, transparency=100)
    yield "gif_on_larger_screen.gif", on_screen(gif(), 50, 40, 5, 9)
    yield "gif_transparent_on_larger_screen.gif", on_screen(gif(transparency=3), 50, 40, 5, 9)
    yield "gif_on_smaller_screen.gif", on_screen(gif(), 10, 0, 3, 2)
    yield "gif_short_palette.gif", b"GIF87a\3\0\1\0\x80\0\0" + color_table(2) + b",\0\0\0\0\3\0\1\0\0\3\3\x51\x07\x09\0;"
    yield "gif_no_palette.gif", b"GIF87a\3\0\1\0\0\0\0,\0\0\0\0\3\0\1\0\0\3\3\x51\x07\x09\0;"
    yield "gif_animated.gif", animated(format="GIF")
    yield "gif_comment.gif", gif(comment=b"," * 300)


def pictures():
    yield from turned()
    yield from animations_and_gifs()
    for name, data in irregular_jpegs():
        yield f"jpeg_{name}.jpg", data
    for width, height in ((1, 1), (1, 9), (9, 1)):
        size = dict(width=width, height=height)
        yield f"jpeg_{width}x{height}.jpg", pillow("RGB", format="JPEG", quality=85, **size)
        yield f"png_{width}x{height}.png", png(2, 8, **size)
        yield f"webp_{width}x{height}.webp", pillow("RGB", format="WEBP", quality=85, **size)
        yield f"gif_{width}x{height}.gif", pillow("L", format="GIF", **size)
    jpeg = {"format": "JPEG", "quality": 85}
    webp = {"format": "WEBP"}
    cmyk = pillow("CMYK", **jpeg)
    yield "jpeg_444.jpg", pillow("RGB", subsampling="4:4:4", **jpeg)
    yield "jpeg_422.jpg", pillow("RGB", subsampling="4:2:2", **jpeg)
    yield "jpeg_420.jpg", pillow("RGB", subsampling="4:2:0", **jpeg)
    yield "jpeg_440.jpg", turbo_jpeg(4)
    yield "jpeg_411.jpg", turbo_jpeg(5)
    yield "jpeg_2x2.jpg", pillow("RGB", subsampling="4:2:0", width=2, height=2, **jpeg)
    yield "jpeg_17x33.jpg", pillow("RGB", subsampling="4:2:0", width=17, height=33, **jpeg)
    yield "jpeg_progressive.jpg", pillow("RGB", progressive=True, **jpeg)
    yield "jpeg_progressive_444.jpg", pillow("RGB", progressive=True, subsampling="4:4:4", **jpeg)
    yield "jpeg_restart.jpg", pillow("RGB", restart_marker_blocks=2, **jpeg)
    yield "jpeg_rgb_adobe.jpg", pillow("RGB", keep_rgb=True, **jpeg)
    yield "jpeg_quality_1.jpg", pillow("RGB", format="JPEG", quality=1)
    yield "jpeg_grey.jpg", pillow("L", **jpeg)
    yield "jpeg_grey_2x2_sampling.jpg", sampling_patched(pillow("L", width=16, height=8, **jpeg), 0x22)
    yield "jpeg_cmyk.jpg", cmyk
    yield "jpeg_cmyk_no_adobe.jpg", without_adobe(cmyk)
    yield "jpeg_ycck.jpg", ycck(cmyk)
    yield "jpeg_exif_rotated.jpg", pillow("RGB", exif=exif_rotated(), **jpeg)
    yield "jpeg_comment.jpg", pillow("RGB", comment=b"\xff\xc0" * 20, **jpeg)

    for depth in (1, 2, 4, 8, 16):
        yield f"png_grey_{depth}.png", png(0, depth)
        yield f"png_grey_{depth}_interlaced.png", png(0, depth, interlaced=True)
    for depth in (1, 2, 4, 8):
        yield f"png_palette_{depth}.png", png(3, depth, palette=color_table(2**depth))
        transparent = [(b"tRNS", bytes(range(0, 2**depth * 20 % 256)[: 2**depth]))]
        yield f"png_palette_{depth}_trns.png", png(3, depth, palette=color_table(2**depth), before_data=transparent)
    yield "png_palette_short.png", png(3, 8, palette=color_table(100))
    yield "png_palette_interlaced.png", png(3, 4, interlaced=True, palette=color_table(16))
    for color_type, name in ((2, "rgb"), (4, "grey_alpha"), (6, "rgba")):
        for depth in (8, 16):
            yield f"png_{name}_{depth}.png", png(color_type, depth)
            yield f"png_{name}_{depth}_interlaced.png", png(color_type, depth, interlaced=True)
    yield "png_grey_trns.png", png(0, 8, before_data=[(b"tRNS", b"\0\x40")])
    yield "png_grey_16_trns.png", png(0, 16, before_data=[(b"tRNS", b"\0\x40")])
    yield "png_rgb_trns.png", png(2, 8, before_data=[(b"tRNS", b"\0\x40\0\x40\0\x40")])
    yield "png_gamma.png", png(2, 8, before_data=[(b"gAMA", struct.pack(">I", 100000))])
    yield "png_grey_gamma_background.png", png(0, 8, before_data=[(b"gAMA", struct.pack(">I", 20000)), (b"bKGD", b"\0\x10")])
    yield "png_interlaced_2x2.png", png(2, 8, interlaced=True, width=2, height=2)
    yield "png_text.png", png(2, 8, before_data=[(b"tEXt", b"Comment\0IDAT"), (b"zTXt", b"A\0\0" + zlib.compress(b"a" * 5000))])
    yield "png_filtered.png", pillow("RGBA", format="PNG", optimize=True)
    yield "png_animated.png", animated(format="PNG")

    yield "webp_lossy.webp", pillow("RGB", quality=80, **webp)
    yield "webp_lossy_17x33.webp", pillow("RGB", quality=30, width=17, height=33, **webp)
    yield "webp_lossless.webp", pillow("RGB", lossless=True, **webp)
    yield "webp_lossless_alpha.webp", pillow("RGBA", lossless=True, exact=True, **webp)
    yield "webp_lossless_alpha_inexact.webp", pillow("RGBA", lossless=True, **webp)
    yield "webp_lossy_alpha.webp", pillow("RGBA", quality=80, **webp)
    yield "webp_exif_rotated.webp", pillow("RGB", quality=80, exif=exif_rotated(), **webp)
    yield "webp_2x2.webp", pillow("RGB", quality=80, width=2, height=2, **webp)


def png_of(width, height, depth, color_type, *chunks):
    """A PNG whose header may promise anything."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def hostile():
    jpeg = pillow("RGB", format="JPEG", quality=85)
    progressive = pillow("RGB", format="JPEG", quality=85, progressive=True)
    lossy = pillow("RGB", format="WEBP", quality=80)
    rgb = png(2, 8)
    size_at = jpeg.index(b"\xff\xc0") + 5
    first_scan = progressive.index(b"\xff\xda")
    second_scan = progressive.index(b"\xff\xda", first_scan + 2)
    zeros = zlib.compress(bytes(251 * 2000), 9)
    yield "empty", b""
    yield "gif_cut_off.jpg", b"GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,"
    yield "png_bomb_16384.png", png_of(16384, 16384, 8, 2, png_chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9)))
    yield "png_wide_20000x1.png", png_of(20000, 1, 1, 0, png_chunk(b"IDAT", zlib.compress(bytes(2501), 9)))
    yield "png_1x1.png", png(2, 8, width=1, height=1)
    yield "png_small_bomb.png", png_of(2000, 500, 1, 0, png_chunk(b"IDAT", zeros))
    yield "png_too_little_data.png", png_of(300, 300, 8, 2, png_chunk(b"IDAT", zlib.compress(bytes(5000))))
    yield "png_too_much_data.png", png_of(3, 3, 8, 2, png_chunk(b"IDAT", zlib.compress(bytes(50000))))
    behind = zlib.compress(bytes(3 * 10) + bytes(30_000_000), 9)  # inflating it all costs time for nothing
    yield "png_data_behind_rows.png", png_of(3, 3, 8, 2, png_chunk(b"IDAT", behind))
    yield "png_text_bombs.png", png_of(3, 3, 8, 2, *[png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(1 << 22), 9))] * 3, png_chunk(b"IDAT", zlib.compress(bytes(30))))
    yield "png_no_data.png", png_of(3, 3, 8, 2)
    yield "png_no_palette.png", png_of(3, 3, 8, 3, png_chunk(b"IDAT", zlib.compress(bytes(12))))
    yield "png_long_palette.png", png_of(3, 3, 1, 3, png_chunk(b"PLTE", color_table(256)), png_chunk(b"IDAT", zlib.compress(bytes(6))))
    yield "png_chunk_of_4_gib.png", rgb[:33] + b"\xff\xff\xff\xff" + rgb[37:]
    yield "png_two_headers.png", rgb[:33] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)) + rgb[33:]
    yield "png_bad_filter.png", png_of(3, 3, 8, 2, png_chunk(b"IDAT", zlib.compress(b"\x09" * 30)))
    yield "png_text_bomb.png", png_of(3, 3, 8, 2, png_chunk(b"zTXt", b"A\0\0" + zlib.compress(bytes(1 << 22), 9)), png_chunk(b"IDAT", zlib.compress(bytes(30))))
    yield "png_profile_bomb.png", png_of(3, 3, 8, 2, png_chunk(b"iCCP", b"A\0\0" + zlib.compress(bytes(1 << 22), 9)), png_chunk(b"IDAT", zlib.compress(bytes(30))))
    yield "jpeg_markers.jpg", b"\xff\xd8" + b"\xff" * 6000 + jpeg[2:]
    yield "jpeg_huge_sides.jpg", jpeg[:size_at] + b"\xff\xff\xff\xff" + jpeg[size_at + 4 :]
    yield "jpeg_larger_than_its_data.jpg", jpeg[:size_at] + struct.pack(">HH", 500, 500) + jpeg[size_at + 4 :]
    yield "jpeg_two_frames.jpg", jpeg[: size_at - 5] + jpeg[size_at - 5 : size_at + 14] * 2 + jpeg[size_at + 14 :]
    yield "jpeg_many_scans.jpg", progressive[:second_scan] + progressive[first_scan:second_scan] * 600 + b"\xff\xd9"
    yield "jpeg_half.jpg", jpeg[: len(jpeg) // 2]
    yield "jpeg_no_tables.jpg", jpeg.replace(b"\xff\xc4", b"\xff\xec")
    yield "jpeg_exif_of_65535_entries.jpg", with_segments(jpeg, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHLL", 1, 2, 5, 0) * 5400)
    yield "jpeg_exif_far_offset.jpg", with_segments(jpeg, b"Exif\0\0II*\0\xff\xff\xff\xff")
    yield "jpeg_exif_huge_count.jpg", with_segments(jpeg, b"Exif\0\0" + tiff((ORIENTATION, 12, 0xFFFFFFFF, b"\xff\xff\xff\xff")))
    bomb = gif(2)
    yield "gif_bomb_65535.gif", on_screen(bomb, 65535, 65535)
    yield "gif_half.gif", bomb[: len(bomb) // 2]
    yield "gif_no_end_of_extension.gif", bomb[:13] + b"!\xfe" + b"\xff" * 200
    yield "gif_code_size_12.gif", b"GIF87a\3\0\1\0\0\0\0,\0\0\0\0\3\0\1\0\0\x0c\3\x51\x07\x09\0;"
    yield "gif_code_too_large.gif", b"GIF87a\3\0\1\0\0\0\0,\0\0\0\0\3\0\1\0\0\3\3\xff\xff\xff\0;"
    yield "gif_frame_at_the_corner.gif", on_screen(bomb, 900, 900, 863, 877)
    yield "webp_animated_half.webp", (lambda whole: whole[: len(whole) // 2])(animated(format="WEBP", quality=50))
    yield "webp_frame_outside.webp", webp_frame_at(animated(format="WEBP", quality=50), 4, 6).replace(struct.pack("<I", WIDTH + 3)[:3], struct.pack("<I", WIDTH - 5)[:3], 1)
    yield "webp_half.webp", lossy[: len(lossy) // 2]
    yield "webp_half_with_right_length.webp", b"RIFF" + struct.pack("<I", len(lossy) // 2 - 8) + lossy[8 : len(lossy) // 2]
    yield "webp_length_of_4_gib.webp", lossy[:4] + b"\xff\xff\xff\xff" + lossy[8:]
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + struct.pack("<I", 499)[:3] + struct.pack("<I", 299)[:3]
    body += lossy[12:]
    yield "webp_other_canvas.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    # Is also a DICOM file: those have their magic at byte 128.
    yield "webp_dicom.webp", lossy[:128] + b"DICM" + lossy[132:]
    yield "webp_dicom_without_image.webp", lossy[:20] + b"\xff" * 10 + lossy[30:128] + b"DICM" + lossy[132:]


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
    for name, data in pictures():
        (FOLDER / name).write_bytes(data)
        rgb = reference(FOLDER / name)
        expected["images"][name] = {"width": rgb.width, "height": rgb.height, "crc32": zlib.crc32(rgb.tobytes())}
    blocks = [{"block": block.hex(), "orientation": pillow_orientation(block)} for block in exif_blocks()]
    (TESTS / "data" / "exif.json").write_text(json.dumps({"pillow": PIL.__version__, "blocks": blocks}, indent=1) + "\n")
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{len(expected['images'])} images in {FOLDER}")


if __name__ == "__main__":
    main()
