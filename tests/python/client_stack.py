"""What the tests of the Python client share: the client that was built, and three processes with the demo model."""
import sys
import unittest

import client_environment

BINARIES, PACKAGE, LIBRARIES = sys.argv[1:4]
del sys.argv[1:4]
client_environment.enter(PACKAGE, LIBRARIES)

import diptych  # noqa: E402
import grpc  # noqa: E402
import numpy  # noqa: E402
from google.protobuf import __version__ as protobuf_version  # noqa: E402
from http_stack import Stack  # noqa: E402

QUESTION = "What color is the circle?"
LONG = {"max_new_tokens": 60, "min_new_tokens": 60}


class ClientTest(unittest.TestCase):
    """A server for all tests of the class, and a client of it."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack(BINARIES, ["--max_inflight=2"])
        cls.address = f"127.0.0.1:{cls.stack.grpc_port}"
        cls.client = diptych.Client(cls.address)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.stack.stop()


def main():
    print(f"grpcio {grpc.__version__}, protobuf {protobuf_version}, numpy {numpy.__version__}", flush=True)
    unittest.main(module="__main__")
