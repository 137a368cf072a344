"""The messages and images of chat requests as clients write them: many forms, one question.

Usage: http_messages_test.py FOLDER_OF_BINARIES; run by ctest as `http_messages_test`.
"""
import base64
import textwrap
import urllib.parse

import asking
from asking import IMAGE
from http_stack import SAMPLE

BYTES = SAMPLE.read_bytes()
BASE64 = base64.b64encode(BYTES).decode()
CHAT = "/v1/chat/completions"
QUESTION = "What color is the circle?"
REST = ("assistant", "red"), ("user", "How many shapes are there?")


def image(url=IMAGE, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def text(words):
    return {"type": "text", "text": words}


def chat(*messages, **options):
    return {"messages": [{"role": role, "content": content} for role, content in messages], "max_tokens": 8, **options}


class MessagesTest(asking.StackTest):
    def outcome(self, body):
        """What tells one prompt from another: the answer, and what each part of it took of the window."""
        status, _, answer = self.ask("POST", CHAT, body)
        self.assertEqual(status, 200, answer)
        budget = answer["diptych"]["context_budget"]
        return answer["choices"][0]["message"]["content"], {k: v for k, v in budget.items() if k.endswith("_tokens")}

    def same(self, body, expected):
        self.assertEqual(self.outcome(body), self.outcome(expected))

    def test_system_messages_stand_before_the_first_question(self):
        plain = chat(("user", f"Be short.\n{QUESTION}"), *REST)
        for role in ("system", "developer"):
            for content in ("Be short.", [text("Be short.")], "Be short. "[:-1]):
                self.same(chat((role, content), ("user", QUESTION), *REST), plain)
        self.same(chat(("user", QUESTION), *REST[:1], ("system", "Be short."), *REST[1:]), plain)
        self.same(chat(("system", "Be"), ("developer", "short."), ("user", QUESTION)), chat(("user", f"Be\nshort.\n{QUESTION}")))
        for empty in ("", "  \n", [], None, [text("")]):
            self.same(chat(("system", empty), ("user", QUESTION)), chat(("user", QUESTION)))

    def test_a_system_message_is_the_question_where_the_user_asks_none(self):
        self.same(chat(("system", "Be short."), ("user", [image()])), chat(("user", [image(), text("Be short.")])))

    def test_turns_of_one_speaker_are_joined(self):
        self.same(chat(("user", "Look."), ("user", QUESTION), *REST), chat(("user", f"Look.\n{QUESTION}"), *REST))
        self.same(chat(("user", [image()]), ("user", QUESTION)), chat(("user", [image(), text(QUESTION)])))
        self.same(chat(("user", QUESTION), ("assistant", "red"), ("assistant", "circle"), REST[1]),
                  chat(("user", QUESTION), ("assistant", "red\ncircle"), REST[1]))

    def test_the_assistant_may_begin_and_say_nothing(self):
        self.same(chat(("assistant", "Hello!"), ("user", QUESTION)), chat(("user", f"Hello!\n{QUESTION}")))
        for nothing in (None, "", []):
            self.same(chat(("user", QUESTION), ("assistant", nothing), REST[1]), chat(("user", QUESTION), ("assistant", ""), REST[1]))
        absent = chat(("user", QUESTION), ("assistant", ""), REST[1])
        del absent["messages"][1]["content"]
        self.same(absent, chat(("user", QUESTION), ("assistant", ""), REST[1]))

    def test_an_empty_answer_at_the_end_says_nothing(self):
        asked = [("user", [image(), text(QUESTION)])]
        for conversation in (asked, [*asked, *REST]):
            for nothing in (None, "", " \n", []):
                self.same(chat(*conversation, ("assistant", nothing)), chat(*conversation))
        self.refused(chat(("assistant", "")), "messages", "invalid_value")

    def test_refusals_are_what_the_assistant_said(self):
        said = chat(("user", QUESTION), ("assistant", "I cannot say"), REST[1])
        part = {"type": "refusal", "refusal": "I cannot say"}
        self.same(chat(("user", QUESTION), ("assistant", [part]), REST[1]), said)
        member = chat(("user", QUESTION), ("assistant", None), REST[1])
        member["messages"][1].update(refusal="I cannot say", tool_calls=[], function_call=None, audio=None, annotations=[])
        self.same(member, said)
        member["messages"][1].update(refusal=None, content="I cannot say", name="bot", id="msg_1")
        self.same(member, said)

    def test_what_has_no_place_is_refused_by_name(self):
        for messages, param in (
                ([("user", "x"), ("assistant", "y"), ("tool", "z")], "messages[2].role"),
                ([("function", "z"), ("user", "x")], "messages[0].role"),
                ([("robot", "z")], "messages[0].role"),
                ([("system", [image()]), ("user", "x")], "messages[0].content[0].type"),
                ([("user", "x"), ("assistant", [image()]), ("user", "x")], "messages[1].content[0].type"),
                ([("user", [{"type": "input_audio", "input_audio": {}}])], "messages[0].content[0].type"),
                ([("user", [{"type": "refusal", "refusal": "no"}])], "messages[0].content[0].type"),
                ([("user", [{"type": "thinking", "thinking": "no"}])], "messages[0].content[0].type")):
            self.refused(chat(*messages), param, "unsupported_parameter")
        for messages, name in (([("robot", "z")], "robot"), ([("user", [{"type": "input_audio", "input_audio": {}}])], "input_audio"),
                               ([("user", [{"type": "file", "file": {}}])], "file"), ([("system", [{"type": "video_url"}])], "video_url")):
            self.assertIn(f'not "{name}"', self.ask("POST", CHAT, chat(*messages))[2]["error"]["message"])
        self.refused(chat(("user", "x"), ("assistant", "y")), "messages[1].content", "invalid_value")
        self.refused(chat(("system", "x")), "messages", "invalid_value")
        self.refused(chat(("assistant", "x")), "messages", "invalid_value")
        called = chat(("user", QUESTION), ("assistant", None), REST[1])
        called["messages"][1]["tool_calls"] = [{"id": "1"}]
        self.refused(called, "messages[1].tool_calls", "unsupported_parameter")

    def test_what_clients_keep_with_an_answer_is_taken_back(self):
        kept = {"role": "assistant", "content": "red", "name": "n", "id": "m", "annotations": [], "audio": None, "refusal": None,
                "tool_calls": [], "function_call": None, "reasoning": "r", "reasoning_content": "r", "reasoning_details": [{}],
                "provider_specific_fields": {"refusal": None}, "thinking_blocks": [], "images": [], "timestamp": 1}
        first, later = {"role": "user", "content": [image(), text(QUESTION)]}, {"role": "user", "content": "Why?", "attachments": []}
        plain = self.outcome({"messages": [first, {"role": "assistant", "content": "red"}, later]})
        self.assertEqual(self.outcome({"messages": [first, kept, later]}), plain)
        kept["content"] = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "reasoning", "text": "hm"}, text("red")]
        self.assertEqual(self.outcome({"messages": [first, kept, later]}), plain)

    def test_what_clients_keep_with_messages_parts_and_images_says_nothing(self):
        kept = {"id": "1", "uuid": "u", "name": "n", "status": "completed", "index": 1, "metadata": {"a": 1}, "created_at": 5,
                "model": "m", "parentId": "p", "cache_control": {"type": "ephemeral"}, "providerOptions": {"x": {"y": 1}},
                "unknown": {"x": None, "y": [{}]}}
        of_image = {"format": "image/png", "mime_type": "image/png", "filename": "a.png", "alt": "a circle", "expires_at": 9}
        expected = self.outcome(chat(("user", [image(), text(QUESTION)])))
        for url in ({"url": IMAGE, **kept, **of_image}, {"url": IMAGE, "type": "image_url"}):
            part = {"type": "image_url", "image_url": url, **kept, **of_image}
            message = {"role": "user", "content": [part, {**text(QUESTION), **kept}], "type": "message", **kept}
            self.assertEqual(self.outcome({"messages": [message]}), expected)
        for member in ({"max_pixels": 4}, {"unknown": [0]}, {"unknown": {"x": 1}}):
            url = {"type": "image_url", "image_url": {"url": IMAGE, **member}}
            self.refused(chat(("user", [url])), f"messages[0].content[0].image_url.{next(iter(member))}", "unsupported_parameter")

    def test_images_are_taken_in_every_form(self):
        url_safe = base64.urlsafe_b64encode(BYTES).decode()
        folded = "\n".join(textwrap.wrap(BASE64, 76))
        expected = self.outcome(chat(("user", [image(), text(QUESTION)])))
        self.assertEqual(expected[0], "red")
        for form in (BASE64, url_safe, url_safe.rstrip("="), folded, f"  {IMAGE}\n", f"data:image/png;base64,{url_safe}",
                     f"data:image/png;base64,{BASE64.rstrip('=')}", f"data:image/png;base64, {folded}",
                     f"data:image/png;base64,{urllib.parse.quote(BASE64, safe='')}", f"data:image/png;base64,{urllib.parse.quote(folded)}",
                     f"data:image/jpeg;base64,{BASE64}", f"data:text/plain;charset=utf-8;base64,{BASE64}", f"data:;base64,{BASE64}",
                     f"DATA:IMAGE/PNG;BASE64,{BASE64}", f"data:application/octet-stream;base64,{BASE64}",
                     f"data:image/png,{urllib.parse.quote(BYTES)}", f"data:image/png,{BASE64}", f"data:,{urllib.parse.quote(folded)}", f"base64,{BASE64}", f"image/png;base64,{BASE64}"):
            with self.subTest(form=form[:40]):
                self.assertEqual(self.outcome(chat(("user", [image(form), text(QUESTION)]))), expected)
                part = {"type": "image_url", "image_url": form}
                self.assertEqual(self.outcome(chat(("user", [part, text(QUESTION)]))), expected)
        for detail in ("low", "high", "auto", "original", None):
            self.assertEqual(self.outcome(chat(("user", [image(detail=detail), text(QUESTION)]))), expected)
        self.refused(chat(("user", [image(detail="medium")])), "messages[0].content[0].image_url.detail")
        for part in ({"image_url": {"url": IMAGE}}, {"image_url": IMAGE}, {"type": None, "image_url": IMAGE}, {"image": IMAGE},
                     {"type": "input_image", "image_url": IMAGE, "detail": "low"}, {"type": "image", "image": BASE64},
                     {"type": "image", "url": IMAGE}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
                     {"type": "image", "data": BASE64, "mimeType": "image/png"}, {"type": "image", "source_type": "base64", "data": BASE64, "mime_type": "image/png"},
                     {"type": "image", "base64": BASE64, "mime_type": "image/png"}, {"type": "image_url", "image_url": {"url": IMAGE}, "detail": "original", "uuid": "x"}):
            with self.subTest(part=str(part)[:60]):
                self.assertEqual(self.outcome(chat(("user", [part, text(QUESTION)]))), expected)
        for part in (QUESTION, {"text": QUESTION}, {"type": "input_text", "text": QUESTION},
                     {"type": "text", "text": QUESTION, "annotations": [], "cache_control": {"type": "ephemeral"}},
                     {"type": "text", "text": QUESTION, "prompt_cache_breakpoint": {"mode": "explicit"}, "extras": {"x": 1}}):
            with self.subTest(part=part):
                self.assertEqual(self.outcome(chat(("user", [image(), part]))), expected)
        for part, field in (({}, "type"), ({"type": "file", "file": {"file_id": "x"}}, "type"), ({"type": "image"}, "image"),
                            ({"type": "image", "source": {"data": "!!!"}}, "source.data"), ({"type": "image", "source": 5}, "source"), ({"video": "x"}, "type"), (5, "")):
            with self.subTest(part=part):
                self.refused(chat(("user", [part])), f"messages[0].content[0].{field}".rstrip("."))

    def test_what_is_no_image_is_refused_where_it_stands(self):
        for form, code in (("", "invalid_value"), ("!!!", "invalid_value"), ("data:", "invalid_value"), ("data:image/png;base64", "invalid_value"),
                           ("data:image/png;base64,%%%", "invalid_value"), ("AAAA", "image_format"), ("file:///etc/passwd", "image_url_refused"),
                           ("data:image/png;base64,", "image_format"), (f"data:image/png;base64,{IMAGE}", "invalid_value"), ("data:image/png,abc%", "image_format"), ("http://x/y.png", "image_url_refused")):
            for part, field in ((image(form), "image_url.url"), ({"type": "image_url", "image_url": form}, "image_url")):
                with self.subTest(form=form, field=field):
                    self.refused(chat(("user", "x"), ("assistant", "y"), ("user", [text("x"), part])), f"messages[2].content[1].{field}", code)
        self.refused(chat(("user", [{"type": "image_url", "image_url": 5}])), "messages[0].content[0].image_url")
        self.refused(chat(("user", [{"type": "image_url"}])), "messages[0].content[0].image_url")
        self.refused(chat(("user", [{"type": "input_image", "file_id": "file-1"}])), "messages[0].content[0].file_id", "unsupported_parameter")

    def test_faults_that_are_found_late_have_the_names_of_the_body(self):
        for body, param in ((chat(("user", "x"), max_tokens=0), "max_tokens"),
                            (chat(("user", "x" * 70000)), "messages")):
            _, _, answer = self.ask("POST", CHAT, body)
            self.assertEqual(answer["error"]["param"], param)
            for word in ("question", "turns", "max_new_tokens", "generation"):
                self.assertNotIn(word, answer["error"]["message"])


class RefusedSystemTest(asking.StackTest):
    FLAGS = ["--system_prompt=refuse"]

    def test_system_messages_are_refused_by_name(self):
        for role in ("system", "developer"):
            self.refused(chat((role, "Be short."), ("user", QUESTION)), "messages[0].content", "unsupported_parameter")
            self.assertEqual(self.ask("POST", CHAT, chat((role, " "), ("user", QUESTION)))[0], 200)


if __name__ == "__main__":
    asking.main()
