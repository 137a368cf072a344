"""The proxies of deploy/edge as real processes before a gateway, with their ports and files exchanged and nothing else."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))
from fault_stack import free_port  # noqa: E402
from test_programs import environment, program  # noqa: E402

CONFIGURATIONS = ROOT / "deploy" / "edge"


class Edge:
    """One of nginx, haproxy and envoy, serving on `port` before the two ports of a gateway. Stop it in any case."""

    def __init__(self, name, authority, grpc_port, http_port):
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="diptych_edge_")
        self.path = pathlib.Path(self._folder.name)
        self.path.chmod(0o755)  # nginx's workers may be another user
        certificate, key = authority.sign("edge")
        (self.path / "edge.both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
        common = {"/etc/diptych/edge.pem": str(certificate), "/etc/diptych/edge.key": str(key),
                  "/etc/diptych/edge.both.pem": str(self.path / "edge.both.pem")}
        command = getattr(self, f"_{name}")(common, grpc_port, http_port)
        self._log = (self.path / "log").open("wb")
        self.process = subprocess.Popen([program(name), *command], stdout=self._log, stderr=self._log,
                                        env=environment())

    def _nginx(self, files, grpc_port, http_port):
        folders = "".join(f"  {kind}_temp_path {self.path / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = self._exchanged("nginx.conf", files | {
            "listen 443 ": f"listen 127.0.0.1:{self.port} ", "127.0.0.1:7000": f"127.0.0.1:{grpc_port}",
            "127.0.0.1:8080": f"127.0.0.1:{http_port}", "\nhttp {\n": f"\nhttp {{\n{folders}"})
        return ["-p", self.path, "-c", config, "-e", "stderr", "-g", f"daemon off; pid {self.path / 'pid'};"]

    def _haproxy(self, files, grpc_port, http_port):
        return ["-db", "-f", self._exchanged("haproxy.cfg", files | {
            "bind :443 ": f"bind 127.0.0.1:{self.port} ", "127.0.0.1:7000": f"127.0.0.1:{grpc_port}", "127.0.0.1:8080": f"127.0.0.1:{http_port}"})]

    def _envoy(self, files, grpc_port, http_port):
        config = self._exchanged("envoy.yaml", files | {
            'address: "0.0.0.0", port_value: 443': f'address: "127.0.0.1", port_value: {self.port}',
            "port_value: 7000": f"port_value: {grpc_port}", "port_value: 8080": f"port_value: {http_port}"})
        return ["-c", config, "--log-level", "warning", "--concurrency", "2", "--disable-hot-restart"]

    def _exchanged(self, name, exchanges):
        text = (CONFIGURATIONS / name).read_text()
        for old, new in exchanges.items():
            text = text.replace(old, new)
        path = self.path / name
        path.write_text(text)
        return path

    def log(self):
        return (self.path / "log").read_text(errors="replace")

    def resident_bytes(self):
        """Of the process and of those that it started."""
        return sum(int((folder / "statm").read_text().split()[1]) * 4096 for folder in self._folders_of_processes())

    def processor_seconds(self):
        """Likewise."""
        times = ((folder / "stat").read_text().rpartition(")")[2].split()[11:13] for folder in self._folders_of_processes())
        return sum(int(user) + int(system) for user, system in times) / os.sysconf("SC_CLK_TCK")

    def _folders_of_processes(self):
        own = self.process.pid
        children = pathlib.Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [pathlib.Path(f"/proc/{pid}") for pid in (own, *children)]

    def await_up(self, connect, seconds=30):
        """Until `connect` raises no OSError."""
        end = time.monotonic() + seconds
        while True:
            try:
                return connect()
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"the proxy does not come up: {self.log()[-3000:]}") from None
                time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self._log.close()
        self._folder.cleanup()
