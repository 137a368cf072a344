"""Pulls from a hub that cuts, truncates, lies, stalls and refuses: no fault leaves a wrong byte or a half-made snapshot.

Usage: pull_faults_test.py FOLDER_OF_BINARIES; run by ctest as `pull_faults_test`.
"""
import concurrent.futures
import email.utils
import gzip
import json
import random
import resource
import signal
import socket
import sys
import tempfile
import time
import unittest

from hub_stub import demo_files, make_certificate, sha256
from pulling import NAME, WEIGHTS, Cache

ALWAYS = 1000
RANGE = 32 << 20


# A model of two ranges.
LARGE = {**demo_files(), WEIGHTS: random.Random(7).randbytes(RANGE + (3 << 20))}
SMALL = demo_files()


def cut_after(count):
    def act(handler, data):
        begin, end = handler.wanted_range(len(data)) or (0, len(data))
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Length", str(end - begin))
        if handler.headers.get("Range"):
            handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[begin:min(end, begin + count)])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
    return act


def announce(change):
    """A 206 whose body, offset or total `change` makes wrong: (begin, end, total, body) -> the same."""
    def act(handler, data):
        begin, end = handler.wanted_range(len(data)) or (0, len(data))
        begin, end, total, body = change(begin, end, len(data), data[begin:end])
        handler.reply(206, body, Content_Range=f"bytes {begin}-{end - 1}/{total}")
    return act


def flipped(handler, data):
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    handler.send(bytes(changed))


def chunked_with_more(handler, data):
    begin, end = handler.wanted_range(len(data)) or (0, len(data))
    handler.close_connection = True
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(data[begin:end] + b"more")


def whole_cut_after(count):
    """What a server without ranges sends over a bad line."""
    def act(handler, data):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
    return act


def compressed(make):
    """What a proxy does that compresses unasked."""
    def act(handler, *data):
        handler.reply(200, gzip.compress(make(handler, *data)), Content_Encoding="gzip")
    return act


def in_capitals(handler, data):
    begin, end = handler.wanted_range(len(data))
    handler.reply(206, data[begin:end], Content_Range=f"BYTES {begin}-{end - 1}/{len(data)}")


def stall(handler, data):
    begin, end = handler.wanted_range(len(data)) or (0, len(data))
    handler.send_response(206)
    handler.send_header("Content-Length", str(end - begin))
    handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
    handler.end_headers()
    handler.wfile.write(data[begin:begin + 100_000])
    handler.wfile.flush()
    time.sleep(5)


def status(code, **headers):
    return lambda handler, *data: handler.reply(code, b"no", **headers)


def later(seconds):
    """429 with the moment from which on the hub answers again."""
    return lambda handler, *data: handler.reply(429, b"no", Retry_After=email.utils.formatdate(time.time() + seconds, usegmt=True))


def redirect(to):
    return lambda handler, *data: handler.reply(302, b"", Location=to)


def loop(handler, *data):
    handler.reply(302, b"", Location=handler.path)


def garbage(handler, *data):
    handler.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    handler.connection.shutdown(socket.SHUT_RDWR)


def silence(handler, *data):
    handler.connection.shutdown(socket.SHUT_RDWR)


def head(**headers):
    def act(handler):
        weights = SMALL[WEIGHTS]
        values = {"X_Linked_Etag": f'"{sha256(weights)}"', "X_Linked_Size": len(weights), **headers}
        handler.reply(302, b"", Location="http://127.0.0.1:1/", **values)
    return act


def listing(body):
    return lambda handler: handler.reply(200, body if isinstance(body, bytes) else str(body).replace("'", '"').encode())


def names(*files):
    return listing({"sha": "c" * 40, "siblings": [{"rfilename": name} for name in files]})


def revision_of(repo):
    return json.dumps({"sha": repo.branches["main"], "siblings": repo.siblings()}).encode()


SHIFTED = announce(lambda begin, end, total, body: (begin + 1, end, total, body[1:]))
SHORT = announce(lambda begin, end, total, body: (begin, end - 10, total, body[:-10]))
OTHER_TOTAL = announce(lambda begin, end, total, body: (begin, end, total + 1, body))

# What goes wrong, where, how often, for which file; then what the line says, or "" where the pull succeeds.
FAULTS = {
    "a connection that is cut": ("storage", 1, WEIGHTS, cut_after(1_000_000), ""),
    "all connections cut after a while": ("storage", ALWAYS, WEIGHTS, cut_after(9_000_000), ""),
    "all connections cut soon": ("storage", ALWAYS, WEIGHTS, cut_after(1000), "drops the connection"),
    "a storage that takes no connection for a moment": ("resolve", 2, WEIGHTS, redirect("http://127.0.0.1:1/"), ""),
    "a storage that takes no connection": ("resolve", ALWAYS, WEIGHTS, redirect("http://127.0.0.1:1/"), "connection is refused"),
    "a connection closed without an answer": ("storage", 1, WEIGHTS, silence, ""),
    "no answer, ever": ("storage", ALWAYS, WEIGHTS, silence, "drops the connection"),
    "an answer that is no HTTP": ("storage", ALWAYS, WEIGHTS, garbage, "model.safetensors: "),
    "a truncated range": ("storage", 2, WEIGHTS, SHORT, ""),
    "truncated ranges, always": ("storage", ALWAYS, WEIGHTS, SHORT, "other bytes"),
    "a range from another place": ("storage", ALWAYS, WEIGHTS, SHIFTED, "other bytes"),
    "a range of a file of another size": ("storage", ALWAYS, WEIGHTS, OTHER_TOTAL, "other bytes"),
    "more bytes than asked for": ("storage", ALWAYS, WEIGHTS, chunked_with_more, "ANY"),
    "a byte that is flipped": ("storage", ALWAYS, WEIGHTS, flipped, "another checksum"),
    "a byte of a small file that is flipped": ("small", ALWAYS, "vocab.json", lambda h: h.command == "GET" and h.send(b"x" * 9846), "another checksum"),
    "a server that knows no ranges": ("storage", ALWAYS, WEIGHTS, lambda h, data: h.reply(200, data), ""),
    "a server that knows no ranges, cut once": ("storage", 2, WEIGHTS, whole_cut_after(9_000_000), ""),
    "a server that knows no ranges, always cut": ("storage", ALWAYS, WEIGHTS, whole_cut_after(9_000_000), "does not send the rest"),
    "a server that has no such range for a moment": ("storage", 2, WEIGHTS, status(416), ""),
    "a server that has no such range": ("storage", ALWAYS, WEIGHTS, status(416), "other bytes"),
    "a server that writes the unit of ranges in capitals": ("storage", ALWAYS, WEIGHTS, in_capitals, ""),
    "a description that comes compressed": ("api", ALWAYS, "", compressed(lambda h: revision_of(h.server.hub.repos[NAME])), ""),
    "a configuration that comes compressed": ("small", 1, "config.json", compressed(lambda h: SMALL["config.json"]), ""),
    "a file that comes compressed": ("small", ALWAYS, "vocab.json", lambda h: h.command == "GET" and compressed(lambda h: SMALL["vocab.json"])(h),
                                     "other bytes"),
    "weights that come compressed": ("storage", ALWAYS, WEIGHTS, compressed(lambda h, data: data[:1000]), "other bytes"),
    "a configuration that is no JSON": ("small", ALWAYS, "config.json", lambda h: h.reply(200, b"<html>Sign in</html>"), "use another"),
    "a whole file of another size": ("storage", ALWAYS, WEIGHTS, lambda h, data: h.reply(200, data + b"x"), "other bytes"),
    "a server that stalls": ("storage", 1, WEIGHTS, stall, ""),
    "a server that fails once": ("storage", 1, WEIGHTS, status(503), ""),
    "a server that fails always": ("storage", ALWAYS, WEIGHTS, status(503), "status 503"),
    "a hub that fails once": ("api", 1, "", status(502), ""),
    "a hub that fails always": ("api", ALWAYS, "", status(500), "status 500"),
    "a hub that asks for a second": ("storage", 1, WEIGHTS, status(429, Retry_After=1), ""),
    "a hub that asks for two minutes": ("resolve", ALWAYS, WEIGHTS, status(429, Retry_After=120), "Try again in 120 s"),
    "a description that asks for two minutes": ("api", ALWAYS, "", status(429, Retry_After=120), "Try again in 120 s"),
    "a hub that tells its limit": ("storage", ALWAYS, WEIGHTS, status(429, RateLimit='"resolvers";r=0;t=90'), "Try again in 90 s"),
    "a hub that asks for a second by its limit": ("api", 1, "", status(429, RateLimit='"api";r=0;t=1'), ""),
    "a hub that says from when on": ("resolve", ALWAYS, WEIGHTS, later(90), "Try again in "),
    "a hub that says a moment that has passed": ("resolve", 1, WEIGHTS, later(-90), ""),
    "a hub that says no number": ("api", 1, "", status(429, Retry_After="soon"), ""),
    "a hub that says a number below zero": ("resolve", 1, WEIGHTS, status(429, Retry_After=-5), ""),
    "a file that is forbidden": ("storage", ALWAYS, WEIGHTS, status(403), "the storage that the hub names does not give model.safetensors"),
    "an address that is valid no longer": ("storage", 1, WEIGHTS, status(403), ""),
    "a file that is gone": ("resolve", ALWAYS, WEIGHTS, status(404), "status 404 for model.safetensors. If HF_ENDPOINT"),
    "a file that needs a token": ("resolve", ALWAYS, WEIGHTS, status(401), "without a token (status 401). Give a token"),
    "a model that is forbidden": ("api", ALWAYS, "", status(403), "does not give org/name without a token (status 403)"),
    "a method that is not allowed": ("head", ALWAYS, WEIGHTS, status(405), "status 405 for model.safetensors. If HF_ENDPOINT"),
    "redirects without end": ("resolve", ALWAYS, WEIGHTS, loop, "without end"),
    "a redirect to a file of this host": ("resolve", ALWAYS, WEIGHTS, redirect("file:///etc/passwd"), "refused"),
    "a redirect to FTP": ("resolve", ALWAYS, WEIGHTS, redirect("ftp://127.0.0.1/x"), "refused"),
    "a size that is too large": ("head", ALWAYS, WEIGHTS, head(X_Linked_Size=len(SMALL[WEIGHTS]) + 1), "other bytes"),
    "a size that is too small": ("head", ALWAYS, WEIGHTS, head(X_Linked_Size=1000), "other bytes"),
    "a size that no disk has": ("head", ALWAYS, WEIGHTS, head(X_Linked_Size=1 << 43), "free"),
    "a size that is no number": ("head", ALWAYS, WEIGHTS, head(X_Linked_Size="-1"), "does not say size"),
    "a checksum that leads elsewhere": ("head", ALWAYS, WEIGHTS, head(X_Linked_Etag='"../../../evil"'), "does not say"),
    "weights without a checksum": ("head", ALWAYS, WEIGHTS, head(X_Linked_Etag='"abc"'), "does not say"),
    "another commit than asked for": ("head", ALWAYS, WEIGHTS, head(X_Repo_Commit="d" * 40), "does not say"),
    "a name that leads upwards": ("api", ALWAYS, "", names("config.json", WEIGHTS, "../evil.json"), "leads out"),
    "a name that leads upwards inside": ("api", ALWAYS, "", names("config.json", WEIGHTS, "a/../../evil.json"), "leads out"),
    "a name that is absolute": ("api", ALWAYS, "", names("config.json", WEIGHTS, "/tmp/evil.json"), "leads out"),
    "a name with a backslash": ("api", ALWAYS, "", names("config.json", WEIGHTS, "..\\\\evil.json"), "leads out"),
    "a name with a control character": ("api", ALWAYS, "", names("config.json", WEIGHTS, "\\u001b[2J.json"), "leads out"),
    "a commit that leads upwards": ("api", ALWAYS, "", listing({"sha": "../../../evil", "siblings": []}), "names no commit"),
    "a description that is no JSON": ("api", ALWAYS, "", listing(b"<html>"), "not JSON"),
    "a description that is cut": ("api", ALWAYS, "", listing(b'{"sha": "'), "not JSON"),
    "a description that is nested": ("api", ALWAYS, "", listing(b'{"a":' * 100_000), "HUB_FAILED"),
    "files without names": ("api", ALWAYS, "", listing({"sha": "c" * 40, "siblings": [1]}), "no name"),
}


class PullFaultsTest(unittest.TestCase):
    def check_fault(self, what):
        place, times, name, act, says = FAULTS[what]
        with Cache(LARGE if place == "storage" else SMALL) as cache:
            cache.hub.fault(place, name, times, act)
            pulled = cache.pull(**({"HF_HUB_DOWNLOAD_TIMEOUT": "2"} if act is stall else {}))
            if pulled.returncode == 0:
                self.assertIn(says, ("", "ANY"))
                if "asks for a second" in what and place == "storage":
                    self.assertIn("the hub asks for a break of 1s", pulled.stderr)
            else:
                self.assertNotEqual(says, "", pulled.stderr)
                self.assertEqual(pulled.returncode, 1, pulled.stderr)
                last = pulled.stderr.strip().splitlines()[-1]
                self.assertTrue(last.startswith("diptych: "), last)
                self.assertIn("" if says == "ANY" else says, last)
                self.assertFalse(cache.visible(), "a snapshot of what is not there")
            cache.hub.faults.clear()
            again = cache.pull()
            self.assertEqual(again.returncode, 0, again.stderr)
            cache.check_whole(self)

    def test_no_fault_leaves_a_wrong_byte(self):
        self.assertGreaterEqual(len(FAULTS), 20)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for what, result in [(what, pool.submit(self.check_fault, what)) for what in FAULTS]:
                with self.subTest(what):
                    result.result()

    def test_goes_on_at_the_byte_where_it_was_killed(self):
        sent = []

        def slowly(handler, data):
            begin, end = handler.wanted_range(len(data)) or (0, len(data))
            handler.send_response(206)
            handler.send_header("Content-Length", str(end - begin))
            handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
            handler.end_headers()
            handler.wfile.write(data[begin:begin + 3_000_000])
            handler.wfile.flush()
            sent.append(begin)
            time.sleep(30)

        with Cache(LARGE) as cache:
            cache.hub.fault("storage", WEIGHTS, 2, slowly)
            process = cache.start("pull", NAME)
            while len(sent) < 2:
                time.sleep(0.02)
            time.sleep(0.3)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.assertFalse(cache.visible())
            asked = []
            cache.hub.faults.clear()
            cache.hub.fault("storage", WEIGHTS, ALWAYS, lambda h, data: asked.append(h.wanted_range(len(data))) or False)
            again = cache.pull()
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(sorted(begin for begin, _ in asked), [3_000_000 + RANGE * i for i in range(2)])
            self.assertIn("are here already", again.stderr)
            cache.check_whole(self)

    def test_one_of_two_pulls_is_killed(self):
        with Cache() as cache:
            cache.hub.fault("storage", WEIGHTS, 1, stall)
            first = cache.start("pull", NAME)
            while not cache.hub.count("storage", "GET"):
                time.sleep(0.02)
            second = cache.start("pull", NAME)
            self.assertIn("another pull of it is under way", second.stderr.readline())
            first.kill()
            first.communicate()
            _, err = second.communicate(timeout=60)
            self.assertEqual(second.returncode, 0, err)
            cache.check_whole(self)

    def test_weights_that_change_before_it_goes_on(self):
        with Cache(LARGE) as cache:
            cache.hub.fault("storage", WEIGHTS, ALWAYS, stall)
            process = cache.start("pull", NAME)
            while not cache.partial():
                time.sleep(0.02)
            process.kill()
            process.communicate()
            cache.hub.faults.clear()
            cache.repo.files[WEIGHTS] = LARGE[WEIGHTS][::-1]
            cache.repo.branches["main"] = cache.repo.commit()
            again = cache.pull()
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertTrue((cache.snapshot() / WEIGHTS).read_bytes() == cache.repo.files[WEIGHTS])
            self.assertEqual(cache.partial(), [], "what was begun of the old weights still fills the disk")

    def test_ctrl_c_ends_it_and_keeps_what_is_there(self):
        with Cache(LARGE) as cache:
            cache.hub.fault("storage", WEIGHTS, ALWAYS, stall)
            for command, times in (("pull", 1), ("serve", 2)):
                process = cache.start(command, NAME)
                while cache.hub.count("storage", "GET") < times:
                    time.sleep(0.02)
                time.sleep(0.2)
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=10)
                self.assertEqual(process.returncode, 130, err)
                self.assertIn("interrupted", err)
                self.assertFalse(cache.visible())
                self.assertEqual(len(cache.partial()), 1)

    def test_a_disk_that_is_full_in_the_middle(self):
        def limits():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20))

        with Cache(LARGE) as cache:
            pulled = cache.pull(limits=limits)
            self.assertEqual(pulled.returncode, 1)
            self.assertIn("DISK_FULL", pulled.stderr)
            self.assertIn("HF_HUB_CACHE", pulled.stderr)
            self.assertFalse(cache.visible())

    def test_an_index_leads_nowhere_else(self):
        files = {name: data for name, data in demo_files().items() if name != WEIGHTS}
        for shard in ("../evil.safetensors", "/etc/evil.safetensors", "absent.safetensors", "config.json"):
            index = b'{"weight_map": {"a": "%s"}}' % shard.encode()
            with self.subTest(shard), Cache({**files, WEIGHTS + ".index.json": index}) as cache:
                pulled = cache.pull()
                self.assertEqual(pulled.returncode, 1)
                self.assertIn(f"its index names weights that it does not have ({shard})", pulled.stderr)
                self.assertFalse(cache.path.exists())

    def test_an_index_of_nothing_is_no_model(self):
        files = {name: data for name, data in demo_files().items() if name != WEIGHTS}
        with Cache({**files, WEIGHTS + ".index.json": b'{"weight_map": {}}'}) as cache:
            self.assertIn("its index of weights maps nothing", cache.pull().stderr)
            self.assertFalse(cache.path.exists())

    def test_a_redirect_from_https_to_http_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            certificate = make_certificate(folder)
            for place, name in (("api", ""), ("head", WEIGHTS), ("resolve", WEIGHTS), ("storage", WEIGHTS)):
                with self.subTest(place), Cache(certificate=certificate) as cache, Cache() as plain:
                    self.assertIn("its certificate is not accepted", cache.pull().stderr)
                    self.assertIn("Install ca-certificates", cache.pull(SSL_CERT_FILE="/no/such/file").stderr)
                    to = plain.hub.url + f"/{NAME}/resolve/{cache.repo.branches['main']}/{WEIGHTS}"
                    cache.hub.fault(place, name, ALWAYS, redirect(to))
                    pulled = cache.pull(SSL_CERT_FILE=str(certificate), HF_TOKEN="hf_secret")
                    self.assertEqual(pulled.returncode, 1, pulled.stderr)
                    self.assertIn("without TLS", pulled.stderr)
                    self.assertEqual(plain.hub.requests, [])
                    self.assertFalse(cache.visible())
                    cache.hub.faults.clear()
                    again = cache.pull(SSL_CERT_FILE=str(certificate), HF_TOKEN="hf_secret")
                    self.assertEqual(again.returncode, 0, again.stderr)
                    cache.check_whole(self)

    def test_the_token_goes_to_the_hub_alone(self):
        with Cache() as cache:
            cache.repo.gated = True
            self.assertEqual(cache.pull(HF_TOKEN="hf_secret").returncode, 0)
            for role, _, path, headers in cache.hub.requests:
                self.assertEqual(headers.get("Authorization"), "Bearer hf_secret" if role == "hub" else None, path)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
