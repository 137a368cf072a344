"""Pulls from mirrors: below a path, behind redirects of every form, in capitals; what is no hub's word is not taken for it.

Usage: mirrors_test.py FOLDER_OF_BINARIES; run by ctest as `mirrors_test`.
"""
import contextlib
import http.client
import http.server
import sys
import tempfile
import threading
import unittest

from hub_stub import make_certificate
from pulling import Cache

BELOW = "/mirrors/hub"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Passes on what the hub says; `server.location` may change where a redirect leads."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Authorization")))
        connection = http.client.HTTPConnection(server.hub.url.removeprefix("http://"))
        passed_on = {name: value for name, value in self.headers.items() if name in ("Range", "Authorization")}
        connection.request(self.command, self.path.removeprefix(BELOW), headers=passed_on)
        answer = connection.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, server.location(self, value) if name == "Location" else value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        connection.close()

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


class Moved(Mirror):
    """Sends every request to the same path of another server."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(301)
        self.send_header("Location", self.server.hub.url + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET


@contextlib.contextmanager
def serving(hub, handler=Mirror, location=lambda handler, value: value):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.hub, server.location, server.asked = hub, location, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def host_of(handler):
    return f"127.0.0.1:{handler.server.server_port}"


# Where the mirror sends for a small file that the hub has at the path.
LOCATIONS = {
    "the host's root": lambda handler, path: path,
    "below the mirror": lambda handler, path: BELOW + path,
    "upwards from here": lambda handler, path: "../" * (handler.path.count("/") - 1) + path[1:],
    "its own host without a scheme": lambda handler, path: f"//{host_of(handler)}{path}",
    "its own address": lambda handler, path: f"http://{host_of(handler)}{path}",
    "its own address in capitals": lambda handler, path: f"HTTP://{host_of(handler)}{path}",
}


class MirrorsTest(unittest.TestCase):
    def pull(self, cache, **variables):
        pulled = cache.pull(**variables)
        self.assertEqual(pulled.returncode, 0, pulled.stderr)
        cache.check_whole(self)

    def refused(self, cache, **variables):
        pulled = cache.pull(**variables)
        self.assertEqual((pulled.returncode, len(pulled.stderr.splitlines())), (1, 1), pulled.stderr)
        self.assertEqual((cache.visible(), cache.partial()), (False, []))
        return pulled.stderr

    def test_redirects_of_every_form_lead_to_the_file(self):
        for what, location in LOCATIONS.items():
            for endpoint in ("", BELOW, BELOW + "//"):
                with self.subTest(what, endpoint=endpoint), Cache() as cache, serving(
                        cache.hub, location=lambda handler, value, to=location: to(handler, value) if value[0] == "/" else value) as mirror:
                    cache.repo.gated = True
                    self.pull(cache, HF_ENDPOINT=mirror.url + endpoint, HF_TOKEN="hf_secret")
                    self.assertTrue(all(token == "Bearer hf_secret" for _, token in mirror.asked), "a request without the token")

    def test_an_address_may_be_written_in_capitals(self):
        with Cache() as cache:
            self.pull(cache, HF_ENDPOINT=cache.hub.url.replace("http://127.0.0.1", "HTTP://LOCALHOST"))

    def test_capitals_do_not_lead_from_https_to_http(self):
        with tempfile.TemporaryDirectory() as folder:
            certificate = make_certificate(folder)
            with Cache(certificate=certificate) as cache, Cache() as plain:
                for place, file in (("api", ""), ("resolve", "config.json"), ("head", "model.safetensors")):
                    with self.subTest(place):
                        cache.hub.fault(place, file, 1, lambda handler: handler.reply(302, b"", Location=plain.hub.url + handler.path))
                        line = self.refused(cache, HF_ENDPOINT=cache.hub.url.replace("https", "HTTPS"), SSL_CERT_FILE=str(certificate))
                        self.assertIn("without TLS", line)
                self.assertEqual(plain.hub.requests, [])

    def test_a_hub_that_has_moved_is_named(self):
        with Cache() as cache, serving(cache.hub, Moved) as before:
            line = self.refused(cache, HF_ENDPOINT=before.url, HF_TOKEN="hf_secret")
            self.assertIn(f"give HF_ENDPOINT={cache.hub.url}", line)
            self.assertEqual([headers.get("Authorization") for _, _, _, headers in cache.hub.requests if "Authorization" in headers], [])
            self.pull(cache, HF_ENDPOINT=cache.hub.url)

    def test_what_another_host_says_of_a_file_is_not_believed(self):
        with Cache() as cache, serving(cache.hub, location=lambda handler, value: cache.hub.url + value if value[0] == "/" else value) as mirror:
            self.assertIn("does not say its size and checksum itself", self.refused(cache, HF_ENDPOINT=mirror.url))

    def test_what_is_no_address_is_refused(self):
        with Cache() as cache:
            for address in ("127.0.0.1:80", "http://", "http://a b", "http://[::1", "http://u:p@host", "http://host/?x=1", "/", "file:///x"):
                with self.subTest(address):
                    self.assertIn("HF_ENDPOINT takes the address of a hub", self.refused(cache, HF_ENDPOINT=address))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
