"""Compares this project with transformers on fresh weights, fresh images and hostile text.

    scripts/parity.sh [--seed N] [--full_size DIR] [--only full_size]

Exits with 1 if a figure is missed. The report is written to build/parity/.
"""
import argparse
import os
import sys
import time
from pathlib import Path

import torch
import transformers

from . import check_attention, check_generation, check_model, check_text, full_size
from .report import Report

OUT = Path("build/parity")
DEMO = Path("models/demo")
OPT_TOKENIZER = Path("../shared/data/opt_tokenizer")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/parity.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"), help="default: a fresh one")
    parser.add_argument("--full_size", type=Path, metavar="DIR",
                        help="also a full-size checkpoint in float32; needs about 17 GB of free memory")
    parser.add_argument("--only", choices=["full_size"], help="leave out the comparisons on tiny models")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the models are tiny: more threads would only wait for each other
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    os.chdir(Path(__file__).resolve().parent.parent.parent)

    start = time.monotonic()
    report = Report(args.seed)
    print(f"seed {args.seed}", flush=True)
    if args.only != "full_size":
        compare_tiny(args.seed, report)
    if args.full_size:
        full_size.check(args.full_size, OUT / "full_size", report)
    report.say(f"took {time.monotonic() - start:.0f} s")
    print(f"report: {report.write(OUT)}")
    return 0 if report.ok else 1


def compare_tiny(seed: int, report: Report) -> None:
    scratch = OUT / "scratch"
    models = check_model.run_tiny_models(scratch, seed)
    check_model.check_pixels(models, scratch, seed, report)
    check_model.check_float32(models, report)
    check_generation.check_beam_search(models, seed, report)
    check_generation.check_sampled_answers(models, seed, report)
    check_model.check_bfloat16(models, report)
    check_attention.check(models, DEMO if (DEMO / "config.json").exists() else None,
                          sorted((scratch / "images").glob("*.png")), report)
    check_text.check_tokenizer("tiny models", models[0].folder, seed, report)
    if (DEMO / "config.json").exists():
        check_model.check_demo(DEMO, scratch / "demo", seed, report)
        check_text.check_tokenizer("demo model", DEMO, seed, report)
    if OPT_TOKENIZER.exists():
        check_text.check_tokenizer("OPT", check_text.opt_tokenizer(OPT_TOKENIZER, scratch / "opt_tokenizer"), seed, report)
    else:
        report.say(f"OPT's tokenizer was not compared: {OPT_TOKENIZER} is not there")
    check_text.check_sampling(models[0].folder, seed, report)


if __name__ == "__main__":
    sys.exit(main())
