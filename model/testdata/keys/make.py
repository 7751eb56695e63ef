"""Writes keys.json: the keys that config.json and adapter_config.json may have, with the versions of the libraries
that were asked.

    python make.py > keys.json

TestEveryKeyHasAVerdict fails for a key that model/verdicts.go does not know. init_lora_weights says what peft does
to the base weights when it loads an adapter that was saved with each value: "same", "changed", or "error".
"""
import dataclasses, inspect, json, os, re, sys, tempfile, warnings

import peft, torch, transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config, Qwen3Config
from transformers import configuration_utils
from transformers.modeling_rope_utils import RopeParameters

warnings.filterwarnings("ignore")
transformers.utils.logging.set_verbosity_error()

# Keys of PretrainedConfig of transformers 4 and of files on the hub, which transformers 5 does not declare.
OLDER = """
_attn_implementation_autoset _commit_hash _flash_attn_2_enabled _name_or_path add_cross_attention
attn_implementation auto_map compression_config cross_attention_hidden_size decoder_start_token_id
finetuning_task gradient_checkpointing head_dim is_causal is_decoder max_sequence_length mlp_bias
original_max_position_embeddings partial_rotary_factor prefix pretraining_tp pruned_heads quantization_config
rope_scaling rope_theta sep_token_id sliding_window task_specific_params tf_legacy_loss tie_encoder_decoder
tokenizer_class torch_dtype torchscript unsloth_fixed unsloth_version use_bfloat16 use_mrope is_llama_config
rope_interleaved transformers.js_config
""".split()
# Keys that other programs and older versions of peft put into adapter_config.json.
OLDER_LORA = "enable_lora merge_weights".split()
OLDER_ROPE = "type attn_factor finetuned extrapolation_factor".split()


def config_keys():
    keys = set(OLDER) | set(GenerationConfig._get_default_generation_params())
    init = inspect.getsource(configuration_utils.PreTrainedConfig.__post_init__)
    keys |= set(re.findall(r'kwargs\.(?:pop|get)\("(\w+)"', init))
    for f in (configuration_utils.PreTrainedConfig.get_config_dict,
            configuration_utils.PreTrainedConfig.save_pretrained):
        keys |= set(re.findall(r'"(\w+)" in (?:config_dict|self)\b', inspect.getsource(f)))
    for c in (LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config):
        keys |= {f.name for f in dataclasses.fields(c)} | set(c().to_dict()) | set(c().to_diff_dict())
        keys |= {k for k in c().__dict__ if not k.startswith("_")}
    return sorted(keys)


def adapter_keys():
    keys = {f.name for f in dataclasses.fields(LoraConfig)}
    keys |= {k for k in LoraConfig().__dict__ if not k.startswith("_")}
    return sorted(keys | set(OLDER_LORA))


def inits():
    """What loading does to the weights of the base."""
    c = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=32)
    out = {}
    for init in (True, False, "gaussian", "eva", "orthogonal", "mica", "pissa", "pissa_niter_4", "olora", "corda", "loftq",
                 "lora_ga"):
        torch.manual_seed(1)
        base = LlamaForCausalLM(c)
        before = {k: v.clone() for k, v in base.state_dict().items()}
        with tempfile.TemporaryDirectory() as d:
            config = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
            get_peft_model(LlamaForCausalLM(c), config).save_pretrained(d)
            path = os.path.join(d, "adapter_config.json")
            saved = json.load(open(path))
            saved["init_lora_weights"] = init
            if init == "loftq":
                saved["loftq_config"] = {"loftq_bits": 4, "loftq_iter": 1}
            json.dump(saved, open(path, "w"))
            try:
                after = PeftModel.from_pretrained(base, d).state_dict()
                after = {k.removeprefix("base_model.model.").replace(".base_layer", ""): v for k, v in after.items()}
                same = all(torch.equal(v, after[k]) for k, v in before.items())
                out[json.dumps(init)] = "same" if same else "changed"
            except Exception as e:
                print(init, type(e).__name__, e, file=sys.stderr)
                out[json.dumps(init)] = "error"
    return out


json.dump({
    "transformers": transformers.__version__, "peft": peft.__version__,
    "config.json": config_keys(), "rope_parameters": sorted(set(RopeParameters.__annotations__) | set(OLDER_ROPE)),
    "adapter_config.json": adapter_keys(), "init_lora_weights": inits(),
}, sys.stdout, indent=1)
print()
