"""Changes an encoded image in one place."""

import struct

from test_images.encoders import HEIGHT, WIDTH, png_chunk


def with_bit_changed(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_segments(jpeg, *payloads):
    """The JPEG with an APP1 segment for each payload."""
    return jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 2) + p for p in payloads) + jpeg[2:]


def after_data(png_file, *chunks):
    """The PNG with chunks between its pixels and its end."""
    return png_file[:-12] + b"".join(png_chunk(*chunk) for chunk in chunks) + png_file[-12:]


def with_data_split(png_file, *places):
    """The PNG, whose data is one chunk, with that data cut at the places."""
    begin, end = png_file.index(b"IDAT") + 4, png_file.index(b"IEND") - 8
    data = png_file[begin:end]
    cuts = [0, *(place % len(data) for place in places), len(data)]
    parts = b"".join(png_chunk(b"IDAT", data[a:b]) for a, b in zip(cuts, cuts[1:]))
    return png_file[: begin - 8] + parts + png_file[end + 4 :]


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
