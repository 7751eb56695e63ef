"""Makes tiny-llama3 and tiny-qwen: small byte-level BPE tokenizers with everything that is special about Llama 3's (its pattern, digits in
groups of three, ignore_merges with tokens that no merge makes) and Qwen's (NFC, its pattern, digits one by one, added tokens that are not
special), trained on texts made up here, and what the library makes of texts and ids.

pip install tokenizers==0.23.3; python families.py (in this folder)."""
import json, random
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

r = random.Random(17)
WORDS = ("the river Tarn runs past a mill, and its miller's daughter didn't read the 1905 almanac of 12345 pages; she'd rather count 250 swallows. "
         "été naïve Straße Ærø Ελλάδα город река Москва 東京 日本語 서울 한국어 ภาษาไทย हिन्दी العربية עברית don't we'll I'M they've x=y+1 {a: [1, 2]} -> != ## // http://a.b/c?d=1 "
         "camelCase snake_case\tTAB  two   three\n\nparagraph\r\nline ...!? “quoted” — dash … 🙂 👩‍👩‍👧 3.14159 0x1F 7th ½ Ⅷ ３").split(" ")
CORPUS = [" ".join(r.choice(WORDS) for _ in range(14)) + r.choice([".", "!\n", "?\n\n", " "]) for _ in range(500)]
PARTS = WORDS + [" ", "  ", "\n", "\n\n", "\r\n", "\t", "'s", "'LL", "'ſ", "e\u0301", "a\u0323\u0301", "\u1100\u1161", "\u00a0", "\u3000", "\u200b", "\u0085", "1", "12", "123", "1234567", "٣٤", "\x00", "<", "|", "_", "ab", "ABC"]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def make(name, pattern, specials, normalizer=None, whole=(), post=None):
    t = Tokenizer(models.BPE())
    if normalizer: t.normalizer = normalizer
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    d = json.loads(t.to_str())
    for w in whole: # tokens that no merge makes: found only where a piece is not merged
        spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(w)[0][0]
        assert spelled not in d["model"]["vocab"], w
        d["model"]["vocab"][spelled] = len(d["model"]["vocab"])
    d["model"]["ignore_merges"] = bool(whole)
    t = Tokenizer.from_str(json.dumps(d))
    t.decoder = decoders.ByteLevel()
    t.post_processor = post or processors.ByteLevel(trim_offsets=False)
    t.add_tokens(specials)
    t.save(name + ".json", pretty=False)
    parts = PARTS + [a.content for a in specials] * 2 + [w.strip() for w in whole] * 3
    with open(name + ".jsonl", "w") as f:
        for k in range(220):
            text = "".join(r.choice(parts) + r.choice(["", "", " "]) for _ in range(r.randint(0, 8)))
            parse, add = k % 3 != 0, k % 5 == 0
            t.encode_special_tokens = not parse
            ids = t.encode(text, add_special_tokens=add).ids
            t.encode_special_tokens = False
            f.write(json.dumps({"text": text, "parse_special": parse, "add_special": add, "ids": ids, "decoded": t.decode(ids, skip_special_tokens=False),
                                "decoded_skip_special": t.decode(ids)}, ensure_ascii=False, separators=(",", ":")) + "\n")
    with open(name + ".decode.jsonl", "w") as f:
        for k in range(60):
            ids = [r.randrange(t.get_vocab_size()) for _ in range(r.randint(1, 10))] if k % 2 else [r.randrange(256) for _ in range(r.randint(1, 12))]
            f.write(json.dumps({"ids": ids, "text": t.decode(ids, skip_special_tokens=False)}, ensure_ascii=False, separators=(",", ":")) + "\n")


special = lambda c: AddedToken(c, special=True, normalized=False)
make("tiny-llama3", LLAMA3, [special("<|open|>"), special("<|close|>"), special("<|turn|>")], whole=["almanacs", " rivers", "日本語東京", "905", "camelCases", " города"])
make("tiny-qwen", QWEN, [special("<|open|>"), special("<|close|>"), AddedToken("<think>", special=False, normalized=False), AddedToken("</think>", special=False, normalized=False)],
     normalizer=normalizers.NFC())
