"""The images that decode as Pillow decodes them: pairs of a file's name and its bytes."""

import struct
import zlib

from test_images.encoders import animated, color_table, gif, pillow, png, png_chunk, turbo_jpeg
from test_images.orientation import exif_rotated, oriented, raw_profile, tiff, xmp
from test_images.patches import (
    after_data,
    on_screen,
    sampling_patched,
    segment_starts,
    webp_frame_at,
    with_bit_changed,
    with_data_split,
    with_segments,
    without_adobe,
    ycck,
)


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


def irregular_pngs():
    """The same of PNGs: what is wrong with checksums of the pixels, and behind the last row."""
    whole, interlaced = png(2, 8), png(0, 4, interlaced=True)
    data_ends = whole.index(b"IEND") - 8  # before the checksum of the chunk
    text = after_data(whole, (b"tEXt", b"Comment\0x"))
    yield "wrong_data_checksum", with_bit_changed(whole, data_ends)
    yield "wrong_data_checksum_interlaced", with_bit_changed(interlaced, interlaced.index(b"IEND") - 8)
    yield "wrong_end_checksum", with_bit_changed(whole, len(whole) - 1)
    yield "wrong_text_checksum", with_bit_changed(text, text.index(b"Comment") + 9)
    yield "without_end", whole[:-12]
    yield "without_end_interlaced", interlaced[:-12]
    yield "without_data_checksum", whole[:data_ends]
    yield "cut_in_stream_checksum", whole[: data_ends - 3]
    yield "cut_in_stream_checksum_interlaced", interlaced[: interlaced.index(b"IEND") - 11]
    yield "twice", whole + whole
    yield "exif_behind_end", whole + png_chunk(b"eXIf", oriented(6))
    yield "stream_checksum_in_next_chunk_changed", with_bit_changed(with_data_split(whole, -4), data_ends + 8)
    yield "data_in_pieces", with_data_split(whole, 0, 0, 1, 700, 700)
    yield "unknown_critical_chunk", png(2, 8, before_data=[(b"ABCD", b"unknown")])
    yield "palette_of_no_use", png(2, 8, palette=b"")
    yield "two_palettes", png(3, 4, palette=color_table(16), before_data=[(b"PLTE", bytes(range(48)))])
    yield "palette_of_odd_length", png(3, 4, palette=bytes(range(50)))
    yield "transparent_color_twice", png(0, 8, before_data=[(b"tRNS", b"\0\1"), (b"tRNS", b"\0\x40\0")])
    yield "transparent_color_after_data", after_data(png(0, 8), (b"tRNS", b"\0\x40"))


def transparent_pngs():
    """A transparent color in every depth: Pillow compares its low byte with samples of 8 bits."""
    for depth in (1, 2, 4, 8, 16):
        for color in (0, 1, 17, 0x140):
            yield f"grey_{depth}_trns_{color}", png(0, depth, before_data=[(b"tRNS", struct.pack(">H", color))])
    for color in (64, 0x4040):
        yield f"rgb_16_trns_{color}", png(2, 16, before_data=[(b"tRNS", struct.pack(">HHH", color, color, color))])


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
    yield "gif_empty_blocks.gif", b"GIF87a\3\0\1\0\x80\0\0" + color_table(2) + b",\0\0\0\0\3\0\1\0\0\3\0\0\1\x51\0\2\x07\x09\0;"
    yield "gif_no_palette.gif", b"GIF87a\3\0\1\0\0\0\0,\0\0\0\0\3\0\1\0\0\3\3\x51\x07\x09\0;"
    yield "gif_animated.gif", animated(format="GIF")
    yield "gif_comment.gif", gif(comment=b"," * 300)


def jpegs():
    jpeg = {"format": "JPEG", "quality": 85}
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


def pngs():
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


def webps():
    webp = {"format": "WEBP"}
    yield "webp_lossy.webp", pillow("RGB", quality=80, **webp)
    yield "webp_lossy_17x33.webp", pillow("RGB", quality=30, width=17, height=33, **webp)
    yield "webp_lossless.webp", pillow("RGB", lossless=True, **webp)
    yield "webp_lossless_alpha.webp", pillow("RGBA", lossless=True, exact=True, **webp)
    yield "webp_lossless_alpha_inexact.webp", pillow("RGBA", lossless=True, **webp)
    yield "webp_lossy_alpha.webp", pillow("RGBA", quality=80, **webp)
    yield "webp_exif_rotated.webp", pillow("RGB", quality=80, exif=exif_rotated(), **webp)
    yield "webp_2x2.webp", pillow("RGB", quality=80, width=2, height=2, **webp)


def images():
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
    yield from jpegs()
    for name, data in (*irregular_pngs(), *transparent_pngs()):
        yield f"png_{name}.png", data
    yield from pngs()
    yield from webps()
