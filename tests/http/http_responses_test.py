"""POST /v1/responses: the same questions as chat, asked and answered in the newer form.

Usage: http_responses_test.py FOLDER_OF_BINARIES; run by ctest as `http_responses_test`.
"""
import json

import asking
from asking import IMAGE, about

PATH = "/v1/responses"
QUESTION = "What color is the circle?"
IMAGE_PART = {"type": "input_image", "image_url": IMAGE, "detail": "auto"}


def words(text, kind="input_text"):
    return {"type": kind, "text": text}


def message(role, content):
    return {"type": "message", "role": role, "content": content}


LOOK = message("user", [IMAGE_PART, words(QUESTION)])


class ResponsesTest(asking.StackTest):
    def respond(self, **body):
        status, _, reply = self.ask("POST", PATH, body)
        self.assertEqual(status, 200, reply)
        return reply

    @staticmethod
    def text(reply):
        return reply["output"][0]["content"][0]["text"]

    def events(self, **body):
        status, headers, stream = self.ask("POST", PATH, {**body, "stream": True})
        self.assertEqual((status, headers["content-type"]), (200, "text/event-stream"), stream)
        pairs = [block.split("\n") for block in stream.split("\n\n")[:-1] if not block.startswith(":")]
        events = [json.loads(data.removeprefix("data: ")) for _, data in pairs]
        self.assertEqual([name.removeprefix("event: ") for name, _ in pairs], [event["type"] for event in events])
        self.assertEqual([event["sequence_number"] for event in events], list(range(len(events))))
        return events

    def test_asks_what_chat_asks(self):
        chat = self.ask("POST", "/v1/chat/completions", about(QUESTION))[2]
        reply = self.respond(model="demo", input=[LOOK])
        self.assertEqual((self.text(reply), reply["status"], reply["store"]), ("red", "completed", False))
        self.assertEqual(reply["usage"]["input_tokens"], chat["usage"]["prompt_tokens"])
        self.assertEqual(reply["usage"]["output_tokens"], chat["usage"]["completion_tokens"])
        self.assertEqual(reply["usage"]["total_tokens"], chat["usage"]["total_tokens"])
        self.assertGreater(reply["diptych"]["timings"]["total"], 0)
        plain = self.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}]})[2]
        self.assertEqual(self.text(self.respond(input=QUESTION)), plain["choices"][0]["message"]["content"])

    def test_instructions_and_earlier_turns_count(self):
        turns = [{"role": "user", "content": [IMAGE_PART, words(QUESTION)]},
                 {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                  "content": [{**words("red", "output_text"), "annotations": [], "logprobs": []}]},
                 {"role": "user", "content": "How many shapes are there?"}]
        reply = self.respond(input=turns, instructions="Be short.")
        chat = about(f"Be short.\n{QUESTION}")
        chat["messages"] += [{"role": "assistant", "content": "red"}, {"role": "user", "content": "How many shapes are there?"}]
        whole = self.ask("POST", "/v1/chat/completions", chat)[2]
        self.assertEqual(self.text(reply), whole["choices"][0]["message"]["content"])
        self.assertEqual(reply["usage"]["input_tokens"], whole["usage"]["prompt_tokens"])
        self.assertEqual(reply["instructions"], "Be short.")

    def test_what_was_asked_for_is_repeated(self):
        reply = self.respond(input=[LOOK], max_output_tokens=1, metadata={"job": "7"}, temperature=0, top_p=1, store=True,
                             tools=[], tool_choice="auto", include=[], text={"format": {"type": "text"}, "verbosity": "medium"},
                             reasoning={"effort": None, "summary": "auto", "mode": "standard", "context": "all_turns"}, truncation="disabled", max_tool_calls=3, parallel_tool_calls=True, user="u")
        self.assertEqual((reply["status"], reply["incomplete_details"]), ("incomplete", {"reason": "max_output_tokens"}))
        self.assertEqual((reply["max_output_tokens"], reply["metadata"], reply["store"]), (1, {"job": "7"}, False))
        self.assertEqual(reply["truncation"], "disabled")

    def test_what_another_model_thought_is_left_out(self):
        said = [LOOK, message("assistant", [words("red", "output_text")]), message("user", QUESTION)]
        thought = [LOOK, {"type": "reasoning", "id": "rs_1", "summary": []},
                   message("assistant", [{"type": "thinking", "thinking": "hm"}, words("red", "output_text")]), message("user", QUESTION)]
        self.assertEqual(self.respond(input=thought)["usage"]["input_tokens"], self.respond(input=said)["usage"]["input_tokens"])

    def test_the_stream_is_the_reply_in_pieces(self):
        for limit, end in ((30, "response.completed"), (3, "response.incomplete")):
            body = {"input": [message("user", [IMAGE_PART])], "max_output_tokens": limit}
            whole = self.respond(**body)
            events = self.events(**body)
            kinds = [event["type"] for event in events]
            self.assertEqual(kinds[:4], ["response.created", "response.in_progress", "response.output_item.added",
                                         "response.content_part.added"])
            self.assertEqual(kinds[-4:], ["response.output_text.done", "response.content_part.done", "response.output_item.done", end])
            self.assertEqual(set(kinds[4:-4]), {"response.output_text.delta"})
            self.assertEqual("".join(event.get("delta", "") for event in events), self.text(whole))
            self.assertEqual(events[-4]["text"], self.text(whole))
            last = events[-1]["response"]
            self.assertEqual(last["output"][0]["content"], whole["output"][0]["content"])
            self.assertEqual(last["usage"]["output_tokens"], whole["usage"]["output_tokens"])
            self.assertEqual(len({event["response"]["id"] for event in events if "response" in event}), 1)

    def test_what_cannot_be_done_is_refused_by_name(self):
        for members in ({"tools": [{"type": "web_search"}]}, {"tool_choice": "required"}, {"previous_response_id": "resp_1"},
                        {"conversation": "c"}, {"background": True}, {"include": ["message.output_text.logprobs"]},
                        {"prompt": {"id": "p"}}, {"no_such_thing": 1}):
            self.refused({"input": "x", **members}, *members, code="unsupported_parameter", path=PATH)
        for body, param in (({"input": "x", "reasoning": {"effort": "high"}}, "reasoning.effort"),
                            ({"input": "x", "reasoning": {"mode": "pro"}}, "reasoning.mode"),
                            ({"input": "x", "text": {"verbosity": "low"}}, "text.verbosity"),
                            ({"input": [LOOK, message("assistant", "red"), LOOK], "truncation": "disabled"}, "truncation"),
                            ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "text.format"),
                            ({"input": [{"type": "function_call_output"}]}, "input[0].type"),
                            ({"input": [message("tool", "x")]}, "input[0].role"),
                            ({"input": [message("user", [{"type": "input_file", "file_id": "f"}])]}, "input[0].content[0].type")):
            self.refused(body, param, "unsupported_parameter", PATH)
        for kind, words in (("function_call", "calls no tools"), ("custom_tool_call_output", "calls no tools"), ("mcp_list_tools", "calls no tools"),
                            ("item_reference", "items are not kept here")):
            reply = self.ask("POST", PATH, {"input": [LOOK, {"type": kind, "call_id": "c", "output": "x"}]})[2]["error"]
            self.assertEqual(reply["param"], "input[1].type")
            self.assertIn(f'"{kind}"', reply["message"])
            self.assertIn(words, reply["message"])
        json_only = self.ask("POST", PATH, {"input": "x", "text": {"format": {"type": "json_object"}}})[2]
        self.assertIn("free text", json_only["error"]["message"])
        self.refused({"input": [message("user", [{"type": "input_image", "file_id": "f"}])]}, "input[0].content[0].file_id",
                     "unsupported_parameter", PATH)

    def test_faults_name_the_members_of_this_form(self):
        for body, param in (({}, "input"), ({"input": []}, "input"), ({"input": 5}, "input"), ({"input": ""}, "input"),
                            ({"input": "x" * 70000}, "input"), ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
                            ({"input": "x", "temperature": 101}, "temperature"), ({"input": "x", "metadata": {"a": 1}}, "metadata"),
                            ({"input": [message("user", "x"), message("assistant", "y")]}, "input[1].content"),
                            ({"input": [message("user", [{"type": "input_image", "image_url": "data:,x"}])]},
                             "input[0].content[0].image_url")):
            self.refused(body, param, path=PATH)
            self.refused({**body, "stream": True}, param, path=PATH)
        self.assertEqual(self.ask("POST", PATH, {"input": "x", "model": "other"})[2]["error"]["code"], "model_not_found")


if __name__ == "__main__":
    asking.main()
