"""What the tests of the HTTP surface ask with: requests whose replies are compared with their description."""
import base64
import http.client
import json
import socket
import sys
import unittest

import documented
from http_stack import SAMPLE, StackCase

BINARIES = sys.argv[1]
IMAGE = "data:image/png;base64," + base64.b64encode(SAMPLE.read_bytes()).decode()


def about(text, **options):
    """A chat request that asks `text` about the sample image."""
    parts = [{"type": "image_url", "image_url": {"url": IMAGE}}, {"type": "text", "text": text}]
    return {"model": "demo", "messages": [{"role": "user", "content": parts}], **options}


class Asking:
    """Of a test class with a `stack`."""

    def ask(self, method, path, body=None, headers=None, documented_as=None):
        """Status, headers and body; JSON is parsed. What comes must be as it is documented, of this path or another one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        kind = answer.getheader("content-type")
        value = json.loads(text) if kind == "application/json" else text.decode()
        documented.check_reply(method, documented_as or path, answer.status, kind, value)
        if answer.status == 200 and method == "POST":
            documented.check_request(method, documented_as or path, json.loads(body))
        return answer.status, answer.headers, value

    def raw(self, request, wait=True):
        """What comes back until the server closes or `wait` is false and something came."""
        with socket.create_connection(("127.0.0.1", self.stack.port), timeout=60) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
                if not wait:
                    break
            return answer
    def refused(self, body, param=None, code=None, path="/v1/chat/completions"):
        status, _, answer = self.ask("POST", path, body)
        self.assertEqual(status, 400, answer)
        self.assertEqual(answer["error"]["type"], "invalid_request_error")
        if param:
            self.assertEqual(answer["error"]["param"], param)
        if code:
            self.assertEqual(answer["error"]["code"], code)
        self.assertNotIn("base64", answer["error"]["message"][200:])


class StackTest(Asking, StackCase):
    """Asks the three processes."""


def main():
    unittest.main(module="__main__", argv=sys.argv[:1] + sys.argv[2:])
