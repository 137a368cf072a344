"""One process of the three, as the tests of hostile callers start it: READY, on a port of its own."""
import pathlib
import re
import subprocess

from h2_caller import Caller

DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"


class VisionService:
    """Started by the constructor, with at most `descriptors` where that is given; `port` is None if it did not start."""

    def __init__(self, folder, *flags, descriptors=None):
        command = [str(pathlib.Path(folder) / "vision_service"), f"--model={DEMO}", "--threads=1", "--listen=127.0.0.1:0",
                   "--metrics_listen=", "--log_level=error", *flags]
        if descriptors:
            command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        self._process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ready = re.search(r"^READY .*\bport=(\d+)", self._process.stdout.readline())
        self.port = int(ready[1]) if ready else None

    def answers(self, seconds, tls=None):
        """Whether a caller, over TLS with `tls` as its context, gets an answer within so much time."""
        try:
            caller = Caller(self.port, window=65535, tls=tls)
        except OSError:
            return False
        try:
            call = caller.call("diptych.v1.VisionService/GetVisionModel")
            caller.listen(seconds, until=lambda: call in caller.ended)
            return bool(caller.data.get(call))
        except OSError:
            return False
        finally:
            caller.close()

    def stop(self):
        """Its exit status and what it wrote to standard error."""
        self._process.terminate()
        errors = self._process.communicate(timeout=60)[1]
        return self._process.returncode, errors
