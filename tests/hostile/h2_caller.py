"""A gRPC caller that does with HTTP/2 what no gRPC library would: it takes nothing of what it is sent."""
import pathlib
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / ".deps" / "h2"))
try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.settings
except ImportError:
    print("h2 is missing: scripts/setup.sh --tests fetches it; skipped")
    sys.exit(77)

# h2 takes the GOAWAY of a server that wants the next call on another connection for the end of this one.
_machine = h2.connection.H2ConnectionStateMachine
_open = h2.connection.ConnectionState.CLIENT_OPEN
_machine._transitions[(_open, h2.connection.ConnectionInputs.RECV_GOAWAY)] = (None, _open)


class Caller:
    """One connection whose flow-control window for everything that comes is `window` bytes; with TLS if a context is given."""

    def __init__(self, port, window=0, tls=None):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
                                         h2.settings.SettingCodes.ENABLE_PUSH: 0})
        self._h2.initiate_connection()
        try:
            self._flush()
        except OSError:
            self.close()
            raise
        self._calls = set()
        self.ended = set()  # streams of which nothing more comes
        self.data = {}      # bytes that came, by stream
        self.status = {}    # gRPC's, by stream
        self.farewell = None  # what the server said when it wanted the connection to end

    def call(self, method, message=b"", metadata=(), end=True, compressed=False):
        """Starts a call of "package.Service/Method" without a deadline; the id of its stream. Without `end` more may come.
        With None for a message nothing of one is sent."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", "/" + method),
                                       (":authority", "localhost"), ("content-type", "application/grpc"),
                                       ("te", "trailers"), *metadata])
        if message is not None:
            self._h2.send_data(stream, struct.pack(">?I", compressed, len(message)) + message, end_stream=end)
        self._flush()
        self._calls.add(stream)
        return stream

    def begin(self, method, length, metadata=()):
        """Starts a call and says that its message has `length` bytes, which `push` sends; the id of its stream."""
        stream = self.call(method, None, metadata, end=False)
        self._h2.send_data(stream, b"\0" + struct.pack(">I", length))
        self._flush()
        return stream

    def push(self, stream, count, message=None):
        """Sends up to `count` bytes of a message as the server lets it; how many it took."""
        message = message or bytes(count)
        sent = 0
        while sent < count and stream not in self.ended:
            window = min(self._h2.local_flow_control_window(stream), count - sent, 16384)
            if window <= 0:
                self.listen(1, until=lambda: stream in self.ended or self._h2.local_flow_control_window(stream) > 0)
                if stream in self.ended or self._h2.local_flow_control_window(stream) <= 0:
                    break
                continue
            self._h2.send_data(stream, message[sent:sent + window])
            self._flush()
            sent += window
            self.listen(0)  # what has come, without waiting
        return sent

    def finish(self, stream, trailers=None):
        """Sends nothing more, or these trailers and then nothing."""
        if stream not in self.ended:
            self._h2.send_headers(stream, trailers, end_stream=True) if trailers else self._h2.end_stream(stream)
            self._flush()

    def cancel(self, stream):
        self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()

    def ping(self):
        self._h2.ping(bytes(8))
        self._flush()

    def listen(self, seconds, until=lambda: False):
        """Takes what comes, and answers pings, until so much time has passed or `until` holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self._socket.settimeout(0.1)
            try:
                piece = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            except ConnectionError:
                piece = b""
            if not piece:
                self.ended |= self._calls  # with the connection
                return
            for event in self._h2.receive_data(piece):
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    self.ended.add(event.stream_id)
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    self.status.update({event.stream_id: int(value) for name, value in event.headers if name == "grpc-status"})
                if isinstance(event, h2.events.ConnectionTerminated):
                    self.farewell = event.additional_data or b""
                if isinstance(event, h2.events.DataReceived):
                    self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            self._flush()

    def close(self):
        self._socket.close()

    def _flush(self):
        self._socket.settimeout(30)  # `listen` waits for less
        self._socket.sendall(self._h2.data_to_send())


def field(number, value):
    """A field of a message: bytes or text as such, an int as a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
