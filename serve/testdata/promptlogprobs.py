"""Makes promptlogprobs.json: log-softmax of transformers in float64 for texts of random ids, and the ranks and most
likely ids of each place, for a model of model/testdata. python3 promptlogprobs.py, in this folder; torch, transformers."""
import json

import torch
from transformers import AutoModelForCausalLM

name = "small-qwen2"
m = AutoModelForCausalLM.from_pretrained("../../model/testdata/models/" + name, dtype=torch.float64).eval()
g = torch.Generator().manual_seed(5)
head = torch.randint(0, m.config.vocab_size, (30,), generator=g).tolist()
texts = []
for n, shared in [(20, 0), (40, 30), (33, 30), (44, 30), (31, 30), (1, 0)]:
    ids = head[:shared] + torch.randint(0, m.config.vocab_size, (n - shared,), generator=g).tolist()
    with torch.no_grad():
        lp = m(torch.tensor([ids])).logits[0].log_softmax(-1)
    top = lp.topk(3, -1)
    at = [(lp[i], ids[i + 1]) for i in range(len(ids) - 1)]
    texts.append({"ids": ids, "logprobs": [p[t].item() for p, t in at],
                  "ranks": [int((p >= p[t]).sum()) for p, t in at],
                  "top": [[[int(i), x.item()] for i, x in zip(top.indices[k], top.values[k])] for k in range(len(at))]})
json.dump({"model": name, "texts": texts}, open("promptlogprobs.json", "w"))
