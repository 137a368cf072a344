"""Pulls from a hub on this host and serves what was pulled; every mistake on the way is one line with its remedy.

Usage: pull_test.py FOLDER_OF_BINARIES; run by ctest as `pull_test`.
"""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from hub_stub import DEMO, Repo, demo_files
from pulling import DIPTYCH, NAME, Cache

WEIGHTS = "model.safetensors"


def with_config(change):
    config = json.loads((DEMO / "config.json").read_text())
    change(config)
    return {**demo_files(), "config.json": json.dumps(config).encode()}


class Proxy(http.server.BaseHTTPRequestHandler):
    """Fetches for others what lies at a host that has no name."""

    def do_GET(self):
        self.server.asked.append(self.path)
        connection = http.client.HTTPConnection(self.server.to)
        connection.request(self.command, "/" + self.path.split("/", 3)[3], headers={"Range": r} if (r := self.headers.get("Range")) else {})
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        connection.close()

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def refusing_proxy(status):
    """The address of a proxy that connects nobody."""
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_error(status)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class PullTest(unittest.TestCase):
    def refused(self, cache, *arguments, name=NAME, **variables):
        """The line that names cause and remedy; nothing was written."""
        pulled = cache.pull(*arguments, name=name, **variables)
        self.assertEqual(pulled.returncode, 1, pulled.stderr)
        self.assertEqual(pulled.stdout, "")
        lines = pulled.stderr.strip().splitlines()
        self.assertEqual(len(lines), 1, pulled.stderr)
        self.assertFalse(cache.path.exists(), "something was written")
        return lines[0]

    def test_brings_what_serving_needs_and_nothing_else(self):
        files = {**demo_files(), "pytorch_model.bin": b"pickle", "model.fp16.safetensors": b"x", "onnx/config.json": b"{}",
                 ".hidden.json": b"{}", "README.md": b"words"}
        with Cache(files) as cache:
            pulled = cache.pull()
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
            self.assertEqual(pulled.stdout, f"{cache.snapshot()}\n")
            self.assertRegex(pulled.stderr, r"\[pull\] pulling org/name from http://127.0.0.1:\d+: 13 files, 5.\d MB, into ")
            self.assertRegex(pulled.stderr, r"\[pull\] pulled 5.\d MB in .* \(.*/s\), each file checked")
            names = sorted(path.name for path in cache.snapshot().iterdir())
            self.assertNotIn("pytorch_model.bin", names)
            self.assertNotIn("README.md", names)
            self.assertNotIn(".hidden.json", names)
            self.assertNotIn("model.fp16.safetensors", names)
            self.assertFalse((cache.snapshot() / "onnx").exists())
            self.assertEqual(cache.hub.count("storage", "GET", "pytorch_model"), 0)

    def test_the_second_pull_brings_nothing(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            cache.check_whole(self)
            cache.hub.requests.clear()
            again = cache.pull()
            self.assertEqual((again.returncode, again.stderr), (0, "[pull] all of it was here already\n"))
            self.assertEqual(len(cache.hub.requests), 1, "only the revision was asked for")

    def test_a_new_commit_brings_what_changed(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            before = cache.snapshot()
            cache.repo.files["generation_config.json"] = b'{"max_new_tokens": 7}'
            cache.repo.branches["main"] = cache.repo.commit()
            cache.hub.requests.clear()
            self.assertEqual(cache.pull().returncode, 0)
            self.assertEqual(cache.hub.count("storage", "GET"), 0, "the weights were there")
            self.assertEqual((cache.snapshot() / "generation_config.json").read_bytes(), b'{"max_new_tokens": 7}')
            self.assertTrue((before / WEIGHTS).is_file(), "the old snapshot stays")

    def test_a_revision_is_a_branch_with_slashes_or_a_commit(self):
        with Cache() as cache:
            commit = cache.repo.branches["refs/pr/4"] = cache.repo.branches["main"]
            self.assertEqual(cache.pull(name=NAME + "@refs/pr/4").stdout, f"{cache.snapshot()}\n")
            self.assertEqual((cache.stored / "refs/refs/pr/4").read_text(), commit)
            self.assertFalse((cache.stored / "refs/main").exists())
            self.assertEqual(cache.pull(name=f"{NAME}@{commit}").returncode, 0)

    def test_a_model_that_was_renamed(self):
        with Cache() as cache:
            cache.hub.renamed["org/before"] = NAME
            pulled = cache.pull(name="org/before")
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
            self.assertIn("models--org--before", pulled.stdout)

    def test_shards_come_by_their_index(self):
        files = {name: data for name, data in demo_files().items() if name != WEIGHTS}
        shards = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 1000 for i in (1, 2)}
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        files.update(shards, **{WEIGHTS + ".index.json": json.dumps(index).encode(), "other.safetensors": b"other"})
        with Cache(files) as cache:
            self.assertEqual(cache.pull().returncode, 0)
            for name, data in shards.items():
                self.assertEqual((cache.snapshot() / name).read_bytes(), data)
            self.assertFalse((cache.snapshot() / "other.safetensors").exists())

    def test_two_pulls_share_one_download(self):
        with Cache() as cache:
            cache.hub.fault("storage", WEIGHTS, 1, lambda h, data: time.sleep(1) or False)
            first = cache.start("pull", NAME)
            while not cache.hub.count("storage", "GET"):
                time.sleep(0.02)
            second = cache.start("pull", NAME)
            for process in (first, second):
                out, err = process.communicate(timeout=60)
                self.assertEqual((process.returncode, out), (0, f"{cache.snapshot()}\n"), err)
            self.assertIn("another pull of it is under way", err)
            self.assertIn("all of it was here already", err)
            self.assertEqual(cache.hub.count("storage", "GET"), 1)
            cache.check_whole(self)

    def test_a_broken_snapshot_is_completed(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            (cache.stored / "blobs" / cache.repo.etag(WEIGHTS)).unlink()
            (cache.snapshot() / "vocab.json").unlink()
            self.assertEqual(cache.pull().returncode, 0)
            cache.check_whole(self)

    def test_progress_has_rate_and_time_left(self):
        def slowly(handler, data):
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            for begin in range(0, len(data), 500_000):
                handler.wfile.write(data[begin:begin + 500_000])
                time.sleep(0.15)

        with Cache() as cache:
            cache.hub.fault("storage", WEIGHTS, 1, slowly)
            terminal, other_side = pty.openpty()
            process = subprocess.Popen([DIPTYCH, "pull", NAME], stdout=subprocess.PIPE, stderr=other_side, env=cache.environment(COLUMNS="120"))
            os.close(other_side)
            shown = b""
            while True:
                try:
                    piece = os.read(terminal, 4096)
                except OSError:
                    break
                shown += piece
            self.assertEqual(process.wait(), 0)
            process.stdout.close()
            os.close(terminal)
            self.assertRegex(shown.decode(), r"\[#+-+\] +\d+ %  [\d.]+ MB of 5.\d MB  [\d.]+ MB/s  \d+ s left")

    def test_json(self):
        with Cache() as cache:
            pulled = cache.pull("--json")
            reply = json.loads(pulled.stdout)
            self.assertEqual((reply["model"], reply["folder"]), (NAME, str(cache.snapshot())))
            self.assertIn("progress", json.loads(pulled.stderr.splitlines()[0]))
            error = json.loads(cache.pull("--json", name="org/other").stderr)["error"]
            self.assertEqual(error["reason"], "MODEL_UNKNOWN")

    def test_a_token_of_the_variable_or_the_file(self):
        with Cache() as cache:
            cache.repo.private = True
            self.assertIn("HF_TOKEN", self.refused(cache))
            file = pathlib.Path(cache.folder.name) / "token"
            file.write_text("hf_secret\n")
            self.assertIn("MODEL_UNKNOWN", self.refused(cache, HF_TOKEN_PATH=str(file), HF_HUB_DISABLE_IMPLICIT_TOKEN="1"))
            self.assertEqual(cache.pull(HF_TOKEN_PATH=str(file)).returncode, 0)
        with Cache() as cache:
            cache.repo.private = True
            self.assertEqual(cache.pull(HF_TOKEN="hf_secret").returncode, 0)

    def test_paths_are_read_as_the_python_client_reads_them(self):
        for written in ("~/mine", "$HOME/mine", "${HOME}/mine"):
            with self.subTest(written), Cache() as cache:
                cache.repo.private = True
                (pathlib.Path(cache.folder.name) / "mine").mkdir()
                (pathlib.Path(cache.folder.name) / "mine/token").write_text("hf_secret")
                pulled = cache.pull(HOME=cache.folder.name, HF_TOKEN_PATH=written + "/token", HF_HUB_CACHE=written + "/hub")
                self.assertEqual(pulled.returncode, 0, pulled.stderr)
                self.assertTrue(pulled.stdout.startswith(f"{cache.folder.name}/mine/hub/models--"), pulled.stdout)

    def test_a_proxy_is_used(self):
        with Cache() as cache:
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
            server.asked, server.to = [], cache.hub.url.removeprefix("http://")
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            proxy = f"http://127.0.0.1:{server.server_port}"
            pulled = cache.pull(HF_ENDPOINT="http://hub.invalid", http_proxy=proxy, no_proxy="127.0.0.1")
            server.shutdown()
            server.server_close()
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
            self.assertTrue(server.asked and server.asked[0].startswith("http://hub.invalid/api/models/org/name/"))
            cache.check_whole(self)

    def test_a_proxy_that_fails_is_named(self):
        dead, hub = "http://somebody:secret@127.0.0.1:1", {"HF_ENDPOINT": "http://hub.invalid"}
        taken = "the proxy http://127.0.0.1:1 ({}) does not take the connection"
        with Cache() as cache, refusing_proxy(407) as refuses, refusing_proxy(503) as fails:
            secure = {"HF_ENDPOINT": "https://hub.invalid"}
            for part, variables in (
                    (taken.format("http_proxy"), {"http_proxy": dead, **hub}),
                    (taken.format("https_proxy"), {"https_proxy": dead, "http_proxy": "http://127.0.0.1:2", **secure}),
                    (taken.format("HTTPS_PROXY"), {"HTTPS_PROXY": dead, **secure}),
                    ("the proxy socks5h://127.0.0.1:1 (ALL_PROXY) does not take", {"ALL_PROXY": "socks5h://127.0.0.1:1", **hub}),
                    ("the proxy http://proxy.invalid:3128 (http_proxy) is not known", {"http_proxy": "proxy.invalid:3128", **hub}),
                    (f"the proxy {refuses} (https_proxy) answers with status 407", {"https_proxy": refuses, **secure}),
                    (f"the proxy {fails} (https_proxy) answers with status 503", {"https_proxy": fails, **secure}),
                    (taken.format("http_proxy"), {"http_proxy": dead, "no_proxy": "valid,ub.invalid", **hub})):
                with self.subTest(part, **variables):
                    line = self.refused(cache, **variables)
                    self.assertIn(part, line)
                    self.assertIn("no_proxy", line)
                    self.assertNotIn("secret", line)
            asked = subprocess.run([DIPTYCH, "ask", "--image", "https://hub.invalid/a.png", "--question", "what?"], capture_output=True, text=True,
                                   timeout=60, env=cache.environment(https_proxy=dead))
            self.assertIn(taken.format("https_proxy"), asked.stderr)
            for no_proxy in ("127.0.0.1", "other.invalid, 127.0.0.1", "*"):
                with self.subTest(no_proxy=no_proxy):
                    line = self.refused(cache, HF_ENDPOINT="http://127.0.0.1:1", http_proxy=dead, no_proxy=no_proxy)
                    self.assertIn("the connection is not taken", line)
                    self.assertNotIn("the proxy http", line)

    def test_mistakes_are_one_line_with_the_remedy(self):
        pickle = {n: d for n, d in demo_files().items() if n != WEIGHTS} | {"pytorch_model.bin": b"pickle"}
        with Cache() as cache:
            cache.hub.repos.update({
                "org/t5": Repo(with_config(lambda c: c["text_config"].update(model_type="t5"))),
                "org/instruct": Repo(with_config(lambda c: c.update(model_type="instructblip"))),
                "org/pickle": Repo(pickle), "org/gated": Repo(demo_files(), gated=True), "org/asked": Repo(demo_files(), gated="not yet"),
                "org/empty": Repo({"README.md": b""}), "org/no-weights": Repo({"config.json": demo_files()["config.json"]})})
            cache.hub.datasets.add("org/pictures")
            for name, parts, variables in (
                    ("org/nmae", ["MODEL_UNKNOWN", "org/nmae", "Check the name"], {}),
                    ("name", ["no name of a model", "ORG/NAME"], {}),
                    ("../name", ["no name of a model"], {}),
                    (NAME + "\n", ["no name of a model"], {}),
                    (NAME + "@v9", ["no revision v9 of org/name", "/org/name/tree/main"], {}),
                    ("org/t5", ["text_config.model_type is \"t5\"", "BLIP-2 with an OPT decoder"], {}),
                    ("org/instruct", ["model_type is \"instructblip\"", "BLIP-2 with an OPT decoder"], {}),
                    ("org/pickle", ["pickle", "runs code", "save_pretrained"], {}),
                    ("org/empty", ["no config.json"], {}),
                    ("org/no-weights", ["no model.safetensors"], {}),
                    ("org/pictures", ["is a dataset"], {}),
                    ("org/gated", ["gated", "Accept it at http://127.0.0.1", "/org/gated", "HF_TOKEN"], {}),
                    ("org/asked", ["gated", "/org/asked"], {"HF_TOKEN": "hf_secret"}),
                    (NAME, ["TOKEN_REFUSED", "HF_TOKEN"], {"HF_TOKEN": "hf_wrong"}),
                    (NAME, ["token has characters"], {"HF_TOKEN": "hf\r\nX-Evil: 1"}),
                    (NAME, ["HF_ENDPOINT takes"], {"HF_ENDPOINT": "ftp://hub"}),
                    (NAME, ["cannot be reached", "proxy"], {"HF_ENDPOINT": "http://127.0.0.1:1"}),
                    (NAME, ["cannot be reached", "name is not known"], {"HF_ENDPOINT": "https://hub.invalid"}),
                    (NAME, ["HF_HUB_OFFLINE", "Unset"], {"HF_HUB_OFFLINE": "1"})):
                with self.subTest(name, **variables):
                    line = self.refused(cache, name=name, **variables)
                    for part in parts:
                        self.assertIn(part, line)
                    self.assertNotIn("hf_wrong", line)
                    self.assertNotIn("X-Evil", line)

    def test_a_misspelt_name_offers_the_nearest_of_the_cache(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            self.assertIn("did you mean org/name? Check the name", cache.pull(name="org/nmae").stderr)
            serve = subprocess.run([DIPTYCH, "serve", "org/nmae"], capture_output=True, text=True, timeout=60,
                                   env=cache.environment(HF_HUB_OFFLINE="1"))
            self.assertEqual(serve.returncode, 1)
            self.assertIn("did you mean org/name? Unset HF_HUB_OFFLINE", serve.stderr)

    def test_a_cache_that_is_read_only(self):
        with Cache() as cache:
            line = cache.pull(HF_HUB_CACHE="/proc/no/cache")
            self.assertEqual((line.returncode, line.stdout), (1, ""))
            self.assertIn("CACHE_NOT_WRITABLE: cannot write /proc/no/cache", line.stderr)
            self.assertIn("HF_HUB_CACHE", line.stderr)
            if os.getuid() != 0:
                return
            cache.path.mkdir(parents=True)
            os.chmod(cache.folder.name, 0o755)
            os.chmod(cache.path, 0o555)
            readable = os.access(DIPTYCH, os.X_OK) and subprocess.run([DIPTYCH, "--version"], preexec_fn=lambda: os.setuid(65534), check=False,
                                                                      capture_output=True).returncode == 0
            if readable:
                pulled = cache.pull(limits=lambda: os.setuid(65534))
                self.assertEqual(pulled.returncode, 1)
                self.assertIn("Permission denied", pulled.stderr)
                self.assertEqual(list(cache.path.iterdir()), [])

    def test_planted_links_are_not_followed(self):
        with Cache() as cache, tempfile.TemporaryDirectory() as other:
            victim = pathlib.Path(other) / "victim"
            victim.write_text("precious")
            (cache.stored / "blobs").mkdir(parents=True)
            (cache.stored / "blobs" / (cache.repo.etag(WEIGHTS) + ".partial")).symlink_to(victim)
            self.assertEqual(cache.pull().returncode, 1)
            self.assertEqual(victim.read_text(), "precious")

    def test_planted_links_to_folders_are_not_followed(self):
        for part in ("blobs", "refs", "snapshots", "snapshots/COMMIT"):
            with self.subTest(part), Cache() as cache, tempfile.TemporaryDirectory() as other:
                victim = pathlib.Path(other)
                (victim / "config.json").write_text("precious")
                link = cache.stored / part.replace("COMMIT", cache.repo.branches["main"])
                link.parent.mkdir(parents=True)
                link.symlink_to(victim)
                pulled = cache.pull()
                self.assertEqual(pulled.returncode, 1)
                self.assertIn(f"cannot write {link}", pulled.stderr)
                self.assertEqual([(path.name, path.read_text()) for path in victim.iterdir()], [("config.json", "precious")])
                link.unlink()
                self.assertEqual(cache.pull().returncode, 0)
                cache.check_whole(self)


class ServeByNameTest(unittest.TestCase):
    def start(self, cache, *arguments, **variables):
        return self.await_ready(cache.start("serve", *arguments, **variables))

    def await_ready(self, process):
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Stop: Ctrl-C" in line:
                break
        else:
            self.fail(f"it ended before it was ready: {''.join(lines)}{process.communicate(timeout=60)[1]}")
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, "".join(lines)

    def ask(self, ready):
        server = next(line.split()[1] for line in ready.splitlines() if line.startswith("gateway "))
        return subprocess.run([DIPTYCH, "ask", DEMO / "samples" / "red_circle_blue_star.png", "-q", "What color is the circle?", "--server",
                               server, "--json"], capture_output=True, text=True, timeout=60)

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        return err

    def test_pulls_then_serves_and_the_second_time_pulls_nothing(self):
        with Cache() as cache:
            process, ready = self.start(cache, NAME)
            self.assertRegex(ready, r"language_service .* org/name ")
            answer = json.loads(self.ask(ready).stdout)
            self.assertEqual((answer["answer"], answer["model"]), ("red", NAME))
            self.assertIn("[serve] pulled 5.", self.stop(process))
            cache.check_whole(self)
            cache.hub.requests.clear()
            process, ready = self.start(cache, NAME, HF_HUB_OFFLINE="1")
            self.assertIn("red", self.ask(ready).stdout)
            self.stop(process)
            self.assertEqual(cache.hub.requests, [], "the hub was asked again")

    def test_make_serve_takes_names_and_runs_beside_another(self):
        script = DEMO.parents[1] / "scripts" / "serve.sh"
        if DIPTYCH.parent != DEMO.parents[1] / "build" / "release" / "bin":
            self.skipTest("make serve runs what lies in build/release")
        with Cache() as cache:
            make = lambda: subprocess.Popen([script], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                            env=cache.environment(MODEL=NAME))
            first, ready = self.await_ready(make())
            second, other_ready = self.await_ready(make())
            logs = [line.split()[1] for text in (ready, other_ready) for line in text.splitlines() if line.startswith("Logs:")]
            self.assertEqual((len(logs), len(set(logs))), (2, 2), "each has a folder of logs of its own")
            self.assertEqual(cache.hub.count("storage", "GET"), 1, "the second pulls nothing")
            for text in (ready, other_ready):
                self.assertIn("red", self.ask(text).stdout)
            self.assertIn("[serve] pulled 5.", self.stop(first))
            self.stop(second)

    def test_a_misspelt_name_and_a_wrong_family_start_nothing(self):
        with Cache() as cache:
            cache.hub.repos["org/t5"] = Repo(with_config(lambda c: c["text_config"].update(model_type="t5")))
            for name, part in (("org/nmae", "MODEL_UNKNOWN"), ("org/t5", "BLIP-2 with an OPT decoder"), ("/no/such/folder", "no folder")):
                with self.subTest(name):
                    served = subprocess.run([DIPTYCH, "serve", name], capture_output=True, text=True, timeout=60, env=cache.environment())
                    self.assertEqual((served.returncode, served.stdout), (1, ""))
                    self.assertEqual(len(served.stderr.splitlines()), 1, served.stderr)
                    self.assertIn(part, served.stderr)
                    self.assertFalse(cache.path.exists())

    def test_a_tier_alone_never_downloads(self):
        with Cache() as cache:
            def refused(tier):
                ended = subprocess.run([DIPTYCH.parent / tier, f"--model={NAME}", "--log_level=error"], capture_output=True, text=True, timeout=60,
                                       env=cache.environment())
                self.assertEqual((ended.returncode, ended.stdout, len(ended.stderr.splitlines())), (1, "", 1), ended.stderr)
                self.assertIn(f"diptych pull {NAME}", ended.stderr)
                return ended.stderr

            for tier in ("vision_service", "language_service"):
                self.assertIn(str(cache.path), refused(tier))
                self.assertFalse(cache.path.exists())
            self.assertEqual(cache.hub.requests, [])
            self.assertEqual(cache.pull().returncode, 0)
            (cache.stored / "blobs" / cache.repo.etag("config.json")).unlink()
            cache.hub.requests.clear()
            self.assertIn("config.json is a link to nothing", refused("vision_service"))
            self.assertEqual(cache.hub.requests, [])

    def test_a_broken_link_is_repaired_or_named(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            (cache.stored / "blobs" / cache.repo.etag(WEIGHTS)).unlink()
            served = subprocess.run([DIPTYCH, "serve", NAME], capture_output=True, text=True, timeout=60,
                                    env=cache.environment(HF_ENDPOINT="http://127.0.0.1:1"))
            self.assertEqual((served.returncode, len(served.stderr.splitlines())), (1, 1), served.stderr)
            self.assertIn("model.safetensors is a link to nothing", served.stderr)
            self.assertIn("cannot be reached", served.stderr)
            process, ready = self.start(cache, NAME)
            self.assertIn("red", self.ask(ready).stdout)
            self.stop(process)
            cache.check_whole(self)

    def test_a_read_only_cache_that_holds_it_is_enough(self):
        with Cache() as cache:
            self.assertEqual(cache.pull().returncode, 0)
            frozen = pathlib.Path(cache.folder.name) / "frozen"
            shutil.copytree(cache.path, frozen, symlinks=True)
            shutil.rmtree(frozen / ".locks")
            before = sorted(str(path) for path in frozen.rglob("*"))
            process, ready = self.start(cache, NAME, HF_HUB_CACHE=str(frozen), HF_ENDPOINT="http://127.0.0.1:1")
            self.assertIn("red", self.ask(ready).stdout)
            self.stop(process)
            self.assertEqual(sorted(str(path) for path in frozen.rglob("*")), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
