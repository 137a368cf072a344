"""The three processes with the demo model, for tests of the HTTP surface."""
import pathlib
import re
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "models" / "demo"
SAMPLE = DEMO / "samples" / "red_circle_blue_star.png"


class Stack:
    """Started by the constructor; `http` is host:port. Stop it in any case."""

    def __init__(self, folder, gateway_flags=()):
        self._folder = pathlib.Path(folder)
        self.processes = []
        try:
            vision = self._start("vision_service", f"--model={DEMO}", "--threads=1", "--listen=127.0.0.1:0")
            self.language = self._start("language_service", f"--model={DEMO}", "--threads=1", "--listen=127.0.0.1:0",
                                        f"--vision_target=ipv4:127.0.0.1:{vision}")
            with_http = subprocess.Popen(
                [self._folder / "gateway", "--listen=127.0.0.1:0", "--http_listen=127.0.0.1:0", "--metrics_listen=",
                 f"--language_target=ipv4:127.0.0.1:{self.language}", f"--vision_target=ipv4:127.0.0.1:{vision}",
                 *gateway_flags], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.processes.append(with_http)
            self.gateway = with_http
            for line in with_http.stderr:
                found = re.search(r"serving HTTP on port (\d+)", line)
                if found:
                    self.port = int(found[1])
                    break
            if not with_http.stdout.readline().startswith("READY"):
                raise RuntimeError("the gateway did not start")
        except BaseException:
            self.stop()
            raise

    def _start(self, name, *flags):
        process = subprocess.Popen([self._folder / name, "--log_level=error", "--metrics_listen=", *flags], text=True,
                                   stdout=subprocess.PIPE)
        self.processes.append(process)
        return int(re.search(r"port=(\d+)", process.stdout.readline())[1])

    def stop(self):
        """The exit statuses, the gateway's first."""
        statuses = []
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            statuses.append(process.returncode)
        self.processes = []
        return statuses
