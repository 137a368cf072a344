"""Real processes that a test can kill, stop, restart and put behind bad networks."""
import base64
import contextlib
import http.client
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
SAMPLE = (DEMO / "samples" / "red_circle_blue_star.png").read_bytes()
JSON = {"content-type": "application/json"}
GAUGES = ("diptych_requests_running", "diptych_requests_waiting", "diptych_inflight_bytes")


def free_port():
    """That nobody listens on at any address; one that connections are not given, so that it is still free when its server starts."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first_given = int(file.read().split()[0])
    while True:
        port = random.randrange(10_000, first_given) if first_given > 20_000 else 0
        with contextlib.suppress(OSError), socket.create_server(("", port)) as listener:
            return listener.getsockname()[1]


class Process:
    """One server. Restarted, it has the same ports."""

    def __init__(self, binary, flags, log=None, preexec=None):
        self.port, self.metrics_port = free_port(), free_port()
        self._command = [binary, f"--listen=127.0.0.1:{self.port}", f"--metrics_listen=127.0.0.1:{self.metrics_port}", *flags]
        self._log, self._preexec = log, preexec
        self._own_log = tempfile.NamedTemporaryFile("a", suffix=".log") if log is None else None
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, text=True, stdout=subprocess.PIPE, stderr=self._log or self._own_log,
                                         preexec_fn=self._preexec)

    def wait_ready(self):
        if not self._process.stdout.readline().startswith("READY"):
            raise RuntimeError(f"{self._command[0]} does not start: {self.log()[-2000:]}")

    def restart(self):
        self.start()
        self.wait_ready()

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def stop(self):
        """The exit status of an orderly end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)
        self._process.stdout.close()
        return self._process.returncode

    @property
    def pid(self):
        return self._process.pid

    def alive(self):
        return self._process.poll() is None

    def log(self):
        return pathlib.Path(self._own_log.name).read_text(errors="replace") if self._own_log else ""

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            return page.read().decode()

    def metric(self, name):
        """The sum of all its rows."""
        rows = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.metrics(), re.MULTILINE)
        return sum(float(row) for row in rows)


class Stack:
    """A gateway before `vision` and `language` replicas. `via` maps a replica's port to that under which others know it."""

    def __init__(self, folder, vision=1, language=1, gateway_flags=(), tier_flags=(), vision_flags=(), language_flags=(),
                 via=lambda name, port: port, http_context=None, model=DEMO, **process):
        folder = pathlib.Path(folder)
        tier_flags = [f"--model={model}", "--threads=1", *tier_flags]
        self.visions, self.languages, self.gateway = [], [], None
        self._context = http_context
        try:
            self.visions = [Process(folder / "vision_service", [*tier_flags, *vision_flags], **process) for _ in range(vision)]
            targets = self._targets("vision", self.visions, via)
            self.languages = [Process(folder / "language_service", [*tier_flags, f"--vision_target={targets}", *language_flags], **process)
                              for _ in range(language)]
            for replica in self.visions + self.languages:
                replica.wait_ready()
            self.http_port = free_port()
            self.gateway = Process(folder / "gateway", [
                f"--http_listen=127.0.0.1:{self.http_port}", f"--vision_target={targets}",
                f"--language_target={self._targets('language', self.languages, via)}", *gateway_flags], **process)
            self.gateway.wait_ready()
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _targets(name, replicas, via):
        return "ipv4:" + ",".join(f"127.0.0.1:{via(name, replica.port)}" for replica in replicas)

    @property
    def processes(self):
        return [process for process in (self.gateway, *self.languages, *self.visions) if process]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in self.processes:
            process.stop()

    def connect(self, timeout=30):
        if self._context:
            return http.client.HTTPSConnection("127.0.0.1", self.http_port, timeout=timeout, context=self._context)
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)

    def ask(self, text="What color is the circle?", image=SAMPLE, timeout=30, headers=(), **options):
        """(status, answer or error, seconds)."""
        begin = time.monotonic()
        connection = self.connect(timeout)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body_of(text, image, **options)), JSON | dict(headers))
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read()), time.monotonic() - begin
        finally:
            connection.close()

    def stream(self, text="What color is the circle?", image=SAMPLE, timeout=60, on_piece=None, on_timings=None, **options):
        """The text of a streamed answer; raises Broken if it does not come to its end."""
        connection = self.connect(timeout)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body_of(text, image, stream=True, **options)), JSON)
            reply = connection.getresponse()
            if reply.status != 200:
                raise Broken(f"{reply.status}: {reply.read().decode()}")
            pieces = []
            for line in reply:
                data = line.decode().removeprefix("data: ").strip()
                if data == "[DONE]":
                    return "".join(pieces)
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise Broken(str(event))
                if on_timings and "diptych" in event:
                    on_timings(event["diptych"]["timings"])
                for choice in event["choices"]:
                    pieces.append(choice["delta"].get("content") or "")
                    if on_piece and pieces[-1]:
                        on_piece()
            raise Broken("the stream ended without its end")
        finally:
            connection.close()

    def await_idle(self, seconds=15):
        """Waits until no process holds anything for anybody; raises AssertionError with what is held."""
        end = time.monotonic() + seconds
        while True:
            held = {(process.port, gauge): value for process in self.processes if process.alive()
                    for gauge in GAUGES if (value := process.metric(gauge))}
            if not held:
                return
            if time.monotonic() > end:
                raise AssertionError(f"still held: {held}")
            time.sleep(0.1)

    def await_ready(self, seconds=10):
        """Waits until a question is answered; the seconds that it took."""
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            try:
                if self.ask(timeout=seconds)[0] == 200:
                    return time.monotonic() - begin
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not served again within {seconds} s")


class Broken(Exception):
    """A stream that was cut off, or refused."""


def body_of(text, image, **options):
    parts = [{"type": "text", "text": text}]
    if image:
        parts.append({"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(image).decode()}})
    return {"messages": [{"role": "user", "content": parts}], "max_tokens": 12, **options}


class Callers:
    """Threads that ask until stop(); each outcome is what `ask` returns or raises."""

    def __init__(self, count, ask):
        self.outcomes, self._stopped = [], threading.Event()
        self._had = [0] * count  # outcomes of each
        self._threads = [threading.Thread(target=self._run, args=(number, ask)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number, ask):
        while not self._stopped.is_set():
            try:
                self.outcomes.append(ask())
            except Exception as error:  # noqa: BLE001 (any kind is an outcome)
                self.outcomes.append(error)
            self._had[number] += 1

    def had(self):
        """How many outcomes each of them has had."""
        return list(self._had)

    def await_each(self, had, seconds=60):
        """Waits until each has had a further outcome since `had`."""
        end = time.monotonic() + seconds
        while not all(now > before for now, before in zip(self._had, had)):
            if time.monotonic() > end:
                raise AssertionError(f"not every caller has had an outcome within {seconds} s")
            time.sleep(0.01)

    def await_more(self, count, seconds=60):
        """Waits for so many further outcomes."""
        wanted, end = len(self.outcomes) + count, time.monotonic() + seconds
        while len(self.outcomes) < wanted:
            if time.monotonic() > end:
                raise AssertionError(f"only {len(self.outcomes)} of {wanted} outcomes within {seconds} s")
            time.sleep(0.01)

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes
