"""HTTPS on the HTTP port: who is served, with what certificate, and which web pages.

Usage: http_tls_test.py FOLDER_OF_BINARIES; run by ctest as `http_tls_test`. Skipped without the openssl command.
"""
import contextlib
import http.client
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
from certificates import Authority  # noqa: E402
from fault_stack import JSON, Stack, body_of, free_port  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
if not shutil.which("openssl"):
    sys.exit(77)
PAGE = "https://page.example"


def flags_of(pair):
    return [f"--tls_cert={pair[0]}", f"--tls_key={pair[1]}"]


class HttpTlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.context = ssl.create_default_context(cafile=cls.authority.certificate)
        cls.stack = Stack(BINARIES, gateway_flags=[*flags_of(cls.authority.sign("gateway")), f"--cors_origins={PAGE},http://localhost:3000"],
                          http_context=cls.context)

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()

    def dial(self, context=None):
        plain = socket.create_connection(("127.0.0.1", self.stack.http_port), timeout=20)
        return (context or self.context).wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)

    def serial(self):
        with self.dial() as connection:
            return connection.getpeercert()["serialNumber"]

    def test_questions_are_answered_whole_and_streamed(self):
        status, answer, _ = self.stack.ask()
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["choices"][0]["message"]["content"], "red")
        self.assertEqual(self.stack.stream(), "red")

    def test_a_connection_carries_many_requests(self):
        connection = self.stack.connect()
        for _ in range(5):
            connection.request("POST", "/v1/chat/completions", json.dumps(body_of("x", None, max_tokens=2)), JSON)
            self.assertEqual(json.loads(connection.getresponse().read())["object"], "chat.completion")
        connection.close()

    def test_the_last_reply_ends_with_a_farewell(self):
        for request in (b"GET /healthz/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n", b"nonsense\r\n\r\n",
                        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999999\r\n\r\n"):
            with self.subTest(request), self.dial() as connection:
                connection.sendall(request)
                reply = b""
                while piece := connection.recv(4096):  # SSLEOFError where the end could be an attacker's
                    reply += piece
                self.assertTrue(reply.startswith(b"HTTP/1.1 "), reply)

    def test_only_tls_1_2_and_1_3_with_forward_secrecy(self):
        def agrees(*options):
            return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.stack.http_port}", *options], input=b"",
                                  capture_output=True, timeout=20).returncode == 0
        self.assertTrue(agrees("-tls1_3"))
        self.assertTrue(agrees("-tls1_2"))
        self.assertTrue(agrees("-alpn", "http/1.1"))
        self.assertFalse(agrees("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"))
        self.assertFalse(agrees("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"))
        self.assertFalse(agrees("-tls1_2", "-cipher", "AES128-GCM-SHA256"), "without forward secrecy")
        self.assertFalse(agrees("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"), "without authenticated encryption")
        self.assertFalse(agrees("-alpn", "h2"))

    def test_callers_that_never_shake_hands_keep_nobody_waiting(self):
        port = self.stack.http_port
        for first in (b"", b"\x16\x03\x01", self.first_flight()):
            with self.subTest(len(first)):
                silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(1100)]
                try:
                    for connection in silent:
                        connection.send(first)
                    with socket.create_connection(("127.0.0.1", port), timeout=4) as plain:  # less than a handshake is given, 10 s
                        with self.context.wrap_socket(plain, server_hostname="127.0.0.1") as caller:
                            caller.sendall(b"GET /healthz/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
                            self.assertIn(b" 200 ", caller.recv(4096))
                finally:
                    for connection in silent:
                        connection.close()

    def first_flight(self):
        sent, received = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self.assertRaises(ssl.SSLWantReadError):
            self.context.wrap_bio(received, sent, server_hostname="127.0.0.1").do_handshake()
        return sent.read()

    def test_new_keys_again_and_again_end_the_connection(self):
        request = b"GET /healthz/live HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"

        def reply_after(renewals):
            command = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", f"127.0.0.1:{self.stack.http_port}"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as caller:
                with contextlib.suppress(BrokenPipeError):
                    for _ in range(renewals):
                        caller.stdin.write(b"K\n")
                        while (said := caller.stderr.readline()) and b"KEYUPDATE" not in said:
                            pass
                    caller.stdin.write(request)
                return caller.stdout.read()
        self.assertIn(b" 200 ", reply_after(5))
        self.assertEqual(reply_after(200), b"")

    def test_plain_http_is_told_to_come_in_tls(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.http_port, timeout=20)
        connection.request("GET", "/healthz/live")
        reply = connection.getresponse()
        self.assertEqual(reply.status, 400)
        self.assertIn(b"https", reply.read())
        connection.close()

    def test_a_renewed_certificate_is_shown_without_a_restart_and_a_faulty_one_is_not(self):
        old = self.serial()
        with self.dial() as before:
            self.authority.sign("gateway")
            time.sleep(1.2)
            renewed = self.serial()
            self.assertNotEqual(renewed, old)
            before.sendall(b"GET /healthz/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            self.assertIn(b" 200 ", before.recv(4096), "who was connected stays connected")
        certificate = self.authority.path / "gateway.pem"
        whole = certificate.read_bytes()
        certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf")
        time.sleep(1.2)
        self.assertEqual(self.serial(), renewed)
        certificate.write_bytes(whole)

    def test_pages_of_the_named_origins_may_ask(self):
        def headers(method, origin, **more):
            connection = self.stack.connect()
            connection.request(method, "/v1/chat/completions", headers={"Origin": origin, **more})
            reply = connection.getresponse()
            reply.read()
            connection.close()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}
        first = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os"}
        status, allowed = headers("OPTIONS", PAGE, **first)
        self.assertEqual(status, 204)
        self.assertEqual(allowed["access-control-allow-origin"], PAGE)
        self.assertIn("POST", allowed["access-control-allow-methods"])
        self.assertEqual(allowed["access-control-allow-headers"], first["Access-Control-Request-Headers"])
        self.assertEqual(allowed["vary"], "origin")
        self.assertEqual(headers("POST", PAGE)[1]["access-control-allow-origin"], PAGE, "also on errors, so that a page can read them")
        for origin in ("https://other.example", "https://page.example.evil", "null", "http://page.example", ""):
            for method in ("OPTIONS", "POST"):
                self.assertNotIn("access-control-allow-origin", headers(method, origin, **first)[1], origin)

    def test_a_certificate_is_asked_of_callers_where_the_operator_says_so(self):
        port = free_port()
        gateway = subprocess.Popen([BINARIES / "gateway", "--listen=127.0.0.1:0", "--metrics_listen=", f"--http_listen=127.0.0.1:{port}",
                                    f"--vision_target=127.0.0.1:{self.stack.visions[0].port}", "--log_level=off",
                                    f"--language_target=127.0.0.1:{self.stack.languages[0].port}",
                                    *flags_of(self.authority.sign("guarded")), f"--tls_client_ca={self.authority.certificate}"],
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (gateway.terminate(), gateway.wait(), gateway.stdout.close()))
        gateway.stdout.readline()

        def status(path, shown):
            context = ssl.create_default_context(cafile=self.authority.certificate)
            if shown:
                context.load_cert_chain(*shown)
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
            try:
                connection.request("GET", path)
                return connection.getresponse().status
            finally:
                connection.close()
        self.assertEqual(status("/v1/models", self.authority.sign("caller")), 200)
        self.assertEqual(status("/v1/models", None), 403)
        self.assertEqual(status("/healthz/live", None), 200)
        strangers = Authority()
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            status("/v1/models", strangers.sign("stranger"))

    def test_unusable_files_and_origins_are_refused_at_start(self):
        mine, other = self.authority.sign("mine"), self.authority.sign("other")
        for flags, named in ((flags_of((mine[0], other[1])), "tls_key"), (flags_of((mine[0], mine[0])), "tls_key"),
                             ([f"--tls_cert={mine[0]}"], "tls_key"), (["--cors_origins=page.example"], "cors_origins"),
                             (["--cors_origins=https://page.example/path"], "cors_origins")):
            with self.subTest(named=named, flags=flags):
                ended = subprocess.run([BINARIES / "gateway", "--listen=127.0.0.1:0", "--metrics_listen=", "--http_listen=127.0.0.1:0",
                                        "--log_level=error", *flags], capture_output=True, text=True, timeout=30)
                self.assertEqual(ended.returncode, 1)
                self.assertIn(named, ended.stderr)
                self.assertNotIn(str(mine[0]), ended.stderr, "no path")


if __name__ == "__main__":
    unittest.main()
