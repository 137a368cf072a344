"""Messages that say they are compressed, with encodings that gRPC knows and others: no method takes them.

Usage: encodings_test.py FOLDER_OF_BINARIES; run by ctest as `encodings_test`.
"""
import gzip
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "http"))
import asking
import surface
from h2_caller import Caller, field
from http_stack import StackCase

INVALID_ARGUMENT, UNIMPLEMENTED = 3, 12
KNOWN = "gzip", "deflate"  # to gRPC 1.51, which hands on messages of other encodings as they came
UNKNOWN = "br", "zstd", "x" * 1000, "gzip,gzip", "identity", None
IN_THE_STREAM = "inference.GRPCInferenceService/ModelStreamInfer"  # answers each message by one of its own, as Triton does
COMPRESSED = gzip.compress(field(1, b" " * 1000))
SECONDS = 20


class EncodingsTest(StackCase):
    def outcome(self, port, method, encoding):
        """The status of a call whose message says that it is compressed, and what came before it."""
        caller = Caller(port, window=65535)
        call = caller.call(method, COMPRESSED, [("grpc-encoding", encoding)] if encoding else [], compressed=True)
        caller.listen(SECONDS, until=lambda: call in caller.ended)
        caller.close()
        return caller.status.get(call), caller.data.get(call, b"")

    def test_no_method_takes_one(self):
        for port, methods in ((self.stack.grpc_port, surface.GATEWAY), (self.stack.language_port, surface.LANGUAGE),
                              (self.stack.vision_port, surface.VISION)):
            for method in methods:
                for encoding in KNOWN:
                    self.assertEqual(self.outcome(port, method, encoding), (UNIMPLEMENTED, b""), (method, encoding))
                for encoding in UNKNOWN:
                    status, said = self.outcome(port, method, encoding)
                    if method == IN_THE_STREAM:
                        self.assertIn(b"MALFORMED_REQUEST", said, encoding)
                    else:
                        self.assertEqual((status, said), (INVALID_ARGUMENT, b""), (method, encoding))


if __name__ == "__main__":
    asking.main()
