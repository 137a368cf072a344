"""Writes images with encoders of our own and others, also such as Pillow's cannot write."""

import ctypes
import ctypes.util
import io
import struct
import zlib

import numpy as np
from PIL import Image

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
