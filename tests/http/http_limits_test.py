"""A limit of N takes N callers of the three processes: each asks again as soon as it is answered, and its place must be free by then."""
import concurrent.futures
import http.client
import json

import asking
from asking import IMAGE, about

CALLERS, REQUESTS = 4, 20
CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
BROKEN = {"type": "image_url", "image_url": {"url": IMAGE[:400]}}


def several_images(**options):
    body = about("What color is the circle?", max_tokens=4, **options)
    body["messages"][0]["content"][:0] = [body["messages"][0]["content"][0]] * 2
    return body


class LimitsTest(asking.StackTest):
    FLAGS = [f"--max_inflight={CALLERS}", "--max_image_pixels=64000001"]

    def statuses(self, path, body):
        """Of one caller's requests, one after the other on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        found = set()
        for _ in range(REQUESTS):
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            found.add((answer.status, b"queue_full" in answer.read()))
        connection.close()
        return found

    def hammer(self, path, body, status=200):
        with concurrent.futures.ThreadPoolExecutor(CALLERS) as callers:
            for found in callers.map(lambda _: self.statuses(path, body), range(CALLERS)):
                self.assertEqual(found, {(status, False)})

    def test_each_caller_is_answered_again_and_again(self):
        asked = {"model": "demo", "input": "hi", "max_output_tokens": 4}
        for stream in (False, True):
            for name, path, body in (("image", CHAT, about("What?", max_tokens=4)), ("several images", CHAT, several_images()),
                                     ("choices", CHAT, several_images(n=2, temperature=1)), ("response", RESPONSES, asked),
                                     ("prompts", COMPLETIONS, {"model": "demo", "prompt": ["a", "b", "c"], "max_tokens": 2}),
                                     ("echo", COMPLETIONS, {"model": "demo", "prompt": ["a", "b"], "max_tokens": 0, "echo": True, "logprobs": 1})):
                with self.subTest(name, stream=stream):
                    self.hammer(path, body | {"stream": stream})

    def test_a_limit_that_is_raised_on_the_gateway_alone_is_warned_of(self):
        warnings = [line for line in self.stack.gateway_log().splitlines() if "has no effect" in line]
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("gateway --max_image_pixels=64000001 has no effect above 64000000", warnings[0])
        for tier in ("vision_service", "language_service"):
            self.assertIn(f"{tier} --max_image_pixels=64000000", warnings[0])

    def test_what_is_refused_holds_no_place(self):
        body = {"model": "demo", "messages": [{"role": "user", "content": [BROKEN]}]}
        for stream in (False, True):
            self.hammer(CHAT, body | {"stream": stream}, 400)


if __name__ == "__main__":
    asking.main()
