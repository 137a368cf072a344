"""Two replicas of each tier, with the real processes: an image is encoded once and its tokens are projected once, also
when a replica is lost.

Usage: affinity_test.py FOLDER_OF_BINARIES; run by ctest as `affinity_test`.
"""
import http.client
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from name_server import NameServer
from replicas import ReplicasTestCase, free_port

ReplicasTestCase.binaries = pathlib.Path(sys.argv[1])
IMAGES = 16
PATIENCE = 60  # seconds until all replicas are found


class AffinityTest(ReplicasTestCase):
    def setUp(self):
        super().setUp()
        self.names = NameServer([f"127.0.0.{i}" for i in (1, 2)])
        self.is_tls = False

    def tearDown(self):
        super().tearDown()
        self.names.close()

    def connect(self):
        if not self.is_tls:
            return super().connect()
        return http.client.HTTPSConnection("127.0.0.1", self.http_port, timeout=60,
                                           context=ssl._create_unverified_context())

    def start_tier(self, name, *flags):
        """Both replicas and their target."""
        port = free_port()
        replicas = [self.tier(name, address, port, "--max_connection_age=10m", *flags)
                    for address in self.names.addresses]
        return replicas, f"dns://127.0.0.1:{self.names.port}/tier.test:{port}"

    def start_all(self, affinity="image", tier_flags=(), gateway_flags=()):
        self.visions, vision = self.start_tier("vision_service", *tier_flags)
        flags = [f"--vision_target={vision}", f"--affinity={affinity}"]
        self.languages, language = self.start_tier("language_service", *flags, *tier_flags)
        self.front = self.gateway(language, *flags, *gateway_flags)

    def await_known(self):
        known = [(self.front, "language"), (self.front, "vision"), *((replica, "vision") for replica in self.languages)]
        end = time.monotonic() + PATIENCE
        while any(process.metric(rf'diptych_known_replicas\{{tier="{tier}"\}}') < 2 for process, tier in known):
            self.assertLess(time.monotonic(), end, "not all replicas are found")
            time.sleep(0.05)

    def ask_about_all(self):
        statuses = [self.ask(image=True, cache_breaker=image) for image in range(IMAGES)]
        self.assertEqual(set(statuses), {200})

    def misses(self, replicas, cache):
        """Images that were not found in a cache, of each replica."""
        return [replica.metric(rf'diptych_cache_queries_total\{{cache="{cache}"\}}') -
                replica.metric(rf'diptych_cache_hits_total\{{cache="{cache}"\}}') for replica in replicas]

    def test_an_image_is_computed_once_in_each_tier(self):
        self.start_all()
        self.await_known()
        for _ in range(4):
            self.ask_about_all()
        for replicas, cache in ((self.visions, "vision_tokens"), (self.languages, "projected_tokens")):
            misses = self.misses(replicas, cache)
            self.assertEqual(sum(misses), IMAGES)
            self.assertGreater(min(misses), 0, "images spread over the replicas")
        lost = self.languages.pop()
        self.processes.remove(lost)
        lost.kill()
        self.ask_about_all()
        self.assertEqual(sum(self.misses(self.visions, "vision_tokens")), IMAGES,
                         "the other one finds the visual tokens where they are")

    def test_without_it_each_replica_computes_the_image(self):
        self.start_all(affinity="none")
        for image in range(IMAGES):  # the replicas take turns
            self.assertEqual([self.ask(image=True, cache_breaker=image) for _ in range(2)], [200, 200])
        self.assertGreater(sum(self.misses(self.languages, "projected_tokens")), IMAGES)

    @unittest.skipUnless(shutil.which("openssl"), "makes its certificates with openssl")
    def test_replicas_are_known_by_the_name_of_their_tier_in_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=diptych",
                            "-addext", "subjectAltName=DNS:tier.test", "-keyout", "key.pem", "-out", "cert.pem"],
                           cwd=folder, check=True, capture_output=True)
            own = [f"--tls_cert={folder}/cert.pem", f"--tls_key={folder}/key.pem"]
            self.is_tls = True
            self.start_all(tier_flags=[*own, f"--tls_client_ca={folder}/cert.pem"],
                           gateway_flags=[*own, f"--tls_tier_ca={folder}/cert.pem"])
            self.await_known()
            self.ask_about_all()
            self.ask_about_all()
            self.assertEqual(sum(self.misses(self.languages, "projected_tokens")), IMAGES)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
