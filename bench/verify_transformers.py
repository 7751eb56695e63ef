"""Does transformers load what we saved, and does it agree on the log-probabilities?

    zerosearch score --model DIR --dtype f32 < ids.jsonl > scores.jsonl
    python bench/verify_transformers.py DIR scores.jsonl [--adapter DIR] [--dtype float32] [--atol 1e-3]

scores.jsonl has a line {"ids": [...], "logprobs": [...]} a sequence, logprobs[i] = ln p(ids[i+1] given ids[..i]): what `score`
prints. Needs torch and transformers, and peft for --adapter; run it in an environment of its own. Exit 1 where they disagree.
"""
import argparse
import json
import sys

import torch
from transformers import AutoModelForCausalLM


def load(args):
    model, report = AutoModelForCausalLM.from_pretrained(
        args.model, dtype=getattr(torch, args.dtype), attn_implementation="eager", output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if report.get(problem):
            sys.exit(f"{args.model}: {problem}: {report[problem]}")
    if args.adapter:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, args.adapter)
    return model.eval()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("scores")
    p.add_argument("--adapter")
    p.add_argument("--dtype", default="float32")
    p.add_argument("--atol", type=float, default=1e-3)
    args = p.parse_args()
    model = load(args)
    worst, tokens = 0.0, 0
    for line in open(args.scores):
        case = json.loads(line)
        ids = torch.tensor(case["ids"])
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, :-1].float()
        want = torch.log_softmax(logits, -1).gather(1, ids[1:, None])[:, 0]
        got = torch.tensor(case["logprobs"])
        if got.shape != want.shape:
            sys.exit(f"{len(got)} logprobs for {len(ids)} ids")
        if len(got):
            off = (got - want).abs().max().item()
            worst = off if off != off else max(worst, off)
            tokens += len(got)
    ok = worst <= args.atol
    print(json.dumps({"model": args.model, "adapter": args.adapter, "tokens": tokens, "logprob_diff_max": worst, "ok": ok}))
    sys.exit(not ok)


if __name__ == "__main__":
    main()
