"""Asks a Diptych server about an image: ask.py HOST:PORT IMAGE QUESTION. Wants the wheel: pip install diptych-*.whl"""
import sys

import diptych

address, image, question = sys.argv[1:]
with diptych.Client(address, timeout=30) as client:
    answer = client.ask(image, question)
    timings, budget = answer.timings, answer.context_budget
    print("answer:", answer.text)
    print(f"timings: vit {timings.vit * 1e3:.1f} ms of {timings.total * 1e3:.1f} ms")
    print(f"budget: {budget.image_tokens} image tokens, {budget.remaining} of {budget.window} left")

    print("streamed: ", end="")
    for piece in client.stream(image, question):
        print(piece.text, end="", flush=True)
    print()

    stream = client.stream(image, question, max_new_tokens=60, min_new_tokens=60)
    try:
        next(stream)
        stream.cancel()
        stream.answer
    except diptych.Cancelled as error:
        print("cancelled:", error.code)

    try:
        client.ask(image, question, timeout=0.0001)
    except diptych.DeadlineExceeded as error:
        print("deadline:", error.code)

    try:
        client.ask(b"no image", question)
    except diptych.DiptychError as error:
        print("refused:", error.code, error.reason)
