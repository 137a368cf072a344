"""Two replicas of each tier, with the real processes: an image is encoded once and its tokens are projected once, also
when a replica is lost.

Usage: affinity_test.py FOLDER_OF_BINARIES; run by ctest as `affinity_test`.
"""
import pathlib
import sys
import time
import unittest

from replicas import ReplicasTestCase, free_port

ReplicasTestCase.binaries = pathlib.Path(sys.argv[1])
IMAGES = 16
PATIENCE = 60  # seconds until all replicas are found


class AffinityTest(ReplicasTestCase):
    def start_all(self, *flags):
        visions = [free_port() for _ in range(2)]
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in visions)
        flags = ("--max_connection_age=10m", *flags)
        self.visions = [self.tier("vision_service", "127.0.0.1", port, flags[0]) for port in visions]
        languages = [free_port() for _ in range(2)]
        self.languages = [self.tier("language_service", "127.0.0.1", port, f"--vision_target={target}", *flags)
                          for port in languages]
        self.front = self.gateway("ipv4:" + ",".join(f"127.0.0.1:{port}" for port in languages),
                                  f"--vision_target={target}", *flags[1:])

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
        self.start_all("--affinity=none")
        for image in range(IMAGES):  # the replicas take turns
            self.assertEqual([self.ask(image=True, cache_breaker=image) for _ in range(2)], [200, 200])
        self.assertGreater(sum(self.misses(self.languages, "projected_tokens")), IMAGES)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
