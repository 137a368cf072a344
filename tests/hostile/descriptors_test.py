"""Callers that open more connections than a process may have descriptors.

Usage: descriptors_test.py FOLDER_OF_BINARIES; run by ctest as `descriptors_test`.
"""
import socket
import sys
import time
import unittest

from processes import VisionService

DESCRIPTORS = 128
HANDSHAKE = 10  # seconds that a connection may take to say what it is


class DescriptorsTest(unittest.TestCase):
    def setUp(self):
        self.service = VisionService(sys.argv[1], descriptors=DESCRIPTORS)

    def tearDown(self):
        self.assertEqual(self.service.stop()[0], 0)

    def test_the_service_outlives_them(self):
        self.assertTrue(self.service.answers(5))
        silent = [socket.create_connection(("127.0.0.1", self.service.port)) for _ in range(2 * DESCRIPTORS)]
        end = time.monotonic() + HANDSHAKE + 20
        while not (answered := self.service.answers(5)) and time.monotonic() < end:
            time.sleep(0.5)
        self.assertTrue(answered, "while they stay: those that say nothing are ended")
        for connection in silent:
            connection.close()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
