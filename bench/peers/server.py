"""One PyTorch process that does what `zerosearch bench peers` asks for: a JSON request a line on stdin, an answer a line on stdout.

{"do": "matmul", "dtype": "bf16", "m": 512, "k": 576, "n": 1536}   seconds of y[m,n] = x[m,k] w[n,k]^T, weights packed once by oneDNN
{"do": "train", "dtype": "bf16", "model": DIR, "sequences": 4, "length": 512}
                                  seconds of forward, backward and AdamW on f32 weights, bf16 by autocast
{"do": "score", "dtype": "bf16", "model": DIR, "sequences": 8, "length": 512}
                                  seconds of the log-probabilities of all tokens, four sequences at once

Answers: {"seconds": s} or {"error": "..."}. The number of threads is the first argument. Operands, modules and optimizers are kept
between requests, so that only the first request for something pays for making it.
"""
import gc
import json
import statistics
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
kept = {}
dtypes = {"f32": torch.float32, "bf16": torch.bfloat16}


def keep(key, make):
    """What make returns, made once; there is room for one thing of a kind."""
    kind = key[0]
    if kept.get(kind, (None, None))[0] != key:
        kept.pop(kind, None)
        gc.collect()
        kept[kind] = (key, make())
    return kept[kind][1]


def operands(dtype, m, k, n):
    t = dtypes[dtype]
    size = k * n * t.itemsize
    copies = 1 if m > 64 else max(1, min(64, (96 << 20) // size + 1))  # few rows: weights come from memory
    ws = [torch.ops.mkldnn._reorder_linear_weight((torch.randn(n, k) * 0.02).to(t), m) for _ in range(copies)]
    return torch.randn(m, k).to(t), ws


def matmul(r):
    x, ws = keep(("matmul", r["dtype"], r["m"], r["k"], r["n"]), lambda: operands(r["dtype"], r["m"], r["k"], r["n"]))
    times, i, end = [], 0, time.perf_counter() + r.get("least", 0.1)
    with torch.inference_mode():
        for i in range(3):
            torch.ops.mkldnn._linear_pointwise(x, ws[i % len(ws)], None, "none", [], "")
        while time.perf_counter() < end or len(times) < 3:
            i += 1
            a = time.perf_counter()
            torch.ops.mkldnn._linear_pointwise(x, ws[i % len(ws)], None, "none", [], "")
            times.append(time.perf_counter() - a)
    return statistics.median(times)


def learner(r):
    from transformers import AutoModelForCausalLM
    m = AutoModelForCausalLM.from_pretrained(r["model"], dtype=torch.float32, attn_implementation="eager")
    m.train()
    if r.get("compile"):
        m = torch.compile(m)
    return m, torch.optim.AdamW(m.parameters(), lr=1e-6, weight_decay=0.01, fused=True)


def train(r):
    m, opt = keep(("train", r["model"], bool(r.get("compile"))), lambda: learner(r))
    ids = torch.randint(0, m.config.vocab_size, (r["sequences"], r["length"]))
    a = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=r["dtype"] == "bf16"):
        loss = m(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
    opt.step()
    opt.zero_grad()
    return time.perf_counter() - a


def scorer(r):
    from transformers import AutoModelForCausalLM
    return AutoModelForCausalLM.from_pretrained(r["model"], dtype=dtypes[r["dtype"]], attn_implementation="eager").eval()


def score(r):
    m = keep(("score", r["model"], r["dtype"]), lambda: scorer(r))
    ids = torch.randint(0, m.config.vocab_size, (r["sequences"], r["length"]))
    a = time.perf_counter()
    with torch.inference_mode():
        for x in ids.split(4):
            h = m.model(input_ids=x, use_cache=False).last_hidden_state[:, :-1].reshape(-1, m.config.hidden_size)
            for part, y in zip(h.split(512), x[:, 1:].reshape(-1).split(512)):  # never all logits at once
                z = torch.nn.functional.linear(part, m.lm_head.weight).float()
                z.gather(-1, y[:, None])[:, 0] - z.logsumexp(-1)
    return time.perf_counter() - a


def answer(line):
    try:
        r = json.loads(line)
        return {"seconds": {"matmul": matmul, "train": train, "score": score}[r["do"]](r)}
    except Exception as e:  # whatever this build of torch cannot do is the answer
        return {"error": f"{type(e).__name__}: {e}".splitlines()[0]}


print(json.dumps({"version": f"torch {torch.__version__}"}), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(line)), flush=True)
