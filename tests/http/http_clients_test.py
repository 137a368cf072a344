"""Request bodies as chat applications send them, word for word in form.

Usage: http_clients_test.py FOLDER_OF_BINARIES; run by ctest as `http_clients_test`.
"""
import json

import asking
from asking import IMAGE

CHAT = "/v1/chat/completions"
PARTS = [{"type": "text", "text": "What color is the circle?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]

# Open WebUI: a system prompt, an image with the text, streams with usage.
OPEN_WEBUI = {
    "stream": True, "model": "demo", "stream_options": {"include_usage": True},
    "messages": [{"role": "user", "content": PARTS}]}
# Its requests for a title: not streamed, text alone, a long instruction as the user's message.
OPEN_WEBUI_TITLE = {
    "model": "demo", "stream": False, "max_completion_tokens": 12,
    "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title for the chat.\n"
                                             "<chat_history>\nUSER: hi\nASSISTANT: red\n</chat_history>"}]}
# LibreChat: a user field, a detail, penalties at their neutral values.
LIBRECHAT = {
    "model": "demo", "user": "65f0c0ffee", "stream": True, "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0,
    "messages": [{"role": "user", "content": [PARTS[0], {"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}}]}]}


class ApplicationsTest(asking.StackTest):
    def streamed(self, body):
        status, headers, stream = self.ask("POST", CHAT, body)
        self.assertEqual((status, headers["content-type"]), (200, "text/event-stream"), stream)
        events = [line.removeprefix("data: ") for line in stream.split("\n\n") if line and not line.startswith(":")]
        self.assertEqual(events.pop(), "[DONE]")
        chunks = [json.loads(event) for event in events]
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]), chunks

    def test_open_webui(self):
        text, chunks = self.streamed(OPEN_WEBUI)
        self.assertEqual(text, "red")
        self.assertGreater(chunks[-1]["usage"]["completion_tokens"], 0)
        system = [{"role": "system", "content": "Be short."}]
        later = [{"role": "assistant", "content": "red"}, {"role": "user", "content": "How many shapes are there?"}]
        self.assertTrue(self.streamed({**OPEN_WEBUI, "messages": system + OPEN_WEBUI["messages"] + later})[0])
        self.assertEqual(self.ask("POST", CHAT, OPEN_WEBUI_TITLE)[0], 200)

    def test_librechat(self):
        self.assertTrue(self.streamed({**LIBRECHAT, "max_tokens": 8, "seed": 1})[0])
        greedy = {**LIBRECHAT, "temperature": 0}
        self.assertEqual(self.streamed(greedy)[0], "red")
        prefixed = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "text", "text": "hello"}]}]
        self.assertTrue(self.streamed({**greedy, "messages": prefixed + LIBRECHAT["messages"]})[0])

    def test_a_broken_image_has_a_status_and_words(self):
        for body in (OPEN_WEBUI, LIBRECHAT):
            broken = {"type": "image_url", "image_url": {"url": IMAGE[:-400]}}
            status, _, answer = self.ask("POST", CHAT, {**body, "messages": [{"role": "user", "content": [PARTS[0], broken]}]})
            self.assertEqual((status, answer["error"]["code"]), (400, "image_corrupt"), answer)
            self.assertIn("messages[0].content[1]", answer["error"]["message"])


if __name__ == "__main__":
    asking.main()
