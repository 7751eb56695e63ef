"""What tokenizers 0.23.3 makes of texts by the pre-tokenizers of published tokenizer.json files, and by single patterns:
python patterns.py OUT TEXTS. patterns.jsonl has 12 texts a case; the test reads any other by PATTERNS=OUT."""
import json, random, sys
from tokenizers import pre_tokenizers, Tokenizer, models
rng = random.Random(5)
def split(p, behavior="Isolated", invert=False): return {"type": "Split", "pattern": {"Regex": p}, "behavior": behavior, "invert": invert}
def text(p, behavior, invert=False): return {"type": "Split", "pattern": {"String": p}, "behavior": behavior, "invert": invert}
def seq(*parts): return {"type": "Sequence", "pretokenizers": list(parts)}
fold = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
o200k = "|".join([r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + fold + "?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + fold + "?", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
tekken = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
deepseek3 = seq(split(r"\p{N}{1,3}"), split(r"[一-龥぀-ゟ゠-ヿ]+"),
    split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"))
deepseek1 = seq(split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(r"[一-龥ࠀ-一가-퟿]+"), {"type": "Digits", "individual_digits": True}, split(r"\s+$"))
kimi = "|".join([r"[\p{Han}]+", r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + fold + "?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*" + fold + "?", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
cl100k = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
possessive = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
cases = {
    "o200k": split(o200k), "o200k, removed inverted": split(o200k, "Removed", True), "tekken": split(tekken), "deepseek v3": deepseek3, "deepseek v1": deepseek1,
    "kimi": split(kimi), "cl100k, possessive": split(possessive), "llama3, removed inverted": split(cl100k, "Removed", True), "llama3, contiguous": split(cl100k, "Contiguous"),
    "bloom": split(r" ?[^(\s|[.,!?…。，、।۔،])]+"), "starcoder": {"type": "Digits", "individual_digits": True}, "gemma": text(" ", "MergedWithPrevious"),
    "groups of three from the right": split(r"\d{1,3}(?=(?:\d{3})*\b)"), "words": split(r"\w+|[^\w\s]+"), "not words": split(r"\W+", "Removed"), "lines": split(r"^.*$"),
    "borders": split(r"\b\w"), "no borders": split(r"\B[\w\-]"), "lazy": split(r"<.+?>|\{{2,}"), "behind": split(r"(?<=[a-z])(?=[A-Z])|(?<!\d)\.", "MergedWithPrevious"),
    "case": split(r"(?i)treAtx|[a-c]x|K(?-i:q)|\x{e9}|\u0416"), "nested": split(r"[a-c[x-z]\d&&[^b2]]+|[^\S\n]+|[^\W\d_]+|[\]\-a^]+"), "empty": split("x*"), "atomic": split(r"(?>a+)b|(ab){2}|c{,2}d"),
}
for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
    for invert in (False, True):
        cases[f"{behavior} {invert}"] = split("[aeiou-]", behavior, invert)
        cases[f"text {behavior} {invert}"] = text("a.", behavior, invert)
cases |= {
    "not in two categories": split(r"[\P{L}]+|\p{^N}+"), "one of two that are not": split(r"[\P{L}\p{Lu}]+"),
    "not not": split(r"[^\P{L}a-e]+|[\D\P{N}]"), "empty, after a match": split(r"(?=[A-Z])|\s", "MergedWithNext"),
    "empty, inverted": split(r"(?=[A-Z])|\s", "MergedWithPrevious", True), "named": split(r"(?<word>\w+)(?<end_1>\h)?"),
}
units = ["'s", "'S", "'ſ", "'ll", "'lL", "'Re", "'", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u0085", "\u2028", "\u200b", "\u200d", "a", "Z", "é", "e\u0301", "ſ", "K", "日本", "ひ", "각", "ก็",
    "1", "23", "4567", "½", "Ⅷ", "३", ".", "!?", "🙂", "_", "-", "x", "camelCase", "HTTPServer", "straße", "tREatX", "a.", "<b>", "{{", "ab", "abab", "Ж", "ж", "]", "^", "|", "(", "…", "।", "/", "cd", "ǅ", "ʰ", "b2", "Kq", "kq", "$"]
with open(sys.argv[1], "w") as f:
    for name, pre in cases.items():
        t = Tokenizer(models.BPE())
        d = json.loads(t.to_str())
        d["pre_tokenizer"] = pre
        p = Tokenizer.from_str(json.dumps(d)).pre_tokenizer
        texts = []
        for _ in range(int(sys.argv[2])):
            s = "".join(rng.choice(units) for _ in range(rng.randrange(1, 14)))
            texts.append([s, [x for x, _ in p.pre_tokenize_str(s)]])
        f.write(json.dumps({"name": name, "pre_tokenizer": pre, "texts": texts}, ensure_ascii=False, separators=(",", ":")) + "\n")
