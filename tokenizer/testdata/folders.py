"""Random tokenizer folders and what transformers 5.23.0 (tokenizers 0.23.3) makes of them:
python folders.py SEED COUNT TEXTS OUT. folders.jsonl is that of seed 1, 80 folders, 2 texts each. The test reads any other by FOLDERS=OUT."""
import json, os, random, sys, tempfile, shutil
os.environ["TRANSFORMERS_VERBOSITY"]="critical"
from transformers import AutoTokenizer
from transformers.utils import logging
logging.set_verbosity(50)
seed, count, per, out = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = random.Random(seed)
WORDS = ["<x>", "<y>", "<z>", "<pad>", "<s>", "</s>", "tok", "ab", "a", "é", "e\u0301", "<x>y", " sp ", "Ġc"]
def switches(full):
    d = {k: rng.random() < .3 for k in ("single_word", "lstrip", "rstrip")}
    d["normalized"], d["special"] = rng.random() < .5, rng.random() < .5
    if not full:
        for k in list(d):
            if rng.random() < .3: del d[k]
    return d
def token(full=True): return {"content": rng.choice(WORDS), **switches(full)}
def spelled(legacy):
    "a token as text or object"
    r = rng.random()
    if r < .7: return rng.choice(WORDS)
    t = token(False)
    if not legacy: t["__type"] = "AddedToken"
    else: t.pop("special", None)
    return t
def folder():
    chars = {}
    def alphabet():
        bs = list(range(33,127))+list(range(161,173))+list(range(174,256)); cs = bs[:]; n = 0
        for b in range(256):
            if b not in bs: bs.append(b); cs.append(256+n); n += 1
        return [chr(c) for _, c in sorted(zip(bs, cs))]
    vocab = {c: i for i, c in enumerate(alphabet())}
    merges = [("a","b"),("Ġ","c"),("Ã","©"),("<","x")]
    for a, b in merges: vocab[a+b] = len(vocab)
    added, seen = [], set()
    for _ in range(rng.randrange(4)):
        t = token()
        if t["content"] in seen: continue
        seen.add(t["content"])
        added.append({"id": 300 + len(added) if rng.random() < .2 else 260 + len(added), **t})
    t = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
         "normalizer": {"type": "NFC"} if rng.random() < .3 else None,
         "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
         "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
         "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                   "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [list(m) for m in merges]}}
    if rng.random() < .1:
        t["padding"] = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": rng.choice(WORDS)}
    files = {}
    def names(c, legacy):
        for k in ("bos_token","eos_token","unk_token","pad_token","sep_token","cls_token","mask_token"):
            if rng.random() < .25: c[k] = spelled(legacy)
            elif rng.random() < .05: c[k] = None
        for k in ("image_token", "eoi_token"):
            if rng.random() < .15: c[k] = spelled(legacy)
        if rng.random() < .4: c["additional_special_tokens"] = [spelled(False) for _ in range(rng.randrange(4))]
        if rng.random() < .3:
            c["extra_special_tokens"] = [spelled(False) for _ in range(rng.randrange(3))] if rng.random() < .6 else {rng.choice(["image_token","audio_token","extra_token"]): rng.choice(WORDS) for _ in range(rng.randrange(3))}
        items = list(c.items()); rng.shuffle(items); c.clear(); c.update(items)
    if rng.random() < .9:
        c = {}
        names(c, False)
        if rng.random() < .5:
            ids = rng.sample(range(256, 275), rng.randrange(6))
            c["added_tokens_decoder"] = {str(i): token(rng.random() < .8) for i in ids}
        c["tokenizer_class"] = "PreTrainedTokenizerFast"
        files["tokenizer_config.json"] = c
    if rng.random() < .4:
        c = {}; names(c, True)
        files["special_tokens_map.json"] = c
    if rng.random() < .4:
        files["added_tokens.json"] = {w: 260 + rng.randrange(12) for w in rng.sample(WORDS, rng.randrange(4))}
    return t, files
def text():
    return "".join(rng.choice(WORDS + [" ", "  ", "\n", "q", "ab c", "x"]) for _ in range(rng.randrange(1, 9)))
n = 0
with open(out, "w") as f:
    while n < count:
        t, files = folder()
        d = tempfile.mkdtemp()
        json.dump(t, open(d + "/tokenizer.json", "w"))
        for name, c in files.items(): json.dump(c, open(d + "/" + name, "w"))
        try: tok = AutoTokenizer.from_pretrained(d)
        except Exception as e:
            print("refused:", str(e)[:100], file=sys.stderr); shutil.rmtree(d); continue
        shutil.rmtree(d)
        if t['normalizer'] and {'é','e\u0301'} <= {a.content for a in tok.added_tokens_decoder.values()}: continue # which one is found is chance
        texts = []
        for _ in range(per):
            s = text()
            ids = tok.encode(s, add_special_tokens=False)
            texts.append({"text": s, "ids": ids, "split": tok.encode(s, add_special_tokens=False, split_special_tokens=True),
                          "skip": tok.decode(ids, skip_special_tokens=True), "all": tok.decode(ids)})
        slim = {k: v for k, v in t.items() if k in ("added_tokens", "normalizer", "padding") and v}
        f.write(json.dumps({"tokenizer": slim, "files": files, "added": {i: a.content for i, a in tok.added_tokens_decoder.items()},
            "special": tok.special_tokens_map, "texts": texts}, ensure_ascii=False, separators=(",", ":")) + "\n")
        n += 1
