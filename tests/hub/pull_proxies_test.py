"""Pulls through proxies: one that works is used, one that fails is named.

Usage: pull_proxies_test.py FOLDER_OF_BINARIES; run by ctest as `pull_proxies_test`.
"""
import contextlib
import http.client
import http.server
import subprocess
import sys
import threading
import unittest

from pulling import DIPTYCH, Cache, refused


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


class PullProxiesTest(unittest.TestCase):
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
        taken = "the proxy http://127.0.0.1:1 ({}) refuses the connection"
        with Cache() as cache, refusing_proxy(407) as refuses, refusing_proxy(503) as fails:
            secure = {"HF_ENDPOINT": "https://hub.invalid"}
            for part, variables in (
                    (taken.format("http_proxy"), {"http_proxy": dead, **hub}),
                    (taken.format("https_proxy"), {"https_proxy": dead, "http_proxy": "http://127.0.0.1:2", **secure}),
                    (taken.format("HTTPS_PROXY"), {"HTTPS_PROXY": dead, **secure}),
                    ("the proxy socks5h://127.0.0.1:1 (ALL_PROXY) refuses", {"ALL_PROXY": "socks5h://127.0.0.1:1", **hub}),
                    ("the proxy http://proxy.invalid:3128 (http_proxy) is not known", {"http_proxy": "proxy.invalid:3128", **hub}),
                    (f"the proxy {refuses} (https_proxy) answers with status 407", {"https_proxy": refuses, **secure}),
                    (f"the proxy {fails} (https_proxy) answers with status 503", {"https_proxy": fails, **secure}),
                    (taken.format("http_proxy"), {"http_proxy": dead, "no_proxy": "valid,ub.invalid", **hub})):
                with self.subTest(part, **variables):
                    line = refused(self, cache, **variables)
                    self.assertIn(part, line)
                    self.assertIn("no_proxy", line)
                    self.assertNotIn("secret", line)
            asked = subprocess.run([DIPTYCH, "ask", "--image", "https://hub.invalid/a.png", "--question", "what?"], capture_output=True, text=True,
                                   timeout=60, env=cache.environment(https_proxy=dead))
            self.assertIn(taken.format("https_proxy"), asked.stderr)
            for no_proxy in ("127.0.0.1", "other.invalid, 127.0.0.1", "*"):
                with self.subTest(no_proxy=no_proxy):
                    line = refused(self, cache, HF_ENDPOINT="http://127.0.0.1:1", http_proxy=dead, no_proxy=no_proxy)
                    self.assertIn("the connection is refused", line)
                    self.assertNotIn("the proxy http", line)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
