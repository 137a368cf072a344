"""Lets a running Diptych answer held-out scenes, so that evaluate.py can compare it with transformers.

    python held_out.py --scenes 1000 --out scenes
    python ask_service.py --scenes-from scenes --server 127.0.0.1:7000 --out answers.jsonl
    python evaluate.py --checkpoint ../../models/demo --scenes-from scenes --answers answers.jsonl

Every answer goes through the three processes: one `diptych ask` per image, one request per question.
"""
import argparse
import concurrent.futures
import itertools
import json
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def ask(binary, server, options, picture, prompts):
    """The answers to `prompts` about one image, in order."""
    command = [binary, "ask", "--server", server, "--json", "--image", str(picture), *options]
    for prompt in prompts:
        command += ["--prompt", prompt]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{picture.name}: diptych ended with {done.returncode}: {done.stderr.strip()}")
    answers = [json.loads(line)["answer"] for line in done.stdout.splitlines()]
    if len(answers) != len(prompts):
        raise SystemExit(f"{picture.name}: {len(prompts)} questions, {len(answers)} answers")
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes-from", type=Path, required=True, help="a folder that held_out.py wrote")
    parser.add_argument("--server", default="127.0.0.1:7000")
    parser.add_argument("--binary", default=str(REPOSITORY / "build/release/bin/diptych"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--options", default="", help="more options of `diptych ask`, as '--token_merging 0.1'")
    parser.add_argument("--jobs", type=int, default=2, help="images asked about at once")
    args = parser.parse_args()

    rows = [json.loads(line) for line in (args.scenes_from / "questions.jsonl").read_text().splitlines()]
    pictures = [(name, [row["question"] for row in group])
                for name, group in itertools.groupby(rows, key=lambda row: row["image"])]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool, open(args.out, "w", encoding="utf-8") as out:
        results = pool.map(lambda p: ask(args.binary, args.server, args.options.split(), args.scenes_from / p[0], p[1]), pictures)
        for done, ((name, prompts), answers) in enumerate(zip(pictures, results), 1):
            for prompt, answer in zip(prompts, answers):
                out.write(json.dumps({"image": name, "question": prompt, "answer": answer}) + "\n")
            if done % 100 == 0 or done == len(pictures):
                print(f"{done} of {len(pictures)} images", flush=True)


if __name__ == "__main__":
    main()
