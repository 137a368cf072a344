"""Certificates that change, or are spoilt, while a process runs.

Usage: certificates_test.py FOLDER_OF_BINARIES; run by ctest as `certificates_test`.
"""
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from processes import VisionService

LOOKS = 2.5  # seconds within which a change of the files is seen


class CertificatesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("openssl"):
            raise unittest.SkipTest("the openssl command is missing")
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        for name in ("first", "second"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"], cwd=cls.folder,
                           check=True, stderr=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def start(self, cert, key, *flags):
        return VisionService(sys.argv[1], f"--tls_cert={self.folder / cert}", f"--tls_key={self.folder / key}", *flags)

    def put(self, name, place):
        """Makes `place` what `name` is, at once."""
        shutil.copy(self.folder / name, self.folder / "new")
        os.replace(self.folder / "new", self.folder / place)

    @staticmethod
    def context():
        """Of a peer that accepts any certificate."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        return context

    def shown(self, port):
        """Which of the two certificates the service shows."""
        with self.context().wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
            certificate = connection.getpeercert(True)
        return next(name for name in ("first", "second")
                    if ssl.PEM_cert_to_DER_cert((self.folder / f"{name}.pem").read_text()) == certificate)

    def is_heard(self, service, *own):
        """Whether a peer that shows `own`, a certificate and its key, or nothing, is answered."""
        context = self.context()
        if own:
            context.load_cert_chain(*(self.folder / name for name in own))
        return service.answers(10, context)

    def test_a_tier_hears_only_peers_of_its_authority(self):
        service = self.start("first.pem", "first.key", f"--tls_client_ca={self.folder / 'second.pem'}")
        try:
            self.assertTrue(self.is_heard(service, "second.pem", "second.key"))
            self.assertFalse(self.is_heard(service))
            self.assertFalse(self.is_heard(service, "first.pem", "first.key"))
        finally:
            self.assertEqual(service.stop()[0], 0)

    def test_what_is_no_pair_ends_the_start(self):
        service = self.start("first.pem", "second.key")
        self.assertIsNone(service.port)
        status, errors = service.stop()
        self.assertEqual(status, 1)
        self.assertIn("--tls_key", errors)

    def test_only_a_whole_new_pair_takes_the_place_of_the_old_one(self):
        self.put("first.pem", "cert"), self.put("first.key", "key")
        service = self.start("cert", "key")
        try:
            self.assertEqual(self.shown(service.port), "first")
            self.put("second.pem", "cert")
            time.sleep(LOOKS)
            self.assertEqual(self.shown(service.port), "first", "half of the new pair is there")
            (self.folder / "key").write_text("")
            time.sleep(LOOKS)
            self.assertEqual(self.shown(service.port), "first", "the key is being written")
            self.put("second.pem", "cert"), self.put("second.key", "key")
            end = time.monotonic() + 20
            while self.shown(service.port) != "second" and time.monotonic() < end:
                time.sleep(0.2)
            self.assertEqual(self.shown(service.port), "second")
        finally:
            self.assertEqual(service.stop()[0], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
