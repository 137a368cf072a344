#!/usr/bin/env python3
"""Writes tests/data/images/, tiny awkward pictures and what Pillow makes of each, and
tests/fuzz/corpus/image/, files that attack a decoder.

    .deps/python/bin/python tools/make_test_images.py

expected.json holds, for each file, the sides and the CRC-32 of what transformers' convert_to_rgb makes of it.
Run it with the versions in tools/parity/requirements.txt, and read the diff of
expected.json before you commit it: the files are seeded and change only with the encoders.
"""

import ctypes
import ctypes.util
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
import transformers
from PIL import Image
from transformers.image_transforms import convert_to_rgb

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


def exif_rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    return exif.tobytes()


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


def animated(**options):
    frames = [Image.fromarray(pixels(3, seed=s).astype(np.uint8), "RGB") for s in (1, 2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, save_all=True, append_images=frames[1:], duration=50, **options)
    return buffer.getvalue()


def pictures():
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
    yield "gif_renamed.jpg", b"GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,"
    yield "png_bomb_16384.png", png_of(16384, 16384, 8, 2, png_chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9)))
    yield "png_wide_20000x1.png", png_of(20000, 1, 1, 0, png_chunk(b"IDAT", zlib.compress(bytes(2501), 9)))
    yield "png_1x1.png", png(2, 8, width=1, height=1)
    yield "png_small_bomb.png", png_of(2000, 500, 1, 0, png_chunk(b"IDAT", zeros))
    yield "png_too_little_data.png", png_of(300, 300, 8, 2, png_chunk(b"IDAT", zlib.compress(bytes(5000))))
    yield "png_too_much_data.png", png_of(3, 3, 8, 2, png_chunk(b"IDAT", zlib.compress(bytes(50000))))
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
    yield "webp_half.webp", lossy[: len(lossy) // 2]
    yield "webp_half_with_right_length.webp", b"RIFF" + struct.pack("<I", len(lossy) // 2 - 8) + lossy[8 : len(lossy) // 2]
    yield "webp_length_of_4_gib.webp", lossy[:4] + b"\xff\xff\xff\xff" + lossy[8:]
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + struct.pack("<I", 499)[:3] + struct.pack("<I", 299)[:3]
    body += lossy[12:]
    yield "webp_other_canvas.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    # Is also a DICOM file: those have their magic at byte 128.
    yield "webp_dicom.webp", lossy[:128] + b"DICM" + lossy[132:]
    yield "webp_dicom_without_image.webp", lossy[:20] + b"\xff" * 10 + lossy[30:128] + b"DICM" + lossy[132:]


def main():
    HOSTILE_FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in hostile():
        (HOSTILE_FOLDER / name).write_bytes(data)
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {"pillow": PIL.__version__, "transformers": transformers.__version__, "images": {}}
    for name, data in pictures():
        (FOLDER / name).write_bytes(data)
        rgb = Image.fromarray(convert_to_rgb(Image.open(io.BytesIO(data)), return_numpy=True))
        expected["images"][name] = {"width": rgb.width, "height": rgb.height, "crc32": zlib.crc32(rgb.tobytes())}
    (FOLDER / "animated.webp").write_bytes(animated(format="WEBP", quality=50))
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{len(expected['images'])} images in {FOLDER}")


if __name__ == "__main__":
    main()
