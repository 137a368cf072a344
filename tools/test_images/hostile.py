"""Files that attack a decoder: pairs of a name and the bytes."""

import struct
import zlib

from test_images.encoders import WIDTH, animated, color_table, gif, pillow, png, png_chunk
from test_images.orientation import ORIENTATION, tiff
from test_images.patches import on_screen, webp_frame_at, with_segments


def png_of(width, height, depth, color_type, *chunks):
    """A PNG whose header may promise anything."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def hostile_pngs():
    rgb = png(2, 8)
    zeros = zlib.compress(bytes(251 * 2000), 9)
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


def hostile_jpegs():
    jpeg = pillow("RGB", format="JPEG", quality=85)
    progressive = pillow("RGB", format="JPEG", quality=85, progressive=True)
    size_at = jpeg.index(b"\xff\xc0") + 5
    first_scan = progressive.index(b"\xff\xda")
    second_scan = progressive.index(b"\xff\xda", first_scan + 2)
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


def hostile_gifs_and_webps():
    lossy = pillow("RGB", format="WEBP", quality=80)
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


def hostile():
    yield "empty", b""
    yield "gif_cut_off.jpg", b"GIF89a\x02\x00\x02\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,"
    yield from hostile_pngs()
    yield from hostile_jpegs()
    yield from hostile_gifs_and_webps()
