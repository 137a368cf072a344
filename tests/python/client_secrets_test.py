"""The Python client with keys and certificates.

Usage: client_secrets_test.py FOLDER_OF_BINARIES FOLDER_OF_THE_PACKAGE LIBRARIES; run by ctest with the oldest and the newest versions
of the libraries that the package allows, as `python_secrets_oldest_test` and `python_secrets_newest_test`.
"""
import os
import pathlib
import subprocess
import tempfile
import unittest
import unittest.mock

import client_stack
from client_stack import BINARIES, QUESTION

import diptych
from http_stack import SAMPLE, Stack, key_file


class SecretsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
             "-subj", "/CN=diptych", "-addext", "subjectAltName=DNS:diptych.test,IP:127.0.0.1"], cwd=cls.path, capture_output=True)
        if made.returncode != 0:
            cls.folder.cleanup()
            raise unittest.SkipTest("the openssl command is missing")
        key_file(cls.path / "keys.json", alice={}, spender={"tokens_per_minute": 1})
        cls.stack = Stack(BINARIES, [f"--api_keys_file={cls.path / 'keys.json'}", f"--tls_cert={cls.path / 'cert.pem'}",
                                     f"--tls_key={cls.path / 'key.pem'}", f"--tls_client_ca={cls.path / 'cert.pem'}"])
        cls.tls = diptych.Tls(ca=cls.path / "cert.pem", cert=cls.path / "cert.pem", key=(cls.path / "key.pem").read_bytes(),
                              server_name="diptych.test")

    @classmethod
    def tearDownClass(cls):
        cls.stack.stop()
        cls.folder.cleanup()

    def client(self, **settings):
        client = diptych.Client(f"127.0.0.1:{self.stack.grpc_port}", **{"tls": self.tls, **settings})
        self.addCleanup(client.close)
        return client

    def test_a_certificate_and_a_key_open_the_server(self):
        self.assertEqual(self.client(api_key="alice").ask(SAMPLE, QUESTION).text, "red")
        os.environ["DIPTYCH_API_KEY"] = "alice"
        try:
            self.assertEqual(self.client().ask(SAMPLE, QUESTION).text, "red")
        finally:
            del os.environ["DIPTYCH_API_KEY"]

    def test_a_certificate_may_come_from_the_environment(self):
        files = {"DIPTYCH_TLS_CA": "cert.pem", "DIPTYCH_TLS_CERT": "cert.pem", "DIPTYCH_TLS_KEY": "key.pem"}
        with unittest.mock.patch.dict(os.environ, {name: str(self.path / file) for name, file in files.items()}):
            self.assertEqual(self.client(tls=None, api_key="alice").ask(SAMPLE, QUESTION).text, "red")

    def test_without_a_key_nothing_is_answered(self):
        for key in (None, "mallory"):
            with self.assertRaises(diptych.Unauthenticated) as raised:
                self.client(api_key=key).ask(SAMPLE, QUESTION)
            self.assertEqual(raised.exception.reason, "INVALID_API_KEY")
            self.assertNotIn("mallory", str(raised.exception))

    def test_without_the_right_certificate_nothing_is_sent(self):
        for tls in (False, True, diptych.Tls(ca=self.path / "cert.pem", server_name="diptych.test"), self.path / "cert.pem"):
            with self.assertRaises(diptych.Unreachable):
                self.client(tls=tls, api_key="alice").ask(SAMPLE, QUESTION)

    def test_over_its_limit_a_key_is_told_when_to_come_back(self):
        client = self.client(api_key="spender")
        client.ask(SAMPLE, QUESTION)
        with self.assertRaises(diptych.Overloaded) as raised:
            client.ask(SAMPLE, QUESTION)
        self.assertEqual(raised.exception.reason, "RATE_LIMITED")
        self.assertGreater(raised.exception.retry_after, 0)

    def test_secrets_are_not_shown(self):
        from diptych.connection import Connection
        shown = repr(Connection.of("x:1", "alice", self.tls, 1.0))
        self.assertNotIn("alice", shown)
        self.assertNotIn("PRIVATE", shown)


if __name__ == "__main__":
    client_stack.main()
