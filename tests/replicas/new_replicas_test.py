"""Replicas that come and go behind a name, with the real processes: who gets requests, counted by each replica.

Usage: new_replicas_test.py FOLDER_OF_BINARIES; run by ctest as `new_replicas_test`.
"""
import concurrent.futures
import pathlib
import sys
import time
import unittest

from name_server import NameServer
from replicas import ReplicasTestCase, free_port

ReplicasTestCase.binaries = pathlib.Path(sys.argv[1])
SOON = 10  # seconds after which a new replica has its share


class NewReplicasTest(ReplicasTestCase):
    def ask_until(self, condition, **question):
        end, statuses = time.monotonic() + SOON, []
        while time.monotonic() < end and not condition():
            statuses.append(self.ask(cache_breaker=len(statuses), **question))
        self.assertEqual(set(statuses), {200})
        self.assertTrue(condition())

    def test_a_new_language_replica_gets_its_share_and_one_that_goes_loses_nothing(self):
        port, names = free_port(), NameServer(["127.0.0.1"])
        first = self.tier("language_service", "127.0.0.1", port)
        self.gateway(f"dns://127.0.0.1:{names.port}/language.test:{port}")
        self.ask_until(lambda: first.requests() >= 3)
        second = self.tier("language_service", "127.0.0.2", port)
        names.addresses = ["127.0.0.1", "127.0.0.2"]
        self.ask_until(lambda: second.requests() >= 3)
        names.addresses = ["127.0.0.2"]
        self.processes.remove(first)
        first.stop()
        before = second.requests()
        self.ask_until(lambda: second.requests() >= before + 5)
        names.close()

    def test_a_new_vision_replica_gets_its_share(self):
        port, names = free_port(), NameServer(["127.0.0.1"])
        first = self.tier("vision_service", "127.0.0.1", port)
        language = free_port()
        self.tier("language_service", "127.0.0.1", language,
                  f"--vision_target=dns://127.0.0.1:{names.port}/vision.test:{port}")
        self.gateway(f"127.0.0.1:{language}")
        self.ask_until(lambda: first.requests() >= 2, image=True)
        second = self.tier("vision_service", "127.0.0.2", port)
        names.addresses = ["127.0.0.1", "127.0.0.2"]
        self.ask_until(lambda: second.requests() >= 2, image=True)
        names.close()

    def test_images_wait_for_a_vision_tier_that_wakes(self):
        port, names = free_port(), NameServer([])
        language = free_port()
        self.tier("language_service", "127.0.0.1", language, "--wait_for_vision",
                  f"--vision_target=dns://127.0.0.1:{names.port}/vision.test:{port}")
        self.gateway(f"127.0.0.1:{language}", "--request_timeout=60s")
        self.assertEqual(self.ask(), 200, "text needs no vision tier")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.ask, image=True)
            time.sleep(2)
            self.assertFalse(answer.done(), "it waits")
            self.tier("vision_service", "127.0.0.1", port)
            names.addresses = ["127.0.0.1"]
            self.assertEqual(answer.result(), 200)
        names.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
