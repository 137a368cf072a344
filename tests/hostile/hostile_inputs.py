"""Inputs that are as nasty as a caller, a peer or a file can make them, each a few bytes to a few megabytes."""
import json
import pathlib
import struct
import zlib

from h2_caller import field, varint

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = ROOT / "tests" / "fuzz" / "corpus" / "image"
SAMPLE = (ROOT / "models" / "demo" / "samples" / "red_circle_blue_star.png").read_bytes()


def double(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


def png(width, height, data):
    """A PNG of one grey channel that says it has this size."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def images():
    yield "rows of zeros", png(8200, 8200, zlib.compress(bytes(8201 * 8200), 9))
    yield "more rows than it says", png(8, 8, zlib.compress(bytes(50 << 20), 9))
    yield "the largest size there is", png(0x7fffffff, 0x7fffffff, b"")
    yield "no size", png(0, 1, b"")
    yield "a thousand chunks of text", SAMPLE[:33] + (struct.pack(">I", 4) + b"tEXta\0bc" + struct.pack(">I", zlib.crc32(b"tEXta\0bc"))) * 50000 + SAMPLE[33:]
    for path in sorted(IMAGES.iterdir())[:60] if IMAGES.is_dir() else []:
        yield f"corpus {path.name}", path.read_bytes()


def texts():
    yield "spaces", b" " * (64 << 10)
    yield "one letter", b"a" * (64 << 10)
    yield "letters and digits", b"a1" * (32 << 10)
    yield "apostrophes", b"'" * (64 << 10)
    yield "marks on marks", ("a" + "\u0301" * 32000).encode()
    yield "line breaks and spaces", b"\n \t\r" * (16 << 10)
    yield "special tokens", b"</s><image><pad>" * 4000
    yield "byte order marks", "\ufeff".encode() * 20000
    yield "the last character", "\U0010ffff".encode() * 16000
    yield "half a character", b"\xf0\x9f\x98"
    yield "a surrogate", b"\xed\xa0\x80"
    yield "nothing at all", b"\0" * (64 << 10)


def options():
    """GenerationOptions."""
    for number in (1, 2, 4, 7, 10, 18, 19):
        for value in (-1, -(1 << 31), (1 << 31) - 1, (1 << 63) - 1):
            yield f"field {number} is {value}", field(number, value & ((1 << 64) - 1))
    for number in (3, 5, 6, 11, 12, 13, 15):
        for value in (float("nan"), float("inf"), -float("inf"), -1e308, 5e-324):
            yield f"field {number} is {value}", double(number, value)
    yield "a million biases", (varint(14 << 3 | 2) + b"\0") * 1_000_000
    yield "biases that are no number", b"".join(field(14, field(1, i) + double(2, float("nan"))) for i in range(500))
    yield "a hundred thousand stop strings", field(9, "a") * 100_000
    yield "a long stop string", field(9, "a" * 1_000_000)
    yield "a million stop tokens", field(17, b"\1" * 1_000_000)


def questions():
    """Question."""
    for name, text in texts():
        yield f"prompt: {name}", field(3, text)
        yield f"turn: {name}", field(2, field(1, 1) + field(2, text))
    for name, image in images():
        yield f"image: {name}", field(1, field(1, image)) + field(3, "What?")
    for name, generation in options():
        yield f"generation: {name}", field(3, "What?") + field(4, generation)
    for name, value in (("huge", 1 << 30), ("negative", (1 << 64) - 1)):
        yield f"image size {name}", field(1, field(1, SAMPLE)) + field(5, field(1, value))
        yield f"side {name}", field(1, field(1, SAMPLE)) + field(5, field(2, value))
    yield "merging that is no number", field(1, field(1, SAMPLE)) + field(5, double(3, float("nan")))
    yield "all pixels are one token", field(1, field(1, SAMPLE)) + field(5, double(3, 1.0))
    yield "a million images", field(1, b"") * 1_000_000
    yield "a million turns", field(2, b"") * 1_000_000
    yield "a thousand copies of an image", field(1, field(1, SAMPLE)) * 1000
    yield "more images than a turn has", field(2, field(1, 1) + field(2, "a") + field(3, 1 << 30))
    yield "negative images of a turn", field(2, field(1, 1) + field(3, (1 << 64) - 1))
    yield "ids below zero", field(9, varint((1 << 64) - 1) * 60_000)
    yield "ids beyond the vocabulary", field(9, varint(1 << 30) * 60_000)
    yield "ids one by one", (varint(9 << 3) + b"\1") * 65_536
    yield "a million ids", field(9, b"\1" * 1_000_000)
    yield "a long request id", field(7, "r" * 1_000_000) + field(3, "What?")
    yield "a request id of control characters", field(7, "\r\n\0\x1b") + field(3, "What?")
    yield "a long model name", field(8, "m" * 1_000_000) + field(3, "What?")
    yield "an address of an image", field(1, field(2, "https://" + "a." * 500_000)) + field(3, "What?")


def wire():
    """Bytes that may be a message of any type."""
    yield "nothing", b""
    yield "a field nobody knows", field(1000, b"x" * 1_000_000)
    yield "a million fields nobody knows", field(1000, 1) * 1_000_000
    yield "a group", b"\x0b" * 100_000
    yield "deep", b"".join(varint(1 << 3 | 2) + varint(1 << 20) for _ in range(10_000))
    deep = b""
    for _ in range(2000):
        deep = field(1, deep)
    yield "messages in messages", deep
    yield "a length beyond the end", b"\x0a\xff\xff\xff\xff\x07"
    yield "a length of ten bytes", b"\x0a" + b"\xff" * 10
    yield "field number zero", b"\x00\x01"
    yield "noise", bytes((i * 2654435761 >> 13) & 255 for i in range(200_000))


def bodies():
    """JSON, or what stands where JSON should."""
    yield "lists in lists", b'{"prompt":' + b"[" * 500_000 + b"]" * 500_000 + b"}"
    yield "objects in objects", b'{"a":' * 200_000 + b"1" + b"}" * 200_000
    yield "a million numbers", b'{"prompt":[' + b"1," * 1_000_000 + b"1]}"
    yield "all numbers that there may be", b'{"prompt":[' + b",".join([b"[" + b"1," * 65_535 + b"1]"] * 64) + b"]}"
    yield "a million names", b"{" + b",".join(b'"%d":1' % i for i in range(200_000)) + b"}"
    yield "one name again and again", b"{" + b",".join([b'"prompt":"a"'] * 100_000) + b"}"
    yield "a long number", b'{"prompt":"a","max_tokens":' + b"9" * 1_000_000 + b"}"
    yield "a number beyond all", b'{"prompt":"a","temperature":1e999999999}'
    yield "a negative number", b'{"prompt":"a","n":-1,"max_tokens":-9223372036854775808}'
    yield "many answers", b'{"prompt":"a","n":1000000000,"best_of":1000000000}'
    yield "half a surrogate", b'{"prompt":"\\ud800\\ud800"}'
    yield "escapes", b'{"prompt":"' + b"\\u0000" * 100_000 + b'"}'
    yield "no UTF-8", b'{"prompt":"\xff\xfe"}'
    yield "an open text", b'{"prompt":"' + b"a" * 1_000_000
    yield "no number", b'{"prompt":"a","temperature":NaN}'
    yield "a long name", b'{"' + b"a" * 1_000_000 + b'":1}'
    image = "data:image/png;base64," + "A" * 1_000_000
    yield "an image of zeros", json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]}).encode()
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}] * 3000
    yield "thousands of images", json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    yield "thousands of messages", json.dumps({"messages": [{"role": "user", "content": "a"}] * 4000}).encode()
    yield "a million biases", json.dumps({"prompt": "a", "logit_bias": {str(i): 1 for i in range(100_000)}}).encode()


def streams():
    """All that a connection sends over HTTP."""
    get = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n"
    post = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    yield "thousands of headers", get + b"a:\r\n" * 3900 + b"\r\n"
    yield "too many headers", get + b"a:\r\n" * 200_000 + b"\r\n"
    yield "a folded header", get + b"x: a\r\n" + b" b\r\n" * 3000 + b"\r\n"
    yield "a header with a zero", get + b"x: \0\r\n\r\n"
    yield "a long address", b"GET /" + b"%2e" * 5000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"
    yield "a method that is none", b"\x16\x03\x01" * 5000
    yield "CONNECT", b"CONNECT localhost:22 HTTP/1.1\r\nhost: localhost\r\n\r\n" + b"x" * 100_000
    yield "TRACE", b"TRACE / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    yield "another scheme", b"GET gopher://localhost/ HTTP/1.1\r\nhost: localhost\r\n\r\n"
    yield "an upgrade to HTTP/2", get + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    yield "HTTP/2 itself", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100_000
    yield "HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n"
    yield "thousands at once", (get + b"\r\n") * 3000
    yield "expects twice", post + b"expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}"
    yield "expects without end", (post + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}") * 1000
    yield "expects something else", post + b"expect: a-miracle\r\ncontent-length: 2\r\n\r\n{}"
    yield "lengths that differ", post + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"
    yield "a length with a sign", post + b"content-length: +2\r\n\r\n{}"
    yield "a length and chunks", post + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    chunked = post + b"transfer-encoding: chunked\r\n\r\n"
    yield "a chunk of less than nothing", chunked + b"-1\r\n{}\r\n"
    yield "a chunk of more than all", chunked + b"F" * 32 + b"\r\n"
    yield "chunk extensions", chunked + (b"1;" + b"a=b;" * 2000 + b"\r\n \r\n") * 100
    yield "chunks of one byte", chunked + b"1\r\n \r\n" * 200_000
    yield "trailers", chunked + b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 100_000 + b"\r\n"
    yield "empty lines", b"\r\n" * 500_000
    yield "compressed", post + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00"
    yield "ranges", get + b"range: bytes=" + b"0-1," * 3000 + b"0-1\r\n\r\n"
    for name, body in bodies():
        yield f"body: {name}", post + b"content-length: %d\r\n\r\n" % len(body) + body
