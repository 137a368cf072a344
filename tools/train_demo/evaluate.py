"""Measures the demo model on held-out scenes: exact match of the whole greedy answer, per kind of question.

    python evaluate.py --checkpoint ../../models/demo --scenes 1000          # transformers: f32, bf16, other sizes
    python evaluate.py --checkpoint ../../models/demo --scenes-from DIR --answers answers.jsonl

The second form scores answers that something else gave about the folder that held_out.py wrote, as lines
{"image": ..., "question": ..., "answer": ...}, and counts how many are those of transformers (f32).
"""
import argparse
import json
import sys
from pathlib import Path

import torch

import held_out
import questions
from answers import Answerer

COUNTING = ["count_all", "count_some"]
OTHER_SIZES = [84, 112, 140, 168, 224]
SHOWN_ERRORS = 6


def score(answers: list[str], asked: list[held_out.HeldOutQuestion]) -> dict:
    """Share of right answers by kind, and means over the kinds of questions and of captions."""
    right, total = {}, {}
    for answer, question in zip(answers, asked):
        total[question.kind] = total.get(question.kind, 0) + 1
        right[question.kind] = right.get(question.kind, 0) + (answer == question.answer)
    by_kind = {kind: round(right[kind] / total[kind], 4) for kind in total}

    def mean(kinds):
        return round(sum(by_kind[k] for k in kinds) / len(kinds), 4)

    bare = [a == q.answer for a, q in zip(answers, asked)
            if q.kind in questions.KINDS and not q.question.startswith("Question:")]
    asked_kinds = [k for k in questions.KINDS if k in by_kind]
    return dict(
        answers=len(answers), mean_of_question_kinds=mean(asked_kinds),
        worst_question_kind=min(asked_kinds, key=by_kind.get),
        attributes_positions_yes_no=mean([k for k in asked_kinds if k not in COUNTING]),
        counting=mean([k for k in COUNTING if k in by_kind]),
        captions=mean([k for k in questions.CAPTION_KINDS if k in by_kind]),
        bare_questions=round(sum(bare) / len(bare), 4), by_kind=by_kind)


def first_errors(answers, asked):
    """Some wrong answers of every kind: [question, true answer, answer]."""
    errors = {}
    for answer, question in zip(answers, asked):
        known = errors.setdefault(question.kind, [])
        if answer != question.answer and len(known) < SHOWN_ERRORS:
            known.append([question.question, question.answer, answer])
    return {kind: known for kind, known in errors.items() if known}


def agreement(a: list[str], b: list[str]) -> dict:
    same = sum(x == y for x, y in zip(a, b, strict=True))
    return dict(same=same, of=len(a), share=round(same / len(a), 5))


def measure(checkpoint: Path, full: held_out.HeldOutSet) -> dict:
    """f32 and bf16 on all scenes, and other resolutions (f32) on the first fifth of them."""
    f32 = Answerer(checkpoint)
    reference = f32.answer_all(full)
    _check_single_answers(f32, full, reference)
    bf16 = Answerer(checkpoint, torch.bfloat16).answer_all(full)
    names = list(full.images)[:max(1, len(full.images) // 5)]
    part = held_out.HeldOutSet({n: full.images[n] for n in names}, [q for q in full.questions if q.image in set(names)])
    return dict(
        scenes=len(full.images), f32=score(reference, full.questions), bf16=score(bf16, full.questions),
        bf16_answers_equal_to_f32=agreement(bf16, reference),
        other_sizes_f32={size: score(f32.answer_all(part, size), part.questions) for size in OTHER_SIZES},
        examples_of_errors=first_errors(reference, full.questions))


def _check_single_answers(answerer, asked, batched):
    """The batches must give what a user gets who asks one question at a time."""
    for question, expected in list(zip(asked.questions, batched))[:20]:
        single = answerer.answer(asked.images[question.image], question.question)
        if single != expected:
            sys.exit(f"batched and single answers differ: {question.question!r}: {expected!r} and {single!r}")


def compare(checkpoint: Path, asked: held_out.HeldOutSet, answers_file: Path) -> dict:
    """Scores foreign answers and compares them with those of transformers in f32."""
    given = {}
    for line in answers_file.read_text().splitlines():
        entry = json.loads(line)
        given[Path(entry["image"]).name, entry["question"]] = entry["answer"].strip()
    missing = [q for q in asked.questions if (q.image, q.question) not in given]
    if missing:
        sys.exit(f"{len(missing)} of {len(asked.questions)} questions have no answer, the first: {missing[0]}")
    answers = [given[q.image, q.question] for q in asked.questions]
    reference = Answerer(checkpoint).answer_all(asked)
    different = [[q.image, q.question, r, a] for q, r, a in zip(asked.questions, reference, answers) if r != a]
    return dict(scenes=len(asked.images), given=score(answers, asked.questions),
                transformers_f32=score(reference, asked.questions), equal_to_transformers=agreement(answers, reference),
                first_differences=different[:SHOWN_ERRORS])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--kinds-per-scene", type=int, help="default: a question of every kind about every scene")
    parser.add_argument("--scenes-from", type=Path, help="a folder that held_out.py wrote, in place of --scenes")
    parser.add_argument("--answers", type=Path, help="score these answers (needs --scenes-from)")
    parser.add_argument("--out", type=Path, help="write the figures here too")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.answers and not args.scenes_from:
        parser.error("--answers needs --scenes-from")
    torch.set_num_threads(args.threads)
    asked = held_out.read(args.scenes_from) if args.scenes_from else held_out.make(args.scenes, args.kinds_per_scene)
    results = compare(args.checkpoint, asked, args.answers) if args.answers else measure(args.checkpoint, asked)
    text = json.dumps(results, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
