"""A TCP proxy that can treat its connections as a bad network would."""
import asyncio
import contextlib
import socket
import struct
import threading

PIECE = 16 << 10


class ChaosProxy:
    """Forwards each connection to `target`, a port of 127.0.0.1, until stop(). The faults may be changed at any time, from any thread."""

    def __init__(self, target):
        self.target = target
        self.bytes_per_second = None  # of each direction of each connection; None: as fast as it goes
        self.delay = 0.0              # seconds, of each piece
        self.chance = None            # a random.Random, with which one bit of every tenth piece or so is another one
        self.corrupted = 0            # pieces that were not what had been sent
        self.frozen = False           # nothing is forwarded, and nobody is told: a half-open connection
        self._writers = set()
        self._loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        self._thread.start()

    def reset_all(self):
        """Ends all connections with a reset; they are ended when this returns."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (self._reset(), done.set()))
        done.wait()

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, listener):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, sock=listener))
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _reset(self):
        for writer in list(self._writers):
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has just been closed
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _connect(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))
        self._writers -= ends

    def _as_it_arrives(self, piece):
        if self.chance is None or self.chance.random() > 0.1:
            return piece
        self.corrupted += 1
        piece = bytearray(piece)
        piece[self.chance.randrange(len(piece))] ^= 1 << self.chance.randrange(8)
        return bytes(piece)

    async def _forward(self, reader, writer):
        try:
            while piece := await reader.read(PIECE):
                while self.frozen:
                    await asyncio.sleep(0.05)
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.bytes_per_second:
                    await asyncio.sleep(len(piece) / self.bytes_per_second)
                writer.write(self._as_it_arrives(piece))
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
