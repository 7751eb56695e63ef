"""Writes penalties.json: greedy continuations of the tiny Llama of model/testdata by transformers' own LogitsProcessors.

    python engine/testdata/penalties.py > engine/testdata/penalties.json

transformers 5.23.0, torch 2.9.1, f32. Frequency and presence penalties, which transformers lacks, follow OpenAI's formula
mu[j] -= c[j]*frequency + (c[j] > 0)*presence over the generated tokens, after the repetition penalty, as in vLLM. A case is kept when
the margin between the two best logits is above 1e-3 at every step, so that other roundings give the same ids.
"""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "../../model/testdata/models/llama")
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
vocab = model.config.vocab_size


class Counted(LogitsProcessor):
    def __init__(self, start, frequency, presence):
        self.start, self.frequency, self.presence = start, frequency, presence

    def __call__(self, input_ids, scores):
        counts = torch.bincount(input_ids[0, self.start :], minlength=scores.shape[-1])[None].float()
        return scores - self.frequency * counts - self.presence * (counts > 0)


class Margin(LogitsProcessor):
    least = 1e9

    def __call__(self, input_ids, scores):
        best = scores[0].topk(2).values
        self.least = min(self.least, float(best[0] - best[1]))
        return scores


def run(prompt, n, eos, **p):
    margin = Margin()
    extra = LogitsProcessorList([Counted(len(prompt), p.get("frequency", 0), p.get("presence", 0)), margin])
    args = dict(max_new_tokens=n, do_sample=False, eos_token_id=eos or None, pad_token_id=0, logits_processor=extra)
    if "repetition" in p:
        args["repetition_penalty"] = p["repetition"]
    if "min_tokens" in p:
        args["min_new_tokens"] = p["min_tokens"]
    if "bias" in p:
        args["sequence_bias"] = [[[int(i)], float(b)] for i, b in p["bias"].items()]
    with torch.no_grad():
        out = model.generate(torch.tensor([prompt]), **args)[0, len(prompt) :].tolist()
    return out, margin.least


cases = []
g = torch.Generator().manual_seed(5)
for k in range(3):
    prompt = torch.randint(1, vocab, (12 + 9 * k,), generator=g).tolist()
    plain, _ = run(prompt, 24, [])
    eos = sorted(set(plain[:6]))[:2]
    for p in [
        {},
        {"repetition": 1.3},
        {"repetition": 3.5},
        {"repetition": 0.8},
        {"frequency": 0.4},
        {"frequency": -0.3, "presence": 0.9},
        {"presence": -1.5},
        {"bias": {str(plain[0]): -100.0, str(plain[3]): -1.5, str((plain[0] + 7) % vocab): 2.5}},
        {"repetition": 1.7, "frequency": 0.2, "presence": 0.3, "bias": {str(plain[1]): 1.25, str(plain[2]): -2.0}},
        {"min_tokens": 9},
        {"min_tokens": 5, "repetition": 1.4, "presence": 0.5, "bias": {str(eos[0]): 3.0}},
    ]:
        ends = eos if "min_tokens" in p else []
        ids, least = run(prompt, 24, ends, **p)
        if least < 1e-3:
            print("dropped", k, p, least, file=sys.stderr)
            continue
        cases.append({"prompt": prompt, "eos": ends, **p, "ids": ids})

print("[")
print(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
print("]")
