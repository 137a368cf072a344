"""A hub on this host that speaks as Hugging Face's does, with faults on demand.

`Hub` answers the API and /resolve/ and sends large files, by a redirect, from a second server as the real one does from its
storage. It keeps the requests that came. A fault is a function (handler, file) -> True if it has answered itself; `fault(place, name, times, act)`
places it at "api", "head", "resolve", "small" or "storage" for the next `times` requests about the file.
"""
import functools
import hashlib
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import urllib.parse

DEMO = pathlib.Path(__file__).resolve().parents[2] / "models" / "demo"


@functools.lru_cache(64)
def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@functools.lru_cache(64)
def sha256(data):
    return hashlib.sha256(data).hexdigest()


def demo_files():
    return {path.name: path.read_bytes() for path in DEMO.iterdir() if path.is_file()}


class Repo:
    def __init__(self, files, gated=False, private=False):
        self.files = dict(files)
        self.gated, self.private = gated, private
        self.branches = {"main": self.commit()}

    def commit(self):
        return hashlib.sha1(json.dumps({n: git_oid(d) for n, d in self.files.items()}, sort_keys=True).encode()).hexdigest()

    def is_large(self, name):
        return name.endswith((".safetensors", ".bin"))

    def etag(self, name):
        data = self.files[name]
        return sha256(data) if self.is_large(name) else git_oid(data)

    def siblings(self):
        return [{"rfilename": name} for name in sorted(self.files)]

    def tree(self):
        for name, data in sorted(self.files.items()):
            entry = {"type": "file", "path": name, "size": len(data), "oid": git_oid(data)}
            if self.is_large(name):
                entry["lfs"] = {"oid": self.etag(name), "size": len(data), "pointerSize": 130}
            yield entry


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status, code, **headers):
        self.reply(status, json.dumps({"error": code}).encode(), X_Error_Code=code, **headers)

    def wanted_range(self, size):
        """(begin, end) with the end outside, or None where the whole file is asked for."""
        header = self.headers.get("Range")
        if header is None:
            return None
        begin, end = header.removeprefix("bytes=").split("-")
        return int(begin), min(int(end) + 1, size) if end else size

    def send(self, data, **headers):
        asked = self.wanted_range(len(data))
        if asked is None:
            return self.reply(200, data, **headers)
        begin, end = asked
        return self.reply(206, memoryview(data)[begin:end], Content_Range=f"bytes {begin}-{end - 1}/{len(data)}", **headers)

    def do_GET(self):
        hub = self.server.hub
        split = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(split.path)
        hub.requests.append((self.server.role, self.command, path, dict(self.headers)))
        try:
            if self.server.role == "storage":
                return self.storage(hub, path)
            return self.api(hub, path) if path.startswith("/api/") else self.resolve(hub, path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET

    def may_read(self, repo, gate=True):
        """The description of a gated model is public, its files are not."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token != self.server.hub.token:
            self.reply(401, b"{}", X_Error_Message="Invalid credentials in Authorization header")
        elif repo is None or (repo.private and not token):
            self.fail(404 if token else 401, "RepoNotFound")
        elif gate and repo.gated and not token:
            self.fail(401, "GatedRepo")
        elif gate and repo.gated == "not yet":
            self.fail(403, "GatedRepo")
        else:
            return True
        return False

    def api(self, hub, path):
        kind, org, name, *rest = path.split("/")[2:]
        if kind == "resolve-cache":
            return self.resolve_small(hub, *path.split("/", 6)[4:])
        if kind != "models":
            known = f"{org}/{name}" in (hub.datasets if kind == "datasets" else ())
            return self.reply(200, b"{}") if known else self.fail(401, "RepoNotFound")
        if hub.acts("api", "", self):
            return None
        if f"{org}/{name}" in hub.renamed:
            return self.reply(307, b"", Location=self.path.replace(f"{org}/{name}", hub.renamed[f"{org}/{name}"]))
        repo = hub.repos.get(f"{org}/{name}")
        if not self.may_read(repo, gate=False):
            return None
        revision = "/".join(rest[1:]) or "main"
        commit = repo.branches.get(revision, revision if revision in repo.branches.values() else None)
        if commit is None:
            return self.fail(404, "RevisionNotFound")
        answer = list(repo.tree()) if rest[:1] == ["tree"] else {
            "id": f"{org}/{name}", "modelId": f"{org}/{name}", "sha": commit, "private": repo.private, "tags": [], "downloads": 0,
            "siblings": repo.siblings()}
        return self.reply(200, json.dumps(answer).encode(), Content_Type="application/json")

    def resolve(self, hub, path):
        org, name, word, commit, file = path.split("/", 5)[1:]
        if f"{org}/{name}" in hub.renamed:
            return self.reply(307, b"", Location="/" + hub.renamed[f"{org}/{name}"] + path[len(f"/{org}/{name}"):])
        repo = hub.repos.get(f"{org}/{name}")
        if hub.acts("head" if self.command == "HEAD" else "resolve", file, self):
            return None
        if word != "resolve" or not self.may_read(repo):
            return None
        if file not in repo.files:
            return self.fail(404, "EntryNotFound")
        data, etag = repo.files[file], repo.etag(file)
        commit = repo.branches.get(commit, commit)
        if not repo.is_large(file):
            return self.reply(307, b"", Location=f"/api/resolve-cache/models/{org}/{name}/{commit}/{urllib.parse.quote(file)}", X_Repo_Commit=commit)
        return self.reply(302, b"Found. Redirecting", Location=f"{hub.storage_url}/{name}/{file}?signature=secret", ETag=f'"{etag}"',
                          X_Linked_Etag=f'"{etag}"', X_Linked_Size=len(data), X_Repo_Commit=commit)

    def resolve_small(self, hub, org, name, rest):
        commit, file = rest.split("/", 1)
        repo = hub.repos[f"{org}/{name}"]
        if self.may_read(repo) and not hub.acts("small", file, self):
            self.send(repo.files[file], ETag=f'"{repo.etag(file)}"', X_Repo_Commit=commit, Accept_Ranges="bytes")

    def storage(self, hub, path):
        name, file = path.split("/")[1:3]
        data = next(repo.files[file] for key, repo in hub.repos.items() if key.endswith("/" + name))
        if not hub.acts("storage", file, self, data):
            self.send(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class Hub:
    def __init__(self, certificate=None):
        self.repos, self.renamed, self.datasets, self.token = {}, {}, set(), "hf_secret"
        self.requests, self.faults, self.lock = [], [], threading.Lock()
        scheme = "https" if certificate else "http"
        self.servers = []
        for role in ("hub", "storage"):
            server = Server(("127.0.0.1", 0), Handler)
            server.hub, server.role = self, role
            if certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.servers.append(server)
        self.url, self.storage_url = (f"{scheme}://127.0.0.1:{server.server_port}" for server in self.servers)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def fault(self, place, name, times, act):
        self.faults.append([place, name, times, act])

    def acts(self, place, name, handler, *arguments):
        with self.lock:
            found = next((f for f in self.faults if f[0] == place and f[1] in ("", name) and f[2] > 0), None)
            if found is None:
                return False
            found[2] -= 1
        return found[3](handler, *arguments) is not False

    def count(self, role, command, part=""):
        return sum(1 for r, c, path, _ in self.requests if r == role and c == command and part in path)


def make_certificate(folder):
    """A key and a certificate for 127.0.0.1 in one file."""
    key, certificate, both = (pathlib.Path(folder) / name for name in ("key.pem", "cert.pem", "both.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both
