"""What clients of other servers set, over HTTP: done, taken where it asks for nothing, or refused by name.

Usage: http_options_test.py FOLDER_OF_BINARIES; run by ctest as `http_options_test`.
"""
import json

import asking
from asking import IMAGE, about
from http_stack import ROOT

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
QUESTION = "Question: What color is the circle? Answer:"

# By server, at the values that their clients send when their users ask for nothing.
NEUTRAL = {
    "OpenAI": {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "n": 1, "seed": None, "stop": None,
               "tools": [], "tool_choice": "none", "parallel_tool_calls": True, "response_format": {"type": "text"},
               "store": False, "service_tier": "auto", "user": "u", "metadata": {"a": "b"}, "prediction": {"type": "content", "content": "x"},
               "reasoning_effort": "none", "verbosity": "medium", "modalities": ["text"], "prompt_cache_key": "k",
               "safety_identifier": "s", "stream_options": None, "logprobs": None, "top_logprobs": None, "audio": None},
    "vLLM": {"best_of": 1, "top_k": -1, "min_p": 0, "repetition_penalty": 1.0, "length_penalty": 1.0, "min_tokens": 0,
             "stop_token_ids": [], "include_stop_str_in_output": False, "ignore_eos": False, "skip_special_tokens": True,
             "spaces_between_special_tokens": True, "truncate_prompt_tokens": None, "prompt_logprobs": None,
             "chat_template_kwargs": {}, "add_generation_prompt": True, "continue_final_message": False,
             "guided_json": None, "priority": 0, "use_beam_search": False, "include_reasoning": True,
             "return_token_ids": False, "allowed_token_ids": None, "mm_processor_kwargs": {}, "documents": [],
             "add_special_tokens": False, "repetition_detection": None, "lora_request": None, "min_length": 0},
    "SGLang": {"regex": None, "ebnf": None, "lora_path": None, "separate_reasoning": True, "stream_reasoning": True,
               "no_stop_trim": False, "return_hidden_states": False, "session_params": {}, "custom_params": None,
               "return_prompt_token_ids": False, "return_routed_experts": False, "use_audio_in_video": False,
               "bootstrap_host": "", "bootstrap_room": 0, "max_dynamic_patch": None},
    "llama.cpp": {"cache_prompt": True, "n_probs": 0, "repeat_penalty": 1, "repeat_last_n": 64, "mirostat": 0,
                  "mirostat_tau": 5.0, "mirostat_eta": 0.1, "typical_p": 1.0, "tfs_z": 1.0, "grammar": "", "seed": -1,
                  "dynatemp_range": 0.0, "xtc_probability": 0.0, "dry_multiplier": 0.0, "n_keep": 0, "id_slot": -1,
                  "samplers": None, "logit_bias": [], "min_keep": 0, "t_max_predict_ms": 0, "max_tokens": -1, "stop": []},
    "llama.cpp's page": {"samplers": ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
                         "typ_p": 1, "backend_sampling": False, "timings_per_token": True, "return_progress": True,
                         "reasoning_format": "auto", "dynatemp_exponent": 1, "xtc_threshold": 0.1, "dry_base": 1.75,
                         "dry_allowed_length": 2, "dry_penalty_last_n": -1, "max_tokens": -1},
    "TGI": {"adapter_id": None, "details": False, "do_sample": False, "return_full_text": False, "top_n_tokens": None,
            "truncate": None, "watermark": False, "guideline": None},
    "Ollama": {"keep_alive": "5m", "format": "", "options": {}, "think": False, "raw": False, "num_predict": -1,
               "f16_kv": True, "penalize_newline": True, "num_gqa": 1, "vocab_only": False, "images": [], "num_ctx": 4096},
    "Open WebUI": {"chat_id": "c", "id": "m", "parent_id": "p", "parent_message": {"role": "user"}, "model_item": {"id": "demo"}, "session_id": "s", "features": {}, "variables": {}, "tool_ids": [], "files": []},
    "SillyTavern": {"reasoning_effort": "auto", "logit_bias": {}, "seed": -1, "api_type": "generic", "api_server": "http://x", "dynamic_temperature": False,
                    "dynatemp_low": 1, "dynatemp_high": 1, "rep_pen": 1, "rep_pen_range": 64, "rep_pen_slope": 1, "rep_pen_decay": 1,
                    "max_tokens_second": 0, "stopping_strings": []},
    "Fireworks, Perplexity, xAI, Qwen, Mistral": {
        "context_length_exceeded_behavior": "truncate", "mirostat_lr": 0.1, "disable_search": True, "search_parameters": {"mode": "off"},
        "incremental_output": True, "enable_thinking": False, "thinking_budget": 512, "document_image_limit": 8, "document_page_limit": 64},
    "KoboldAI": {"rep_pen": 1, "repetition_penalty_range": 0, "max_context_length": 2048},
    "the window, by other names": {"n_ctx": 8192, "context_length": 4096, "truncation_length": 2048},
    "parts of what is off": {"reasoning": {"effort": "none", "exclude": False, "max_tokens": 0, "mode": "standard", "context": "auto"}, "thinking": {"type": "disabled", "budget_tokens": 0},
                             "response_format": {"type": "text", "json_schema": None}, "chat_template_kwargs": {"enable_thinking": False, "thinking": None},
                             "structured_outputs": {"json": None, "regex": None}, "tool_choice": {"type": "none"}, "max_tool_calls": 3,
                             "mirostat_tau": 8, "mirostat_eta": 0.2, "dry_base": 2, "dry_allowed_length": 3, "dry_penalty_last_n": 1024,
                             "dry_sequence_breakers": ["\n"], "xtc_threshold": 0.2, "dynatemp_exponent": 2, "smoothing_curve": 2,
                             "guided_decoding_backend": "xgrammar", "guided_whitespace_pattern": "[ ]?", "truncation_side": "left"},
    "tools that are not to be called": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], "tool_choice": "none"},
    "functions that are not to be called": {"functions": [{"name": "f"}], "function_call": "none"},
    "other spellings of nothing": {"truncate": False, "truncate_prompt_tokens": "", "guided_json": False, "guided_choice": "", "tools": {},
                                   "grammar": False, "stop_regex": {}, "bad_words": [""], "reasoning": "off", "format": []},
    "a kind by its name alone": {"modalities": "text", "response_format": "text", "thinking": "disabled"},
    "newer fields": {"prompt_cache_options": {"mode": "explicit", "ttl": "30m"}, "access_programs": {"cyber": "standard"}, "context_management": [],
                     "image": {"context_compression": "auto"}, "background_options": {"completion_window": "2h"}, "num_return_sequences": 1, "n_cmpl": 1, "shift": True, "truncate": True, "speculative.n_max": 16, "speculative.p_min": 0.75, "bootstrap_port": 8998,
                     "logprob_start_len": -1, "return_text_in_logprobs": True, "cache_control": {"type": "ephemeral"}, "stream_interval": 1,
                     "sse_ping_interval": 30, "previous_response_id": "", "background": False},
    "a server that is not known": {"one": None, "two": False, "three": 0, "four": 0.0, "five": "", "six": [], "seven": {},
                                   "eight": {"x": None, "y": 0, "z": {"deep": [""]}}, "nine": [None, "", {}, [{"x": False}]]},
    "options in an object": {"options": {"repeat_penalty": 1.0, "top_k": -1, "min_p": 0, "mirostat": 0, "num_thread": 4, "num_ctx": 32768, "seed": None},
                             "extra_body": {"best_of": 1, "repetition_penalty": 1, "guided_json": None, "cache_prompt": True}},
    "OpenRouter": {"provider": {"order": ["x"]}, "transforms": [], "models": [], "route": "fallback", "plugins": [],
                   "top_a": 0, "reasoning": {"enabled": False}, "usage": {"include": True}},
}

# What would change the answer and can't be done.
REFUSED = {"tools": [{"type": "function"}], "tool_choice": "required", "response_format": {"type": "json_object"},
           "modalities": ["audio"], "reasoning_effort": "high", "web_search_options": {},
           "verbosity": "low", "guided_regex": "a+", "skip_special_tokens": False, "include_stop_str_in_output": True,
           "use_beam_search": True, "truncate_prompt_tokens": 5, "chat_template_kwargs": {"x": 1}, "bad_words": ["red"],
           "allowed_token_ids": [1], "prompt_logprobs": 1, "typical_p": 0.5, "tfs_z": 0.9, "mirostat": 2, "n_probs": 3,
           "grammar": "root ::= x", "json_schema": {"type": "object"}, "xtc_probability": 0.5, "dry_multiplier": 1,
           "options": {"temperature": 1}, "format": "json", "think": True, "watermark": True, "top_n_tokens": 2,
           "transforms": ["middle-out"], "plugins": [{"id": "web"}], "top_a": 0.5, "no_repeat_ngram_size": 2,
           "guidance_scale": 3, "no_such_thing": 1, "samplers": ["top_k"], "add_special_tokens": True, "files": ["x"], "typ_p": 0.5,
           "extra_body": {"top_k": 3}, "eight": [0], "nine": {"x": 1},
           "reasoning": {"effort": "none", "max_tokens": 9}, "thinking": {"type": "enabled"}, "add_generation_prompt": False,
           "detokenize": False, "moderation": {}, "structured_outputs": {"regex": "a"}, "previous_response_id": "r", "adaptive_target": 0,
           "prefix": True, "num_return_sequences": 2, "image": {"context_compression": "enabled"}, "min_pixels": 3136, "max_pixels": 12845056,
           "context_length_exceeded_behavior": "error", "search_parameters": {"mode": "auto"}}


def completion(prompt=QUESTION, **options):
    return {"model": "demo", "prompt": prompt, **options}


class OptionsTest(asking.StackTest):
    def choices(self, path, body):
        status, _, answer = self.ask("POST", path, body)
        self.assertEqual(status, 200, answer)
        return answer["choices"]

    def chunks(self, path, body):
        status, _, stream = self.ask("POST", path, {**body, "stream": True})
        self.assertEqual(status, 200, stream)
        events = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
        self.assertEqual(events.pop(), "[DONE]")
        return [json.loads(event) for event in events]

    def test_what_asks_for_nothing_is_taken(self):
        plain = self.choices(CHAT, about("What color is the circle?"))
        for server, fields in NEUTRAL.items():
            with self.subTest(server):
                self.assertEqual(self.choices(CHAT, about("What color is the circle?", **fields)), plain)
        for fields in NEUTRAL.values():
            for name, value in fields.items():
                with self.subTest(name):
                    self.ask("POST", COMPLETIONS, completion(max_tokens=1) | {name: value})

    def test_a_stream_may_be_told_how_usage_comes(self):
        chunks = self.chunks(CHAT, about("x", max_tokens=3, stream_options={"include_usage": True, "continuous_usage_stats": True}))
        self.assertGreater(chunks[-1]["usage"]["completion_tokens"], 0)

    def test_a_kind_of_another_type_is_refused_by_name(self):
        for name, value in {"modalities": "image", "response_format": "json_object", "tool_choice": 5, "thinking": "enabled"}.items():
            with self.subTest(name):
                status, _, answer = self.ask("POST", CHAT, about("x", **{name: value}))
                self.assertEqual((status, answer["error"]["param"]), (400, name))

    def test_a_completion_begins_with_text(self):
        for options in ({}, {"n": 2, "temperature": 1}, {"logprobs": 1}, {"echo": True}, {"echo": True, "logprobs": 1}):
            with self.subTest(options):
                first = {}
                for chunk in self.chunks(COMPLETIONS, completion(**options)):
                    first.setdefault(chunk["choices"][0]["index"], chunk["choices"][0]["text"])
                self.assertNotIn("", first.values())

    def test_what_cannot_be_done_is_refused_by_name_with_a_reason(self):
        for name, value in REFUSED.items():
            with self.subTest(name):
                status, _, answer = self.ask("POST", CHAT, about("x", **{name: value}))
                self.assertEqual((status, answer["error"]["code"], answer["error"]["param"]),
                                 (400, "unsupported_parameter", name), answer)
                self.assertIn(name, answer["error"]["message"])
                self.assertTrue(answer["error"]["message"].endswith("leave it out") or name == "add_special_tokens", answer)

    def test_faults_name_the_member_that_was_sent(self):
        for path, body in ((CHAT, {"repeat_penalty": 0}), (CHAT, {"repetition_penalty": 0}), (CHAT, {"min_new_tokens": -2}),
                           (CHAT, {"min_tokens": -2}), (CHAT, {"n_predict": -2}), (CHAT, {"max_tokens": "5"}), (CHAT, {"stop": 5}),
                           (CHAT, {"top_logprobs": 30, "logprobs": True}), (COMPLETIONS, {"prompt": [10**6]}), (CHAT, {"n": "1"}),
                           (COMPLETIONS, {"prompt": [-5]}), (COMPLETIONS, {"logprobs": 30, "echo": True}),
                           (COMPLETIONS, {"logprobs": 30, "max_tokens": 0}), (COMPLETIONS, {"add_special_tokens": False}),
                           ("/v1/responses", {"max_output_tokens": -2}), ("/v1/responses", {"input": 5}),
                           ("/v1/responses", {"metadata": 5})):
            with self.subTest(body):
                question = {CHAT: about("x"), COMPLETIONS: completion()}.get(path, {"input": "x"})
                name = list(body)[0]
                self.refused(question | body, name, path=path)
                message = self.ask("POST", path, question | body)[2]["error"]["message"]
                self.assertIn(name, message)
                for inner in ("max_new_tokens", "min_new_tokens", "token_ids", "prompt_logprobs", "question.", "turns", "generation"):
                    self.assertNotIn(inner, message.replace("min_new_tokens", "") if name == "min_new_tokens" else message)

    def test_numbers_are_taken_as_clients_write_them(self):
        def text(**options):
            return self.choices(CHAT, about("Describe the image.", **options))[0]
        self.assertEqual(text(max_tokens=3.0), text(max_tokens=3))
        self.assertEqual(text(max_tokens=3)["finish_reason"], "length")
        default = text()
        for nothing in (None, -1, -1.0):
            self.assertEqual(text(max_tokens=nothing), default)
            self.assertEqual(text(max_completion_tokens=nothing), default)
        self.assertEqual(text(max_tokens=9, max_completion_tokens=3), text(max_tokens=3))
        for name in ("max_new_tokens", "n_predict", "num_predict", "max_completion_tokens"):
            self.assertEqual(text(**{name: 3}), text(max_tokens=3), name)
        for greedy in ({"temperature": 0}, {"top_p": 0, "temperature": 5}, {"do_sample": False, "temperature": 5},
                       {"temperature": 5, "min_p": 1}, {"temperature": 5, "top_k": 1}):
            self.assertEqual(text(**greedy), default, greedy)
        self.assertEqual(len(self.choices(CHAT, about("Describe the image.", n_cmpl=2))), 2)
        for name in ("n", "best_of", "min_tokens", "num_beams", "top_logprobs", "max_tokens", "seed", "top_k"):
            for nothing in (-1, -1.0, None):
                self.assertEqual(text(**{name: nothing}), default, name)
        for nothing in ("", [], None, [""], ["", None]):
            self.assertEqual(text(stop=nothing), default)
        first = text(max_tokens=2)["message"]["content"].split()[0]
        for name in ("stop", "stop_sequences", "stop_strings", "stopping_strings"):
            self.assertNotIn(first, text(**{name: [first]})["message"]["content"], name)
            self.assertNotIn(first, text(**{"stop": [], name: first})["message"]["content"], name)
        for wrong in ({"max_tokens": 1.5}, {"max_tokens": "3"}, {"max_tokens": True}, {"max_tokens": -2}, {"top_k": -2},
                      {"max_tokens": 10**30}, {"seed": 0.5}, {"logit_bias": {"x": 1}}, {"logit_bias": {"1": "x"}},
                      {"logit_bias": [[1]]}, {"stop_token_ids": 5}, {"stop_token_ids": ["5"]}, {"best_of": 9},
                      {"do_sample": 1}, {"presence_penalty": 3}, {"min_p": 2}, {"logit_bias": {"1": 101}},
                      {"logit_bias": {"5": 1, "05": 2}}, {"logit_bias": [[5, 1], [5, 1]]}):
            with self.subTest(wrong):
                self.refused(about("x", **wrong), param=list(wrong)[0])

    def test_max_tokens_is_cut_to_the_window(self):
        for most in (4096, 100000, 2**31 - 1):
            choice = self.choices(COMPLETIONS, completion(max_tokens=most, ignore_eos=True))[0]
            self.assertEqual(choice["finish_reason"], "length")
        self.assertEqual(self.choices(CHAT, about("What color is the circle?", max_tokens=4096))[0]["finish_reason"], "stop")
        self.refused(completion("a " * 5000, max_tokens=5), code="context_length_exceeded", path=COMPLETIONS)

    def test_penalties_and_biases_change_the_answer(self):
        def tokens(**options):
            choice = self.choices(COMPLETIONS, completion(max_tokens=12, min_tokens=12, logprobs=0, **options))[0]
            return choice["logprobs"]["tokens"]
        plain = tokens()
        seen = [plain]
        for options in ({"presence_penalty": 2, "frequency_penalty": 2}, {"presence_penalty": -2, "frequency_penalty": -2},
                        {"logit_bias": {"429": -100}}, {"repetition_penalty": 1.7}):
            seen.append(tokens(**options))
        self.assertEqual(len({tuple(one) for one in seen}), len(seen), seen)
        self.assertEqual(tokens(repeat_penalty=1.7), tokens(repetition_penalty=1.7))
        self.assertEqual(tokens(logit_bias=[[429, False]]), tokens(logit_bias={"429": -100}))
        self.assertEqual(tokens(repeat_penalty=1.7, repeat_last_n=0), plain)
        self.refused(completion(repeat_penalty=1.7, repeat_last_n=64), "repeat_last_n", path=COMPLETIONS)

    def test_answers_are_those_of_transformers(self):
        """Greedy and with beams, under every option that it has; tests/goldens/options says how they were made."""
        for golden in json.loads((ROOT / "tests/goldens/options/golden.json").read_text())["answers"]:
            with self.subTest(golden["options"]):
                options = {{"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens"}.get(name, name): value
                           for name, value in golden["options"].items()}
                choice = self.choices(COMPLETIONS, completion(golden["text"], logprobs=0, **options))[0]
                wanted = self.choices(COMPLETIONS, completion(golden["token_ids"], echo=True, logprobs=0, max_tokens=0))[0]
                self.assertEqual(choice["logprobs"]["tokens"], wanted["logprobs"]["tokens"])

    def test_the_best_of_several_draws_are_returned(self):
        def mean(choice):
            logprobs = choice["logprobs"]["token_logprobs"]
            return sum(logprobs) / len(logprobs)
        options = {"temperature": 2.0, "seed": 7, "max_tokens": 6, "logprobs": 0}
        draws = self.choices(COMPLETIONS, completion(n=6, **options))
        ranked = sorted(draws, key=mean, reverse=True)
        self.assertGreater(len({choice["text"] for choice in draws}), 2)
        best = self.choices(COMPLETIONS, completion(best_of=6, **options))
        self.assertEqual([choice["text"] for choice in best], [ranked[0]["text"]])
        pair = self.choices(COMPLETIONS, completion(n=2, best_of=6, **options))
        self.assertEqual([choice["text"] for choice in pair], [choice["text"] for choice in ranked[:2]])
        self.refused(completion(n=3, best_of=2), "best_of", path=COMPLETIONS)
        self.refused(completion(n=2, best_of=3, stream=True, temperature=1), "best_of", path=COMPLETIONS)

    def test_an_echo_with_logprobs_scores_the_prompt(self):
        status, _, answer = self.ask("POST", COMPLETIONS, completion(echo=True, logprobs=2, max_tokens=2))
        self.assertEqual(status, 200, answer)
        choice = answer["choices"][0]
        logprobs = choice["logprobs"]
        self.assertTrue(choice["text"].startswith(QUESTION))
        self.assertEqual({len(logprobs[name]) for name in logprobs}, {answer["usage"]["total_tokens"] - 1})
        self.assertEqual("".join(logprobs["tokens"][:-2]), QUESTION)
        self.assertIsNone(logprobs["token_logprobs"][0])
        self.assertIsNone(logprobs["top_logprobs"][0])
        self.assertTrue(all(value <= 0 for value in logprobs["token_logprobs"][1:]))
        self.assertTrue(all(len(top) == 2 for top in logprobs["top_logprobs"][1:-1]))
        for token, offset in zip(logprobs["tokens"][:-2], logprobs["text_offset"]):
            self.assertEqual(QUESTION[offset:offset + len(token)], token)
        self.assertEqual(logprobs["text_offset"][-2], len(QUESTION))
        only = self.choices(COMPLETIONS, completion(echo=True, logprobs=2, max_tokens=0))[0]
        self.assertEqual((only["text"], only["finish_reason"]), (QUESTION, "length"))
        self.assertEqual(only["logprobs"]["tokens"], logprobs["tokens"][:-2])
        nothing = self.choices(COMPLETIONS, completion(max_tokens=0))[0]
        self.assertEqual((nothing["text"], nothing["logprobs"]), ("", None))
        self.refused(about("x", max_tokens=0), "max_tokens")

    def test_an_echo_streams_the_prompt_first(self):
        for options in ({"logprobs": 1}, {}, {"max_tokens": 8}, {"max_tokens": 0}):
            body = completion(echo=True) | {"max_tokens": 3} | options
            whole = self.choices(COMPLETIONS, body)[0]
            chunks = [chunk["choices"][0] for chunk in self.chunks(COMPLETIONS, body)]
            self.assertEqual("".join(chunk["text"] for chunk in chunks), whole["text"])
            self.assertEqual(chunks[0]["text"], QUESTION)
            if "logprobs" not in options:
                self.assertTrue(all(chunk["text"] for chunk in chunks[:-1]), "the last chunk alone may have no text")
            if "logprobs" in options:
                for name in whole["logprobs"]:
                    joined = sum((chunk["logprobs"][name] for chunk in chunks if chunk["logprobs"]), [])
                    self.assertEqual(joined, whole["logprobs"][name], name)

    def test_an_echo_is_the_prompt_and_exactly_what_follows(self):
        """White space where they meet, and at the end, belongs to it."""
        space, word = self.ids_of("a  circle")[1:]
        space = {"logit_bias": {str(space): 100}, "max_tokens": 2}
        word = {"logit_bias": {str(word): 100}, "max_tokens": 3}
        for options in ({"max_tokens": 3}, {"max_tokens": 0}, space, word):
            for prompt in (QUESTION, f"{QUESTION} ", " ", self.ids_of(QUESTION)):
                with self.subTest(options=options, prompt=prompt):
                    body = completion(prompt, n=2, echo=True, **options)
                    scored = self.choices(COMPLETIONS, body | {"logprobs": 1})
                    for choice in scored:
                        self.holds_its_tokens(choice)
                    texts = [choice["text"] for choice in scored]
                    self.assertEqual([choice["text"] for choice in self.choices(COMPLETIONS, body)], texts)
                    for more in ({}, {"logprobs": 1}):
                        streamed = ["", ""]
                        for chunk in self.chunks(COMPLETIONS, body | more):
                            streamed[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
                        self.assertEqual(streamed, texts)
        alone = self.choices(COMPLETIONS, completion(**word))[0]["text"]
        self.assertEqual(alone, alone.strip(), "without an echo the text is stripped, as the reference does")

    def ids_of(self, text):
        return self.ask("POST", "/v1/tokenize", {"prompt": text, "add_special_tokens": False})[2]["tokens"]

    def holds_its_tokens(self, choice):
        """The text is its tokens, each at its offset; one that ends the answer has no text."""
        tokens, offsets = choice["logprobs"]["tokens"], choice["logprobs"]["text_offset"]
        tokens = tokens[:-1] if choice["finish_reason"] == "stop" else tokens
        begin = offsets[0] if tokens else len(choice["text"])  # behind white space that has no tokens
        self.assertEqual(choice["text"], " " * begin + "".join(tokens))
        for i, token in enumerate(tokens):
            self.assertEqual(offsets[i], begin + len("".join(tokens[:i])), token)

    def test_lists_of_prompts_are_answered_in_their_order(self):
        prompts = [f"Question: What color is the {shape}? Answer:" for shape in ("circle", "star", "square")] * 5
        alone = [self.choices(COMPLETIONS, completion(prompt, max_tokens=4))[0]["text"] for prompt in prompts[:3]] * 5
        status, _, answer = self.ask("POST", COMPLETIONS, completion(prompts, max_tokens=4))
        self.assertEqual(status, 200, answer)
        self.assertEqual([choice["index"] for choice in answer["choices"]], list(range(15)))
        self.assertEqual([choice["text"] for choice in answer["choices"]], alone)
        self.assertEqual(len(answer["diptych"]), 15)
        chunks = self.chunks(COMPLETIONS, completion(prompts, max_tokens=4))
        texts = [""] * 15
        for chunk in chunks:
            texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
        self.assertEqual(texts, alone)
        two = self.choices(COMPLETIONS, completion(prompts[:2], n=2, max_tokens=4))
        self.assertEqual([choice["text"] for choice in two], [alone[0], alone[0], alone[1], alone[1]])
        for wrong in ([], [[]], [1, "a"], ["a", 1], [1.5], {}, 5, None, ["a"] * 65):
            self.refused(completion(wrong), "prompt", path=COMPLETIONS)

    def test_prompts_may_be_token_ids(self):
        text = self.choices(COMPLETIONS, completion(echo=True, logprobs=1, max_tokens=3))[0]
        ids = [2, 429, 322]  # the beginning of the sequence and two words
        one = self.choices(COMPLETIONS, completion(ids, echo=True, logprobs=1, max_tokens=1))[0]
        self.assertEqual(len(one["logprobs"]["tokens"]), 4)
        self.assertIsNone(one["logprobs"]["token_logprobs"][0])
        self.assertIsNotNone(one["logprobs"]["token_logprobs"][1])
        many = self.choices(COMPLETIONS, completion([ids, ids[1:]], echo=True, logprobs=1, max_tokens=1))
        self.assertEqual(many[0]["logprobs"]["tokens"], one["logprobs"]["tokens"])
        self.assertEqual(len(many[1]["logprobs"]["tokens"]), 3)
        echoed = self.choices(COMPLETIONS, completion(ids, echo=True, max_tokens=0))[0]
        self.assertEqual(echoed["text"], "".join(one["logprobs"]["tokens"][:-1]))
        self.assertNotEqual(text["text"], one["text"])
        self.refused(completion([10**6]), path=COMPLETIONS)
        self.refused(completion([-5]), path=COMPLETIONS)

    def test_usage_is_null_until_the_last_chunk(self):
        for path, body in ((CHAT, about("What color is the circle?")), (COMPLETIONS, completion(max_tokens=3))):
            chunks = self.chunks(path, {**body, "stream_options": {"include_usage": True}})
            self.assertTrue(all("usage" in chunk and chunk["usage"] is None for chunk in chunks[:-1]), chunks)
            self.assertGreater(chunks[-1]["usage"]["total_tokens"], 0)
            self.assertTrue(all("usage" not in chunk for chunk in self.chunks(path, body)))

    def test_an_image_without_words_is_a_caption_turn(self):
        def turn(*parts):
            return {"role": "user", "content": list(parts)}
        image, blank = {"type": "image_url", "image_url": {"url": IMAGE}}, {"type": "text", "text": " "}
        question = {"role": "user", "content": "What color is the circle?"}
        for first in (turn(image), turn(image, blank)):
            talk = {"messages": [first, {"role": "assistant", "content": "two shapes"}, question]}
            _, _, answer = self.ask("POST", CHAT, talk)
            self.assertEqual(answer["choices"][0]["message"]["content"], "red")
            self.assertEqual(answer["diptych"]["context_budget"]["turns_dropped"], 0)
            self.assertGreater(answer["diptych"]["context_budget"]["history_tokens"], 0)
            self.assertIn("red circle", self.choices(CHAT, {"messages": [first]})[0]["message"]["content"])
            last = {"messages": [question, {"role": "assistant", "content": "red"}, first]}
            self.assertIn("red circle", self.choices(CHAT, last)[0]["message"]["content"])

    def test_the_oldest_images_go_with_their_turns(self):
        def turn(count):
            images = [{"type": "image_url", "image_url": {"url": IMAGE}}] * count
            return {"role": "user", "content": images + [{"type": "text", "text": "What color is the circle?"}]}
        reply = {"role": "assistant", "content": "red"}
        _, _, answer = self.ask("POST", CHAT, {"messages": [turn(1), reply] * 11 + [turn(1)], "max_tokens": 5})
        budget = answer["diptych"]["context_budget"]
        self.assertEqual(budget["turns_dropped"] % 2, 0)
        self.assertGreaterEqual(budget["turns_dropped"], 8)
        self.assertLessEqual(budget["image_tokens"], 8 * 16)
        self.refused({"messages": [turn(9)]}, code="too_many_images")


if __name__ == "__main__":
    asking.main()
