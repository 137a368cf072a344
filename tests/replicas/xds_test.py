"""Tiers that are found by xDS, from a control plane made with go-control-plane: replicas come and go, each tier keeps one at least.

Usage: xds_test.py FOLDER_OF_BINARIES; run by ctest as `xds_test`. Skipped (77) without the control plane, which tests/cluster/build_tools.sh builds.
"""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

from replicas import ROOT, ReplicasTestCase, free_port

CONTROL_PLANE = ROOT / ".deps" / "cluster" / "bin" / "xds"
ReplicasTestCase.binaries = pathlib.Path(sys.argv[1])


class ControlPlane:
    def __init__(self):
        address = f"127.0.0.1:{free_port()}"
        self._process = subprocess.Popen([CONTROL_PLANE, address], stdin=subprocess.PIPE, text=True)
        os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"] = json.dumps({
            "xds_servers": [{"server_uri": address, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}], "node": {"id": "test"}})

    def name(self, tier, *replicas):
        """From now on the tier has these replicas, HOST:PORT."""
        self._process.stdin.write(f"{tier} {' '.join(replicas)}\n")
        self._process.stdin.flush()

    def stop(self):
        self._process.communicate(timeout=60)


class XdsTest(ReplicasTestCase):
    def setUp(self):
        super().setUp()
        self.asked = 0
        self.control_plane = ControlPlane()

    def tearDown(self):
        super().tearDown()
        self.control_plane.stop()

    def replica(self, tier, *flags):
        """A new one, and its address."""
        port = free_port()
        return self.tier(f"{tier}_service", "127.0.0.1", port, *flags), f"127.0.0.1:{port}"

    def ask_until(self, condition):
        """Asks about a new image each time; every question has to be answered."""
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            self.asked += 1
            self.assertEqual(self.ask(image=True, cache_breaker=self.asked), 200)

    def test_replicas_that_come_get_their_share_and_those_that_go_lose_nothing(self):
        to_vision = "--vision_target=xds:///vision"
        vision, vision_address = self.replica("vision")
        self.control_plane.name("vision", vision_address)
        language, language_address = self.replica("language", to_vision)
        self.control_plane.name("language", language_address)
        self.gateway("xds:///language", to_vision)
        self.ask_until(lambda: vision.requests() >= 3 and language.requests() >= 3)

        new_vision, new_vision_address = self.replica("vision")
        new_language, new_language_address = self.replica("language", to_vision)
        self.control_plane.name("vision", vision_address, new_vision_address)
        self.control_plane.name("language", language_address, new_language_address)
        self.ask_until(lambda: new_vision.requests() >= 2 and new_language.requests() >= 2)

        self.control_plane.name("vision", new_vision_address)
        self.control_plane.name("language", new_language_address)
        for gone in (vision, language):
            self.processes.remove(gone)
            gone.stop()
        before = new_vision.requests()
        self.ask_until(lambda: new_vision.requests() >= before + 5)


if __name__ == "__main__":
    if not CONTROL_PLANE.exists():
        print("skipped: the control plane of xDS is not there; tests/cluster/build_tools.sh builds it")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
