"""The rule of 100: no input costs a process more than 100 times its bytes and 64 MiB of memory, nor more processor time
than 100 times what sending it takes and one second; and whatever comes, the next caller is answered.

Memory is the highest that a process has held meanwhile, processor time is its own. The dearest inputs are printed.

Usage: costs_test.py FOLDER_OF_BINARIES; run by ctest as `costs_test`.
"""
import contextlib
import functools
import http.client
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
import hostile_inputs as inputs
import surface
from h2_caller import Caller, field
from http_stack import DEMO, Stack

BINARIES = pathlib.Path(sys.argv[1]).resolve()
MEMORY, MEMORY_A_BYTE = 64 << 20, 100
SECONDS, SECONDS_A_BYTE = 1.0, 100 * 5e-9  # five nanoseconds are a fast caller's work for a byte
ENDED = 60  # seconds until a call has its end, whatever the machine does meanwhile
VISION, LANGUAGE, GATEWAY = range(3)  # places in Stack.processes
HERTZ = os.sysconf("SC_CLK_TCK")


class Meter:
    """What one process spends on one input."""

    def __init__(self, process):
        self._folder = pathlib.Path(f"/proc/{process.pid}")

    def _memory(self, name):
        status = (self._folder / "status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(name + ":"))

    def _seconds(self):
        fields = (self._folder / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / HERTZ

    def begin(self):
        (self._folder / "clear_refs").write_text("5")  # forgets the highest that there was
        self._before = self._memory("VmRSS"), self._seconds()

    def end(self):
        memory, seconds = self._before
        return self._memory("VmHWM") - memory, self._seconds() - seconds


class CostsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES)
        cls.dearest = {}

    @classmethod
    def tearDownClass(cls):
        for process, (memory, seconds) in cls.dearest.items():
            print(f"{process}: most memory {memory[0] >> 20} MiB ({memory[1]}), most processor time {seconds[0]:.2f} s ({seconds[1]})")
        statuses = cls.stack.stop()
        assert statuses == [0, 0, 0], statuses

    def spend(self, place, name, size, send):
        """Calls `send` and checks what it cost that process."""
        process = self.stack.processes[place]
        meter = Meter(process)
        meter.begin()
        send()
        self.assertIsNone(process.poll(), f"{name} ended the process")
        memory, seconds = meter.end()
        most = self.dearest.get(pathlib.Path(process.args[0]).name, ((0, ""), (0, "")))
        self.dearest[pathlib.Path(process.args[0]).name] = max(most[0], (memory, name)), max(most[1], (seconds, name))
        self.assertLessEqual(memory, MEMORY + MEMORY_A_BYTE * size, f"{name}: {size} bytes")
        self.assertLessEqual(seconds, SECONDS + SECONDS_A_BYTE * size, f"{name}: {size} bytes")

    def call(self, port, method, message):
        """Sends the message as far as it is taken, and waits for the end, or for what a watch shows first."""
        caller = Caller(port, window=1 << 20)
        try:
            call = caller.begin(method, len(message))
            caller.push(call, len(message), message)
            caller.finish(call)

            def done():
                return call in caller.ended or (method == surface.WATCH and call in caller.data)
            caller.listen(ENDED, until=done)
            self.assertTrue(done(), method)
        except ConnectionError:
            pass
        finally:
            caller.close()

    def exchange(self, data):
        """Sends all over HTTP, then nothing more, and reads what comes."""
        with socket.create_connection(("127.0.0.1", self.stack.port), timeout=ENDED) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while connection.recv(1 << 16):
                    pass

    def each(self, place, port, method, messages):
        for name, message in messages:
            with self.subTest(method=method, input=name):
                self.spend(place, name, len(message), lambda message=message: self.call(port, method, message))

    def test_questions_to_the_gateway(self):
        asked = ((name, field(1, question)) for name, question in inputs.questions())
        self.each(GATEWAY, self.stack.grpc_port, "diptych.v1.GatewayService/AskStream", asked)

    def test_questions_to_the_language_service(self):
        asked = ((name, field(1, question)) for name, question in inputs.questions())
        self.each(LANGUAGE, self.stack.language_port, "diptych.v1.LanguageService/Generate", asked)

    def test_images_to_the_vision_service(self):
        self.each(VISION, self.stack.vision_port, "diptych.v1.VisionService/EncodeImage",
                  ((name, field(1, image)) for name, image in inputs.images()))

    def test_bytes_to_every_method(self):
        wire = list(inputs.wire())
        for place, port, methods in ((GATEWAY, self.stack.grpc_port, surface.GATEWAY), (LANGUAGE, self.stack.language_port, surface.LANGUAGE),
                                     (VISION, self.stack.vision_port, surface.VISION)):
            for method in methods:
                self.each(place, port, method, wire)

    def test_streams_over_http(self):
        for name, data in inputs.streams():
            with self.subTest(input=name):
                self.spend(GATEWAY, name, len(data), lambda data=data: self.exchange(data))
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=ENDED)
        connection.request("GET", "/healthz/ready")
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()


class FilesTest(unittest.TestCase):
    """What processes read when they start: each is refused with a word, and its reading is bounded."""

    def start(self, binary, *flags):
        """Exit status, standard error, most memory and processor time of a process that is to end by itself."""
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen([BINARIES / binary, "--listen=127.0.0.1:0", "--metrics_listen=", *flags],
                                       stdout=subprocess.DEVNULL, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            return process.returncode, errors.read().decode(errors="replace"), usage.ru_maxrss << 10, usage.ru_utime + usage.ru_stime

    @functools.cache
    def least(self, binary):
        """Memory and processor time of a process that reads nothing."""
        return self.start(binary, "--model=/nonexistent" if "service" in binary else "--log_level=nonsense")[2:]

    def refuses(self, name, size, flags, binary):
        memory_before, seconds_before = self.least(binary)
        status, errors, memory, seconds = self.start(binary, *flags)
        self.assertEqual(status, 1, f"{name}: {errors[-500:]}")
        self.assertTrue(errors.strip(), name)
        self.assertLess(len(errors), 4096, f"{name} is quoted")
        self.assertLessEqual(memory - memory_before, MEMORY + MEMORY_A_BYTE * size, name)
        self.assertLessEqual(seconds - seconds_before, SECONDS + SECONDS_A_BYTE * size, name)

    def test_checkpoints(self):
        deep = b"[" * 1_000_000
        header = json.dumps({f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(60_000)}).encode()
        cases = [("config.json", "deep", b'{"a":' * 200_000), ("config.json", "many", b'{"a":[' + b"1," * 1_000_000 + b"1]}"),
                 ("config.json", "nothing", b""), ("tokenizer.json", "deep", deep), ("tokenizer.json", "noise", bytes(range(256)) * 4000),
                 ("tokenizer.json", "many", b'{"model":{"vocab":{' + b",".join(b'"%d":%d' % (i, i) for i in range(200_000)) + b"}}}"),
                 ("model.safetensors", "a header of all", struct.pack("<Q", (1 << 63) - 1) + b"{}"),
                 ("model.safetensors", "a header of nothing", struct.pack("<Q", 0)),
                 ("model.safetensors", "a deep header", struct.pack("<Q", len(deep)) + deep),
                 ("model.safetensors", "many tensors", struct.pack("<Q", len(header)) + header),
                 ("model.safetensors", "half a length", b"\x08\0\0")]
        for file, name, content in cases:
            for binary in ("language_service", "vision_service"):
                if binary == "vision_service" and file == "tokenizer.json":
                    continue
                with self.subTest(file=file, input=name, binary=binary), tempfile.TemporaryDirectory() as folder:
                    for other in DEMO.iterdir():
                        if other.name != file:
                            (pathlib.Path(folder) / other.name).symlink_to(other)
                    (pathlib.Path(folder) / file).write_bytes(content)
                    self.refuses(f"{file}: {name}", len(content), [f"--model={folder}"], binary)

    def test_keys(self):
        for name, content in (("deep", b'{"keys":' * 100_000), ("a list", b"[]"), ("nothing", b""), ("noise", bytes(range(256)) * 1000),
                              ("a long name", b'{"keys":{"' + b"a" * 1_000_000 + b'":{"sha256":"00"}}}'),
                              ("many", b'{"keys":{' + b",".join(b'"%d":{}' % i for i in range(100_000)) + b"}}"),
                              ("a negative limit", json.dumps({"keys": {"a": {"sha256": "0" * 64, "max_inflight": -1}}}).encode()),
                              ("twice", b'{"keys":{"a":{"sha256":"' + b"0" * 64 + b'"},"a":{"sha256":"' + b"1" * 64 + b'"}}}')):
            with self.subTest(input=name), tempfile.NamedTemporaryFile() as file:
                file.write(content)
                file.flush()
                self.refuses(name, len(content), [f"--api_keys_file={file.name}", "--http_listen="], "gateway")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
