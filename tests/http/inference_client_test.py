"""Hugging Face's InferenceClient, given our address alone, as a judge of the HTTP surface.

Usage: inference_client_test.py FOLDER_OF_BINARIES; run by ctest as `inference_client_test`. Needs the packages in .deps/huggingface_hub
(scripts/setup.sh --tests); without them the test is skipped (exit status 77).
"""
import base64
import sys
import unittest

from http_stack import ROOT, SAMPLE, StackCase

sys.path.insert(0, str(ROOT / ".deps" / "huggingface_hub"))
try:
    from huggingface_hub import InferenceClient
    from huggingface_hub.errors import HfHubHTTPError
except ImportError as error:
    print(f"skipped: huggingface_hub is not installed ({error}); scripts/setup.sh --tests installs it")
    sys.exit(77)


def look(data):
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What color is the circle?"}]}]


LOOK = look(SAMPLE.read_bytes())


class InferenceClientTest(StackCase):
    def clients(self):
        address = f"http://127.0.0.1:{self.stack.port}"
        yield InferenceClient(base_url=address)
        yield InferenceClient(base_url=address + "/v1")
        yield InferenceClient(model=address)

    def test_a_question_about_an_image(self):
        for client in self.clients():
            answer = client.chat_completion(LOOK, max_tokens=5)
            self.assertEqual((answer.choices[0].message.content, answer.model), ("red", "demo"))

    def test_a_stream(self):
        for client in self.clients():
            pieces = client.chat.completions.create(messages=LOOK, stream=True)
            self.assertEqual("".join(piece.choices[0].delta.content or "" for piece in pieces), "red")

    def test_a_model_by_name(self):
        client = next(self.clients())
        self.assertEqual(client.chat_completion(LOOK, model="demo").model, "demo")
        with self.assertRaises(HfHubHTTPError) as raised:
            client.chat_completion(LOOK, model="other")
        self.assertEqual(raised.exception.response.status_code, 404)

    def test_an_error(self):
        with self.assertRaises(HfHubHTTPError) as raised:
            next(self.clients()).chat_completion(look(SAMPLE.read_bytes()[:300]))
        self.assertEqual(raised.exception.response.status_code, 400)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
