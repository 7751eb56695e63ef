"""Makes testdata/tiny/: two small tokenizers with every switch of added tokens, and what the library makes of texts.

pip install tokenizers==0.23.3; python tiny.py (in this folder). The texts are made up here.
"""
import json, random
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = "the quick brown fox jumps over a lazy dog while searching for answers in old documents and naming rivers towers poets cities".split()
r = random.Random(11)
CORPUS = [" ".join(r.choice(WORDS) for _ in range(12)).capitalize() + r.choice([".", "!", "?", ", 1905."]) for _ in range(400)]
PARTS = ["the", " fox", "Fox", " ", "  ", "\n", "\t", "é", "e\u0301", "日本", "🙂", "12", "'s", "[A]", "[B]", "[C]", "[D]", "[E]", "e\u0301[N]", "é[N]", "[A][B]", "x[C]", "[C]y", "_[C]", "1[C]2", "[", "]", "▁", "\u00a0", "\u3000[D] ", "[E][D]", "<0x41>", "\x00", "ß"]


def added():
    return [
        AddedToken("[A]", special=True, normalized=False),
        AddedToken("[B]", special=False, normalized=False, lstrip=True),
        AddedToken("[C]", special=False, normalized=True, single_word=True),
        AddedToken("[D]", special=True, normalized=True, rstrip=True),
        AddedToken("[E]", special=False, normalized=False, lstrip=True, rstrip=True, single_word=True),
        AddedToken("e\u0301[N]", special=False, normalized=True),
    ]


def cases(t, name):
    with open(name + ".jsonl", "w") as f:
        for k in range(400):
            text = "".join(r.choice(PARTS) for _ in range(r.randint(0, 9)))
            parse, add = k % 3 != 0, k % 5 == 0
            t.encode_special_tokens = not parse
            ids = t.encode(text, add_special_tokens=add).ids
            t.encode_special_tokens = False
            d, s = t.decode(ids, skip_special_tokens=False), t.decode(ids)
            f.write(json.dumps({"text": text, "parse_special": parse, "add_special": add, "ids": ids, "decoded": d, "decoded_skip_special": s}) + "\n")
    t.save(name + ".json", pretty=False)


b = Tokenizer(models.BPE())
b.normalizer = normalizers.NFC()
b.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
b.decoder = decoders.ByteLevel()
b.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"], show_progress=False))
b.add_tokens(added())
b.post_processor = processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])])
cases(b, "tiny-bytes")

m = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
m.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
m.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(128)], show_progress=False))
j = json.loads(m.to_str())
j["added_tokens"] = j["added_tokens"][:3]
m = Tokenizer.from_str(json.dumps(j))
m.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)])
m.add_tokens(added())
m.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
cases(m, "tiny-metaspace")

q = pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated")
t = Tokenizer(models.BPE())
t.pre_tokenizer = pre_tokenizers.Sequence([q, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
ODD = ["aaaa aaaaa aaa", "日本日本語 東京日本", "don't can't 1905 1905", "été été\n\n\n  x", "abab ababab abc"]
t.train_from_iterator(CORPUS[:100] + ODD * 3, trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<pad>", "</s>"], show_progress=False))
j = json.loads(t.to_str())["model"]
json.dump({"texts": CORPUS[:100] + ODD * 3, "vocab": j["vocab"], "merges": j["merges"]}, open("trained.json", "w"))
