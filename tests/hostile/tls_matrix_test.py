"""Which TLS each port takes, asked with `openssl s_client`: versions, ciphers, certificates of callers.

Usage: tls_matrix_test.py FOLDER_OF_BINARIES; run by ctest as `tls_matrix_test`.
"""
import pathlib
import shutil
import ssl
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
from certificates import Authority  # noqa: E402
from fault_stack import Stack  # noqa: E402

BINARIES = pathlib.Path(sys.argv.pop(1)).resolve()
OLD = ("-tls1", "-tls1_1")
NEW = ("-tls1_2", "-tls1_3")
# For a certificate with an elliptic curve, as the authority of the tests signs them. Those of TLS 1.3 are all strong.
STRONG = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")
WEAK = ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-NULL-SHA", "ECDHE-ECDSA-CAMELLIA128-SHA256", "AECDH-AES128-SHA",
        "AECDH-NULL-SHA", "ECDHE-PSK-AES128-CBC-SHA", "NULL-SHA256", "AES128-SHA", "AES128-GCM-SHA256")


class TlsMatrixTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("openssl"):
            raise unittest.SkipTest("the openssl command is missing")
        cls.ours, cls.theirs = Authority(), Authority()
        shown = {name: cls.ours.sign(name) for name in ("vision", "language", "gateway")}
        flags = {name: [f"--tls_cert={cert}", f"--tls_key={key}"] for name, (cert, key) in shown.items()}
        cls.stack = Stack(BINARIES, tier_flags=[f"--tls_client_ca={cls.ours.certificate}"], vision_flags=flags["vision"],
                          language_flags=flags["language"], gateway_flags=[*flags["gateway"], f"--tls_tier_ca={cls.ours.certificate}"],
                          http_context=ssl.create_default_context(cafile=cls.ours.certificate))
        cls.addClassCleanup(cls.stack.stop)
        cls.open = {"gateway, gRPC": cls.stack.gateway.port, "gateway, HTTP": cls.stack.http_port}
        cls.tiers = {"vision": cls.stack.visions[0].port, "language": cls.stack.languages[0].port}

    def shake_hands(self, port, *options):
        """What s_client says of a connection to the port, or None if none came about. The first byte of the server is waited for: in
        TLS 1.3 a caller learns only then that its certificate was refused."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", self.ours.certificate, "-alpn", "h2,http/1.1", *options]
        result = subprocess.run(command, input=b"", capture_output=True, timeout=60)
        said = (result.stdout + result.stderr).decode(errors="replace")
        self.assertNotIn("no cipher match", said, "the openssl command cannot offer it")
        return said if "\nNew, TLS" in said and "Cipher is (NONE)" not in said and "alert" not in said else None

    def test_only_tls_of_today_is_taken(self):
        for name, port in (self.open | self.tiers).items():
            own = self.of("gateway") if name in self.tiers else ()
            for version in OLD:
                self.assertIsNone(self.shake_hands(port, version, "-cipher", "ALL:@SECLEVEL=0", *own), f"{name} {version}")
            for version in NEW:
                self.assertIn("Verify return code: 0 (ok)", self.shake_hands(port, version, *own) or "", f"{name} {version}")

    def test_only_ciphers_with_forward_secrecy_and_authentication_are_taken(self):
        for name, port in (self.open | self.tiers).items():
            own = self.of("gateway") if name in self.tiers else ()
            for cipher in STRONG:
                self.assertIn(cipher, self.shake_hands(port, "-tls1_2", "-cipher", cipher, *own) or "", name)
            for cipher in WEAK:
                with self.subTest(name, cipher=cipher):
                    self.assertIsNone(self.shake_hands(port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0", *own))

    def test_nothing_is_compressed_or_renegotiated(self):
        for name, port in self.open.items():
            said = self.shake_hands(port, "-tls1_2")
            self.assertIn("Compression: NONE", said, name)
            self.assertIn("Secure Renegotiation IS supported", said, name)

    def of(self, name, authority=None):
        folder = (authority or self.ours).path
        return "-cert", folder / f"{name}.pem", "-key", folder / f"{name}.key"

    def test_tiers_hear_only_whom_their_authority_signed(self):
        self.theirs.sign("stranger")
        self.ours.sign("late", expired=True)
        strangers = {"nobody": (), "a stranger": self.of("stranger", self.theirs), "one whose time is over": self.of("late")}
        for name, port in self.tiers.items():
            for version in NEW:
                self.assertIsNotNone(self.shake_hands(port, version, *self.of("gateway")), name)
                for who, own in strangers.items():
                    with self.subTest(name, version=version, who=who):
                        self.assertIsNone(self.hear(port, version, *own))

    def hear(self, port, version, *own):
        """The first bytes of HTTP/2 from a tier, or None."""
        process = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", "-CAfile", self.ours.certificate, "-alpn", "h2",
                                    version, *own], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            process.stdin.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            process.stdin.flush()
            return process.stdout.read(9) or None
        except BrokenPipeError:
            return None
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    unittest.main()
