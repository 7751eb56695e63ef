#!/usr/bin/env python3
"""Checks `zerosearch serve` with the official `openai` package, and against `zerosearch generate` offline.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install openai prometheus_client
    /tmp/v/bin/python bench/openai_client.py path/to/zerosearch path/to/model

Starts the server on a free port, asks it in every way that the package knows, stops it with SIGTERM. Prints a line a check and
exits 1 at the first that fails. Nothing of the project needs Python: this only measures it with somebody else's client.
"""
import asyncio, json, os, signal, subprocess, sys, tempfile, urllib.request

import openai
from prometheus_client.parser import text_string_to_metric_families

binary, model = sys.argv[1:3]
server = subprocess.Popen([binary, "serve", "--json", "--model", model, "--port", "0", "--max-queue", "16", "--served-model-name", "m", "--dtype", "bf16"],
                          stdout=subprocess.PIPE, text=True, env={**os.environ, "ZEROSEARCH_API_KEY": "sesame"})
url = json.loads(server.stdout.readline())["url"]
client = openai.OpenAI(base_url=url + "/v1", api_key="sesame", max_retries=0)
chat = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Name three animals of the sea."}]


def check(name, ok):
    print("ok  " if ok else "FAIL", name, flush=True)
    if not ok:
        server.kill()
        sys.exit(1)


def refused(kind, **kw):
    try:
        client.chat.completions.create(**{"model": "m", "messages": chat, "max_tokens": 4, **kw})
    except kind as e:
        return e
    return None


def offline(requests, *flags):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("\n".join(json.dumps(r) for r in requests) + "\n")
        f.flush()
        out = subprocess.run([binary, "generate", "--model", model, "--dtype", "bf16", "--data", f.name, *flags], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


check("models", [m.id for m in client.models.list()] == ["m"] and client.models.retrieve("m").id == "m")

# Whole, streamed, and offline are one text. (Line 1 of generate draws from the stream of choice 1.)
r = client.chat.completions.create(model="m", messages=chat, max_tokens=40, temperature=0.7, top_p=0.9, seed=7, n=3, logprobs=True, top_logprobs=2)
check("chat: usage", r.usage.completion_tokens > 0 and r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens)
check("chat: logprobs", all(len(t.top_logprobs) == 2 and t.logprob <= 0 for c in r.choices for t in c.logprobs.content))
check("chat: text is that of the logprobs", all(b"".join(bytes(t.bytes) for t in c.logprobs.content).decode() == c.message.content for c in r.choices))
got, finish, usage = ["", "", ""], [None] * 3, None
for chunk in client.chat.completions.create(model="m", messages=chat, max_tokens=40, temperature=0.7, top_p=0.9, seed=7, n=3, stream=True,
                                            stream_options={"include_usage": True}):
    usage = chunk.usage or usage
    for c in chunk.choices:
        got[c.index] += c.delta.content or ""
        finish[c.index] = c.finish_reason or finish[c.index]
check("chat: stream is the whole", got == [c.message.content for c in r.choices] and finish == [c.finish_reason for c in r.choices])
check("chat: usage of a stream", usage.completion_tokens == r.usage.completion_tokens)
off = offline([{"messages": chat}] * 2, "--max-tokens", "40", "--temperature", "0.7", "--top-p", "0.9", "--seed", "7")
check("chat: choices 1 and 2 are lines 1 and 2 of generate", [o["text"] for o in off] == got[1:])

prompts = ["The whale is", "Once upon a time"]
r = client.completions.create(model="m", prompt=prompts, max_tokens=24, temperature=0, logprobs=3)
off = offline([{"text": p} for p in prompts], "--max-tokens", "24", "--temperature", "0")
check("completions: greedy batch as offline", [c.text for c in r.choices] == [o["text"] for o in off])
check("completions: logprobs", all(abs(a - b) < 1e-6 for c, o in zip(r.choices, off) for a, b in zip(c.logprobs.token_logprobs, o["logprobs"])))
ids = json.loads(subprocess.run([binary, "tokenize", "--tokenizer", model], input='{"text": "The whale is"}\n', check=True, capture_output=True, text=True).stdout)["ids"]
check("completions: ids", client.completions.create(model="m", prompt=ids, max_tokens=24, temperature=0).choices[0].text == r.choices[0].text)
stop = r.choices[0].text[10:16]
s = client.completions.create(model="m", prompt=prompts[0], max_tokens=24, temperature=0, stop=[stop])
check("completions: stop", s.choices[0].text == r.choices[0].text[:r.choices[0].text.index(stop)] and s.choices[0].finish_reason == "stop")
text = "".join(c.choices[0].text for c in client.completions.create(model="m", prompt=prompts[0], max_tokens=24, temperature=0, stream=True) if c.choices)
check("completions: stream", text == r.choices[0].text)
parts = [{"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]}]
whole = [{"role": "user", "content": "Say hello."}]
a, b = (client.chat.completions.create(model="m", messages=m, max_tokens=8, temperature=0).choices[0].message.content for m in (parts, whole))
check("chat: content in parts", a == b)

check("400", refused(openai.BadRequestError, max_tokens=0).param == "max_tokens")
check("400: context", refused(openai.BadRequestError, messages=[{"role": "user", "content": "whale " * 20000}]).code == "context_length_exceeded")
check("400: tools", refused(openai.BadRequestError, tools=[{"type": "function", "function": {"name": "f"}}]) is not None)
check("404", refused(openai.NotFoundError, model="gpt-4").code == "model_not_found")
check("413", refused(openai.APIStatusError, messages=[{"role": "user", "content": "x" * (10 << 20)}]).status_code == 413)
client.api_key = "wrong"
check("401", refused(openai.AuthenticationError).code == "invalid_api_key")
client.api_key = "sesame"


async def crowd():
    many = openai.AsyncOpenAI(base_url=url + "/v1", api_key="sesame", max_retries=0)
    one = lambda: many.chat.completions.create(model="m", messages=chat, max_tokens=16, seed=3)
    all_ = await asyncio.gather(*(one() for _ in range(40)), return_exceptions=True)
    texts = {r.choices[0].message.content for r in all_ if not isinstance(r, Exception)}
    limited = [e for e in all_ if isinstance(e, Exception)]
    return len(texts) == 1 and limited and all(isinstance(e, openai.RateLimitError) and e.response.headers["retry-after"] for e in limited)


check("429 beyond the queue, one text for the rest", asyncio.run(crowd()))
stream = client.chat.completions.create(model="m", messages=chat, max_tokens=2000, stream=True)
next(iter(stream))
stream.close()


def metrics():
    q = urllib.request.Request(url + "/metrics", headers={"Authorization": "Bearer sesame"})
    return {f.name: f for f in text_string_to_metric_families(urllib.request.urlopen(q).read().decode())}


for _ in range(200):
    m = metrics()
    if m["zerosearch_engine_running"].samples[0].value == 0:
        break
check("a client that leaves is noticed", m["zerosearch_engine_running"].samples[0].value == 0 and m["zerosearch_sequences_in_flight"].samples[0].value == 0)
check("metrics parse", m["zerosearch_http_requests"].type == "counter" and m["zerosearch_time_to_first_token_seconds"].type == "histogram")
check("health needs no key", json.load(urllib.request.urlopen(url + "/health")) == {"status": "ok"})

stream = client.chat.completions.create(model="m", messages=chat, max_tokens=64, stream=True)
next(iter(stream))
server.send_signal(signal.SIGTERM)
check("SIGTERM: what is under way is finished", [c.choices[0].finish_reason for c in stream][-1] in ("stop", "length"))
check("SIGTERM: exit 0", server.wait(30) == 0)
