"""Writes chat.jsonl: ids and masks of conversations by transformers 5.23.0, and what of them TRL trains on.

    python make.py SHARED/data/tokenizers > chat.jsonl

ids are those of apply_chat_template over the whole conversation; where a token would cross the end of a prompt (TRL warns), prompt and
completion are tokenized apart, as a model meets them. A message of the assistant is trained on if the conversation up to it,
rendered with it at the end, stands in the ids (TRL: prompt = apply_chat_template(before, add_generation_prompt=True), the completion is
what the ids have behind it). TRL trains on the blanks behind the end of the turn, too; here the mask ends with the turn.
"""
import gzip, json, sys, tempfile
from transformers import PreTrainedTokenizerFast

root = sys.argv[1]


def load(name, special, template):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        f.write(gzip.open(f"{root}/{name}/tokenizer.json.gz").read())
        f.flush()
        t = PreTrainedTokenizerFast(tokenizer_file=f.name, **special)
    if template.endswith(".json"):
        t.chat_template = json.load(open(f"{root}/{template}"))["chat_template"]
    else:
        t.chat_template = open(f"{root}/chat_templates/{template}").read()
    return t


def u(text): return {"role": "user", "content": text}
def a(text, **more): return {"role": "assistant", "content": text, **more}


call = {"type": "function", "function": {"name": "search", "arguments": {"query": "Seine"}}}
tools = [{"type": "function", "function": {"name": "search", "description": "Search.", "parameters": {"type": "object", "properties": {
    "query": {"type": "string", "description": "what"}}, "required": ["query"]}}}]
rows = [
    {"messages": [u("Hi"), a("Hello")]},
    {"messages": [{"role": "system", "content": "Be brief."}, u("Hi"), a("Hello"), u("Bye"), a("Ciao, until tomorrow.")]},
    {"messages": [u("Hi"), a("Hello"), u("Bye"), a("Ciao"), u("left out")]},
    {"messages": [u("Hi"), a("<think>\nA greeting.\n</think>\n\nHello")]},
    {"messages": [u("Hi"), a("<think>\nA greeting.\n</think>\n\nHello"), u("Bye"), a("<think>\nIt ends.\n</think>\n\nCiao")]},
    {"messages": [u("Hi"), a("Hello", reasoning_content="A greeting.")]},
    {"messages": [u("Who?"), a("I write <|im_end|> and <|eot_id|> here, then go on.")]},
    {"messages": [u("Hi"), a("Hello \n")]},
    {"messages": [u("Seine?"), a("", tool_calls=[call]), {"role": "tool", "content": "777 km"}, a("777 km long.")], "tools": tools},
    {"messages": [u("Hi"), a("Hello")], "chat_template_kwargs": {"enable_thinking": False}},
    {"prompt": [u("Hi"), a("Hello"), u("Bye")], "completion": [a("Ciao")]},
]
for name, tokenizer, special, template, ends in [
    ("smollm2", "smollm2", {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}, "smollm2/tokenizer_config.json", ["<|im_end|>"]),
    ("qwen2.5", "qwen3", {"eos_token": "<|im_end|>"}, "Qwen-Qwen2.5-7B-Instruct.jinja", ["<|im_end|>", "<|endoftext|>"]),
    ("qwen3", "qwen3", {"eos_token": "<|im_end|>"}, "Qwen-Qwen3-0.6B.jinja", ["<|im_end|>", "<|endoftext|>"]),
    ("qwen3.5", "qwen3", {"eos_token": "<|im_end|>"}, "Qwen3.5-4B.jinja", ["<|im_end|>", "<|endoftext|>"]),
    ("qwq", "qwen3", {"eos_token": "<|im_end|>"}, "Qwen-QwQ-32B.jinja", ["<|im_end|>", "<|endoftext|>"]),
    ("smollm3", "qwen3", {"eos_token": "<|im_end|>"}, "HuggingFaceTB-SmolLM3-3B.jinja", ["<|im_end|>"]),
    ("llama3.1", "llama3", {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, "meta-llama-Llama-3.1-8B-Instruct.jinja",
     ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"]),
    ("llama3.2", "llama3", {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, "meta-llama-Llama-3.2-3B-Instruct.jinja",
     ["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"]),
]:
    tok = load(tokenizer, special, template)
    stops = {tok.convert_tokens_to_ids(e) for e in ends} - {None}
    for row in rows:
        messages = row.get("messages") or row["prompt"] + row["completion"]
        first = len(row.get("prompt", []))
        last = max(i for i, m in enumerate(messages) if m["role"] == "assistant")
        kwargs = dict(row.get("chat_template_kwargs", {}), date_string="26 Jul 2024")

        def text(part, generation=False):
            return tok.apply_chat_template(part, tools=row.get("tools"), add_generation_prompt=generation, tokenize=False, **kwargs)

        def ids(s): return tok(s, add_special_tokens=False)["input_ids"]

        out = {"template": template, "tokenizer": tokenizer, "special": special, "ends": sorted(stops), "row": dict(row, chat_template_kwargs=kwargs)}
        try:
            whole = text(messages[:last + 1])
        except Exception as e:
            print(f"{name}: {e}", file=sys.stderr)
            continue
        pieces, done = [], 0
        for i in range(first, last + 1):
            if messages[i]["role"] != "assistant":
                continue
            try:
                prompt, then = text(messages[:i], True), text(messages[:i + 1])
            except Exception:
                continue
            if not then.startswith(prompt):  # the generation prompt opens a thought that the message does not have
                prompt = prompt[:prompt.rfind("<think>")]
                if not then.startswith(prompt):
                    continue
            end = max(then.rfind(e) + len(e) for e in ends if e in then)
            if then[end:].strip():
                continue
            if whole.startswith(then[:end]):
                pieces += [(whole[done:len(prompt)], 0), (whole[len(prompt):end], 1)]
                done = end
        out["ids"], out["mask"], before = [], [], ""
        for part, learn in pieces + [(whole[done:], 0)]:
            before += part
            now, n = ids(before), len(out["ids"])
            new = now[n:] if now[:n] == out["ids"] else ids(part)
            out["ids"], out["mask"] = out["ids"] + new, out["mask"] + [learn] * len(new)
        if out["ids"] != ids(whole):
            print(f"{name}: a token would cross the end of the prompt: {row}", file=sys.stderr)
        print(json.dumps(out, ensure_ascii=False))

# The masks of transformers itself, where a template marks what the assistant generates (return_assistant_tokens_mask).
marked = ("{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}"
          "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
          "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
tok = load("smollm2", {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"}, "smollm2/tokenizer_config.json")
tok.chat_template = marked
for row in rows:
    if "messages" in row and all("tool_calls" not in m for m in row["messages"]) and row["messages"][-1]["role"] == "assistant":
        got = tok.apply_chat_template(row["messages"], return_assistant_tokens_mask=True, return_dict=True)
        print(json.dumps({"template": "marked", "source": marked, "tokenizer": "smollm2", "special": {}, "ends": [2], "row": row,
                          "ids": got["input_ids"], "mask": got["assistant_masks"]}, ensure_ascii=False))
