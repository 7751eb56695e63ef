"""Writes what peft computes with random adapter_config.json files over one small model, a case a line.

    python make.py N SEED > cases.jsonl         # N cases
    python make.py golden > cases.jsonl         # the ones that are kept here
    ZEROSEARCH_ADAPTER_CASES=cases.jsonl go test ./model -run TestAdapterCases

A case is the text of adapter_config.json, the adapted modules with their ranks, what the names of the tensors have
behind lora_A and lora_B, and the log-probs of the ids 1..n-1 given those before, or the error of peft. Weights
follow from names, as in ../configs.
"""
import json, os, random, re, sys, tempfile, warnings

import numpy as np, peft, torch, transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "configs"))
from make import IDS, weight

warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity_error()
BASE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 13, "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def base():
    m = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in BASE.items() if k not in ("architectures", "model_type")}))
    m.load_state_dict({k: weight(k, v.shape) for k, v in m.state_dict().items()})
    return m.eval()


def make(rng):
    """A random adapter_config.json and the name that its tensors carry."""
    def pick(*values):
        return rng.choice(values)

    some = rng.sample(MODULES, rng.randint(1, 4))
    targets = pick(some, some, some, "all-linear", r".*\.(q|v)_proj", r"model\.layers\.[02]\..*",
                   ["self_attn.q_proj", "mlp.up_proj"], some + ["model.layers.1.mlp.gate_proj"],
                   some + ["1.self_attn.o_proj"])
    c = {"peft_type": "LORA", "task_type": pick("CAUSAL_LM", "CAUSAL_LM", None), "r": pick(1, 2, 3),
         "lora_alpha": pick(2, 4, 8.5, 3, 1, -2, 6, 2, 4, 0), "target_modules": targets}
    for key, values in (
        ("use_rslora", (True, False, None)),
        ("lora_dropout", (0.0, 0.1)),
        ("bias", ("none", "all")),
        ("fan_in_fan_out", (True, False)),
        ("inference_mode", (True, False)),
        ("ensure_weight_tying", (True, False)),
        ("velora_config", (None, {"num_groups": 4})),
        ("eva_config", (None, {"rho": 1.0})),
        ("loftq_config", ({}, None)),
        ("revision", ("main", None)),
        ("megatron_core", ("x",)),
        ("init_lora_weights", (True, False, "gaussian", "eva", "mica", "pissa", "olora", "lora_ga")),
        ("use_dora", (False, True)),
        ("lora_bias", (False, True)),
        ("exclude_modules", (None, [], ["v_proj"], ["1.self_attn.q_proj"], r".*\.1\..*")),
        ("layers_to_transform", (None, [], 1, [0, 2])),
        ("layers_pattern", (None, "layers", ["layers"], "blocks", [])),
        ("modules_to_save", (None, [], ["lm_head"])),
        ("rank_pattern", ({}, {"q_proj": 4}, {"layers.1.self_attn.q_proj": 1, ".*proj": 2},
                          {"^model.layers.0.mlp.up_proj": 5}, {"proj": 7})),
        ("alpha_pattern", ({}, {"v_proj": 3}, {".*layers.0.*": 16.5}, {"1.self_attn.q_proj": 1, "q_proj": 9})),
        ("trainable_token_indices", (None, [1, 2])),
        ("target_parameters", (None, [])),
        ("layer_replication", (None, [[0, 2], [1, 3]])),
        ("use_qalora", (False,)),
        ("qalora_group_size", (16, 8)),
        ("key_of_the_future", (True, None)),
        ("auto_mapping", (None, {"a": "b"})),
        ("runtime_config", ({"ephemeral_gpu_offload": True},)),
        ("merge_weights", (False, True)),
        ("peft_version", ("0.9.0", None)),
    ):
        if rng.random() < 0.13:
            c[key] = pick(*values)
    return c, pick("", "", "", "default")


def run(c, name):
    case = {"config": json.dumps(c)}
    try:
        with tempfile.TemporaryDirectory() as d:
            json.dump(c, open(os.path.join(d, "adapter_config.json"), "w"))
            ignored = ("peft_type", "runtime_config", "merge_weights", "key_of_the_future", "auto_mapping")
            config = LoraConfig(**{k: v for k, v in json.loads(case["config"]).items() if k not in ignored})
            get_peft_model(base(), config).save_pretrained(os.path.join(d, "x"))
            with safe_open(os.path.join(d, "x", "adapter_model.safetensors"), "pt") as f:
                shapes = {k: list(f.get_slice(k).get_shape()) for k in f.keys()}
            suffix = ("." + name if name else "") + ".weight"
            tensors = {}
            for k, s in shapes.items():
                full = re.sub(r"(lora_[AB])\.weight$", r"\1" + suffix, k)
                tensors[full] = weight(k, s)
            save_file(tensors, os.path.join(d, "adapter_model.safetensors"))
            case["name"] = name
            case["ranks"] = {k.removeprefix("base_model.model.model.layers.").removesuffix(".lora_A.weight"): s[0]
                             for k, s in shapes.items() if k.endswith(".lora_A.weight")}
            case["other"] = sum(not re.search(r"lora_[AB]\.weight$", k) for k in shapes)
            m = PeftModel.from_pretrained(base(), d).eval()
            with torch.no_grad():
                logp = m(torch.tensor([IDS])).logits[0].double().log_softmax(-1)
            if not torch.isfinite(logp).all():
                raise ValueError("the log-probs are not finite")
            case["logprobs"] = [round(float(logp[i, t]), 6) for i, t in enumerate(IDS[1:])]
    except Exception as e:
        case = {"config": case["config"], "error": (type(e).__name__ + ": " + str(e)).replace("\n", " ")[:200]}
    return case


if __name__ == "__main__":
    n, seed = (36, 3) if sys.argv[1] == "golden" else (int(sys.argv[1]), int(sys.argv[2]))
    rng = random.Random(seed)
    print(json.dumps({"peft": peft.__version__, "ids": IDS, "base": json.dumps(BASE)}))
    done = 0
    while done < n:
        case = run(*make(rng))
        if "error" in case and rng.random() < 0.8:
            continue
        print(json.dumps(case))
        done += 1
