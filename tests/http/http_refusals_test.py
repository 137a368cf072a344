"""Bodies that are refused over HTTP: each fault with its status, its field and its reason.

Usage: http_refusals_test.py FOLDER_OF_BINARIES; run by ctest as `http_refusals_test`.
"""
import base64

import asking
from asking import about
from http_stack import SAMPLE


class RefusalsTest(asking.StackTest):
    def test_what_the_model_cannot_do_is_refused(self):
        for key, value in {"tools": [{}], "response_format": {"type": "json_object"}, "modalities": ["audio"], "reasoning_effort": "low",
                           "cache_salt": "of its own", "extra_key": "of its own", "no_such_thing": 1}.items():
            self.refused(about("x", **{key: value}), param=key, code="unsupported_parameter")
        neutral = about("What color is the circle?", tools=[], tool_choice="none", presence_penalty=0, logit_bias=None,
                        response_format={"type": "text"}, user="u")
        self.assertEqual(self.ask("POST", "/v1/chat/completions", neutral)[0], 200)

    def test_values_out_of_range_name_their_parameter(self):
        for key, value in {"temperature": -1, "top_p": 2, "n": 9, "max_tokens": 0, "seed": "x", "stop": [1],
                           "num_beams": 9, "max_completion_tokens": 1.5}.items():
            self.refused(about("x", **{key: value}), param="max_tokens" if key == "max_tokens" else key)
        self.refused(about("x", max_tokens=10**30))
        self.refused(about("x " * 5000, max_tokens=5), code="context_length_exceeded")
        self.assertEqual(self.ask("POST", "/v1/chat/completions", about("x", model="other"))[0], 404)

    def test_bad_json_is_told_from_bad_content(self):
        for body in (b"", b"{", b"[]", b"nothing", b'{"messages": "\xff"}', b'{"n":1,"n":1}',
                     b'{"messages":' + b"[" * 100000 + b"]" * 100000 + b"}", b'{"a":' * 200 + b"1" + b"}" * 200):
            self.refused(body)
        self.refused({"messages": []}, "messages")
        self.refused({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content[0].type")

    def test_bad_images_have_their_reason(self):
        def with_url(url):
            return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
        self.refused(with_url("data:image/png;base64,!!!"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:image/png,abc"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:"), "messages[0].content[0].image_url.url")
        self.refused(with_url("data:image/png;base64," + base64.b64encode(b"BM bitmap").decode()), code="image_format")
        self.refused(with_url("https://127.0.0.1/x.png"), code="image_url_refused")
        ollama = self.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x", "images": ["aGVsbG8="]}]})[2]
        self.assertEqual(ollama["error"]["param"], "messages[0].images")
        self.assertIn("a part of content", ollama["error"]["message"])
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        self.refused({"messages": [{"role": "user", "content": [part] * 1000}]}, code="too_many_images")

    def test_what_cannot_be_analysed_is_refused(self):
        encoded = base64.b64encode(SAMPLE.read_bytes()).decode()
        for body, param, code in (
                ({}, "image", "invalid_value"), ({"image": "?"}, "image", "invalid_value"),
                ({"image": "aGVsbG8="}, "image", "image_format"),
                ({"image": "https://127.0.0.1/x.png"}, "image", "image_url_refused"),
                ({"image": encoded, "maps": True}, "maps", "unsupported_parameter"),
                ({"image": encoded, "cls_attention": 1}, "cls_attention", "invalid_value"),
                ({"image": encoded, "image_options": {"image_size": 29}}, "image_options.image_size", "option_range"),
                ({"image": encoded, "cls_attention": True, "image_options": {"token_merging": 0.1}},
                 "image_options.token_merging", "option_range")):
            with self.subTest(body={name: str(value)[:20] for name, value in body.items()}):
                self.refused(body, param=param, code=code, path="/v1/diptych/analyze")


if __name__ == "__main__":
    asking.main()
