"""Writes what transformers computes from random small models with odd config.json files, a case a line.

    python make.py N SEED > cases.jsonl         # N cases
    python make.py golden > cases.jsonl         # the ones that are kept here
    ZEROSEARCH_CONFIG_CASES=cases.jsonl go test ./model -run TestConfigCases

A case is the text of config.json, the names of the tensors in its file with their shapes, and the log-probs of the
ids 1..n-1 given those before, or the error of transformers. Weights follow from name and place alone (see weight),
so that none has to be kept.
"""
import json, os, random, re, sys, tempfile, warnings

import numpy as np, torch, transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity_error()
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
VOCAB = 13
CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM",
           "qwen3": "Qwen3ForCausalLM"}
ABSENT = object()


def weight(name, shape):
    """Numbers in [-0.5, 0.5), about 1 for norms: an FNV hash of the name, mixed with the place."""
    h = 2166136261
    for b in name.encode():
        h = (h ^ b) * 16777619 & 0xFFFFFFFF
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) * 2654435761 + h) & 0xFFFFFFFF
    x ^= x >> 16
    x = x * 2246822507 & 0xFFFFFFFF
    x ^= x >> 13
    w = (x.astype(np.float64) / 2**32 - 0.5).astype(np.float32)
    if "norm" in name:
        w += 1
    return torch.from_numpy(w.reshape(shape))


def make(rng):
    """A random config.json and how its file of weights is made."""
    def pick(*values):
        return rng.choice(values)

    def put(key, *values):
        v = rng.choice(values)
        if v is not ABSENT:
            c[key] = v

    arch = pick(*CLASSES)
    layers, heads = pick(2, 3), pick(2, 4)
    c = {"vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": layers,
         "num_attention_heads": heads}
    put("architectures", *[[CLASSES[arch]]] * 8, ABSENT, ["Other", CLASSES[arch]])
    put("model_type", *[arch] * 12, pick(*CLASSES))
    if "architectures" not in c:
        c["model_type"] = arch
    put("num_key_value_heads", 1, 2, 2, heads, None, *([ABSENT] if arch == "llama" else []))
    put("head_dim", 4, 8, 6, *[ABSENT] * 3, *([] if rng.random() < 0.7 else [None]))
    put("max_position_embeddings", 16, 16, 64, 64, ABSENT)
    put("rms_norm_eps", 1e-5, 0.1, ABSENT)
    put("hidden_act", *["silu"] * 8, "swish", "gelu", ABSENT)
    put("attention_bias", True, False, ABSENT, ABSENT)
    put("mlp_bias", True, False, ABSENT, ABSENT)
    put("tie_word_embeddings", True, False, ABSENT)
    put("torch_dtype", "float32", "bfloat16", ABSENT)
    put("dtype", "float32", "float16", ABSENT, None)
    put("eos_token_id", 2, [2, 3], None, ABSENT)
    put("bos_token_id", 1, None, ABSENT)
    put("pad_token_id", 0, None, ABSENT, -1)
    put("initializer_range", 0.02, ABSENT)
    put("attention_dropout", 0.0, ABSENT)
    rope(rng, c, put, pick)
    windows(rng, c, put, pick, layers)
    for key, values in (
        ("is_causal", (True, False)),
        ("partial_rotary_factor", (1.0, 0.5, None)),
        ("pretraining_tp", (1, 2)),
        ("chunk_size_feed_forward", (0, 4)),
        ("use_cache", (True, False)),
        ("is_decoder", (True,)),
        ("unknown_key", (1,)),
        ("per_layer_config", ({"0": {"sliding_window": 3}}, None)),
        ("temperature", (0.5,)),
        ("num_labels", (3,)),
        ("final_logit_softcapping", (5.0,)),
        ("logit_scale", (0.1,)),
        ("query_pre_attn_scalar", (3,)),
    ):
        if rng.random() < 0.06:
            put(key, *values)
    if rng.random() < 0.08:
        c[pick("rms_norm_eps", "hidden_act", "max_position_embeddings", "tie_word_embeddings", "rope_theta",
               "attention_bias", "use_sliding_window", "layer_types", "sliding_window", "architectures", "partial_rotary_factor")] = None
    if rng.random() < 0.1:
        key = pick("attention_dropout", "unknown_float", "rms_norm_eps", "rope_theta", "partial_rotary_factor",
                   "temperature")
        c[key] = pick(float("nan"), float("inf"), {"__float__": "NaN"}, {"__float__": "-Infinity"})
    tied = c.get("tie_word_embeddings")
    head = pick("own", "own", "own", "same", "differs", "only") if tied else pick("own", "own", "own", "none")
    return arch, c, head


def rope(rng, c, put, pick):
    def scaling():
        kind = pick("default", "default", "llama3", "llama3", "llama3", "linear", "dynamic", "yarn", "longrope", None)
        d = {}
        if kind:
            for key in pick(("type",), ("rope_type",), ("rope_type",), ("type", "rope_type")):
                d[key] = kind
            if len(d) == 2 and rng.random() < 0.5:
                d["type"] = pick("default", "linear", "llama3")
        if kind not in ("default", None) or rng.random() < 0.3:
            d["factor"] = pick(2.0, 4.0)
        if kind == "llama3" or rng.random() < 0.1:
            d["low_freq_factor"], d["high_freq_factor"] = 1.0, 4.0
        if kind in ("llama3", "yarn", "longrope") and rng.random() < 0.7 or rng.random() < 0.1:
            d["original_max_position_embeddings"] = pick(8, 12, 32)
        if kind == "longrope":
            d["short_factor"], d["long_factor"] = [1.0] * 4, [2.0] * 4
        if rng.random() < 0.4:
            d["rope_theta"] = pick(100.0, 5000.0)
        if rng.random() < 0.05:
            d["partial_rotary_factor"] = pick(1.0, 0.5, None)
        if rng.random() < 0.05:
            d[pick("rope_theta", "rope_type", "type", "factor", "original_max_position_embeddings")] = None
        if rng.random() < 0.1:
            d[pick("unknown", "beta_fast", "truncate", "mscale", "attention_factor", "Rope_Theta")] = pick(2, 3.0)
        if rng.random() < 0.1:
            d = {pick("full_attention", "sliding_attention"): d}
        return d

    put("rope_theta", 100.0, 500, 20000.0, ABSENT, ABSENT)
    which = pick("none", "old", "old", "new", "new", "both")
    if which in ("old", "both"):
        c["rope_scaling"] = scaling() if rng.random() < 0.8 else pick(None, {})
    if which in ("new", "both"):
        c["rope_parameters"] = scaling() if rng.random() < 0.8 else pick(None, {})
    if rng.random() < 0.15:
        c["original_max_position_embeddings"] = pick(6, 24)


def windows(rng, c, put, pick, layers):
    if rng.random() < 0.5:
        if c.get("model_type") == "mistral":
            c["sliding_window"] = None
        return
    put("sliding_window", 4, 4, 16, 4096, None, ABSENT, 0)
    put("use_sliding_window", True, True, False, ABSENT)
    put("max_window_layers", 0, 1, layers, layers + 5, ABSENT)
    if rng.random() < 0.4:
        kinds = pick(["full_attention"], ["full_attention"], ["full_attention", "sliding_attention"],
                     ["attention", "full_attention"])
        c["layer_types"] = [pick(*kinds) for _ in range(layers - (rng.random() < 0.1))]
        if rng.random() < 0.2:
            c["layer_types"] = None


def run(arch, c, head):
    case = {"config": json.dumps(c), "tensors": {}}
    try:
        with tempfile.TemporaryDirectory() as d:
            open(os.path.join(d, "config.json"), "w").write(case["config"])
            with torch.device("meta"):
                empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(d))
            shapes = {k: tuple(v.shape) for k, v in empty.state_dict().items()}
            embed, out = "model.embed_tokens.weight", "lm_head.weight"
            file = {k: weight(k, s) for k, s in shapes.items() if k != out}
            if not c.get("tie_word_embeddings") and head != "none":
                file[out] = weight(out, shapes[out])
            elif head == "same":
                file[out] = file[embed].clone()
            elif head == "differs":
                file[out] = weight(out, shapes[out])
            elif head == "only":
                file[out] = weight(out, shapes[out])
                del file[embed]
            save_file(file, os.path.join(d, "model.safetensors"))
            # A layer's tensors are written once, as model.layers.*.
            case["tensors"] = {re.sub(r"layers\.\d+", "layers.*", k): list(v.shape) for k, v in file.items()}
            case["same"] = head == "same"
            m, info = AutoModelForCausalLM.from_pretrained(d, dtype=torch.float32, attn_implementation="eager",
                output_loading_info=True)
            missing = sorted(info["missing_keys"]) + [str(k) for k in info["mismatched_keys"]]
            if missing:
                raise ValueError(f"missing: {missing}")
            with torch.no_grad():
                logp = m.eval()(torch.tensor([IDS])).logits[0].double().log_softmax(-1)
            values = [float(logp[i, t]) for i, t in enumerate(IDS[1:])]
            if not all(np.isfinite(values)):
                raise ValueError("the log-probs are not finite")
            case["logprobs"] = [round(v, 6) for v in values]
    except Exception as e:
        case = {"config": case["config"]}
        case["error"] = (type(e).__name__ + ": " + str(e)).replace("\n", " ")[:200]
    return case


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        n, seed = 48, 7
    else:
        n, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    print(json.dumps({"transformers": transformers.__version__, "ids": IDS}))
    done = 0
    while done < n:
        arch, c, head = make(rng)
        if sys.argv[1] == "golden" and c.get("hidden_act") == "gelu":
            continue  # always refused
        case = run(arch, c, head)
        if "error" in case and rng.random() < 0.8:
            continue  # of those that transformers refuses a few are enough
        print(json.dumps(case))
        done += 1
