"""Questions over HTTP: answers, streams, choices, relevance and what they spend.

Usage: http_questions_test.py FOLDER_OF_BINARIES; run by ctest as `http_questions_test`.
"""
import json
import random

import asking
from asking import IMAGE, about


class QuestionsTest(asking.StackTest):
    def test_answers_about_an_image(self):
        status, headers, answer = self.ask("POST", "/v1/chat/completions", about("What color is the circle?"),
                                           {"x-request-id": "mine-1"})
        self.assertEqual(status, 200)
        self.assertEqual(headers["x-request-id"], "mine-1")
        self.assertEqual(answer["id"], "chatcmpl-mine-1")
        self.assertEqual(answer["choices"][0]["message"]["content"], "red")
        self.assertEqual(answer["choices"][0]["finish_reason"], "stop")
        timings = dict(answer["diptych"]["timings"])
        total = timings.pop("total")
        stages = sum(v for k, v in timings.items()
                     if k not in ("time_to_first_token", "first_token", "decode_tokens_per_second", "cache_hits"))
        self.assertAlmostEqual(stages, total, places=6)
        self.assertEqual(answer["diptych"]["context_budget"]["image_tokens"], 16)

    def test_an_image_alone_asks_for_its_caption(self):
        body = about("")
        body["messages"][0]["content"].pop()
        for asked in (body, about(" \n"), about("\u00a0"), about("\u3000\t")):
            _, _, answer = self.ask("POST", "/v1/chat/completions", asked)
            self.assertIn("red circle", answer["choices"][0]["message"]["content"])

    def test_the_stream_is_the_answer_in_pieces(self):
        whole = self.ask("POST", "/v1/chat/completions", about("Describe the image.", max_tokens=30))[2]
        _, headers, stream = self.ask("POST", "/v1/chat/completions",
                                      about("Describe the image.", max_tokens=30, stream=True,
                                            stream_options={"include_usage": True}))
        self.assertEqual(headers["content-type"], "text/event-stream")
        events = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
        self.assertEqual(events.pop(), "[DONE]")
        chunks = [json.loads(event) for event in events]
        usage = chunks.pop()
        self.assertEqual(usage["usage"], whole["usage"] | {"prompt_tokens_details": usage["usage"]["prompt_tokens_details"]})
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        self.assertEqual(text, whole["choices"][0]["message"]["content"])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"])

    def test_relevance_comes_with_the_end(self):
        body = about("What color is the circle?", return_relevance=True)
        whole = self.ask("POST", "/v1/chat/completions", body)[2]
        self.assertEqual(len(whole["diptych"]["relevance"]), whole["usage"]["completion_tokens"])
        for token in whole["diptych"]["relevance"]:
            self.assertEqual((token["images"][0]["rows"], token["images"][0]["columns"]), (8, 8))
            self.assertTrue(0 < sum(token["images"][0]["values"]) <= 1.00001)
            self.assertTrue(0 < token["image_share"] < 1)
        stream = self.ask("POST", "/v1/chat/completions", body | {"stream": True})[2]
        chunks = [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line and "[DONE]" not in line]
        self.assertEqual(chunks[-1]["diptych"]["relevance"], whole["diptych"]["relevance"])
        self.assertTrue(all("diptych" not in chunk for chunk in chunks[:-1]))
        plain = self.ask("POST", "/v1/chat/completions", about("What color is the circle?"))[2]
        self.assertNotIn("relevance", plain["diptych"])
        self.refused(body | {"num_beams": 2}, param="return_relevance", code="option_range")
        self.refused(body | {"image_options": {"token_merging": 0.1}}, param="return_relevance", code="option_range")
        self.refused({"messages": [{"role": "user", "content": "Hello"}], "return_relevance": True},
                     param="return_relevance", code="option_range")

    def test_choices_of_one_seed_can_be_repeated(self):
        body = about("", n=3, temperature=4, seed=7, max_tokens=12)
        answers = [self.ask("POST", "/v1/chat/completions", body)[2] for _ in range(2)]
        texts = [[choice["message"]["content"] for choice in answer["choices"]] for answer in answers]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(len(texts[0]), 3)
        self.assertGreater(len(set(texts[0])), 1)

    def test_a_plan_is_what_a_run_then_spends(self):
        random_ = random.Random(20)
        words = "what color is the circle star large small red blue how many shapes are there left right".split()
        compared = ("window", "image_tokens", "text_tokens", "history_tokens", "reserved_output", "turns_dropped", "dense_patch_tokens")
        fitted = 0
        for case in range(100):
            images = random_.randrange(3)
            texts = [" ".join(random_.choices(words, k=random_.randint(1, 20))) for _ in range(random_.choice((1, 1, 3, 5, 9)))]
            plan = {"images": [{"width": 64, "height": 64}] * images,
                    "turns": [{"role": ("ROLE_USER", "ROLE_ASSISTANT")[i % 2], "text": text} for i, text in enumerate(texts)]}
            messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
            part = {"type": "image_url", "image_url": {"url": IMAGE}}
            messages[0]["content"] = [part] * images + [{"type": "text", "text": texts[0]}]
            chat = {"messages": messages}
            if random_.random() < 0.8:
                plan["max_new_tokens"] = chat["max_tokens"] = random_.choice((1, 2, 5, 40, 100, 4096))
            plan["cut_max_new_tokens"] = True  # as over HTTP
            status, _, planned = self.ask("POST", "/v1/diptych/plan", plan)
            self.assertEqual(status, 200)
            budget = planned["windows"][0]["budget"]
            status, _, answer = self.ask("POST", "/v1/chat/completions", chat)
            with self.subTest(case=case, plan=plan):
                self.assertEqual(status, 200 if budget["remaining"] > 0 else 400, answer)
                if status == 200:
                    fitted += 1
                    spent = answer["diptych"]["context_budget"]
                    self.assertEqual({key: budget[key] for key in compared}, {key: spent[key] for key in compared})
                    self.assertEqual(spent["generated"] + spent["remaining"],
                                     spent["window"] - sum(spent[key] for key in compared[1:4]))
                    self.assertEqual(answer["usage"]["prompt_tokens"], sum(spent[key] for key in compared[1:4]))
        self.assertGreater(fitted, 50)


if __name__ == "__main__":
    asking.main()
