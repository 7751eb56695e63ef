"""Makes model/ and golden.json: a model of Qwen3-Embedding's architecture with random weights, and what transformers
makes of texts as the model card of Qwen3-Embedding says (instruction prefix, last-token pooling, L2 norm), in float64.

python3 make.py, in this folder; torch 2.9.1, transformers, tokenizers."""
import json

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

byte = pre_tokenizers.ByteLevel.alphabet()
vocab = {c: i for i, c in enumerate(sorted(byte))}
t = Tokenizer(models.BPE(vocab=vocab, merges=[]))
t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
t.decoder = decoders.ByteLevel()
t.add_special_tokens(["<|endoftext|>"])
end = t.token_to_id("<|endoftext|>")
t.post_processor = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)])
PreTrainedTokenizerFast(tokenizer_object=t, pad_token="<|endoftext|>", eos_token="<|endoftext|>",
                        padding_side="left").save_pretrained("model")

torch.manual_seed(1)
config = Qwen3Config(vocab_size=len(vocab) + 1, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, head_dim=6, max_position_embeddings=512,
                     rope_theta=1e6, tie_word_embeddings=True, rms_norm_eps=1e-6)
m = Qwen3Model(config)
for p in m.parameters():
    with torch.no_grad():
        p.copy_(torch.randn_like(p) * 0.3 + (1 if p.dim() == 1 else 0))
m.config.architectures = ["Qwen3ForCausalLM"]  # as the published folders have it
m.save_pretrained("model")
config = json.load(open("model/config.json"))
config["architectures"] = ["Qwen3ForCausalLM"]
json.dump(config, open("model/config.json", "w"), indent=1)
prompts = {"query": "Instruct: Find it\nQuery:", "document": ""}
json.dump({"prompts": prompts, "similarity_fn_name": "cosine"}, open("model/config_sentence_transformers.json", "w"))

tok = AutoTokenizer.from_pretrained("model", padding_side="left")
m = AutoModel.from_pretrained("model", dtype=torch.float64).eval()
documents = ["The bridge was built in 1931.", "Łódź lies in Poland.", "x",
             "A longer passage about a harbour, its ships and the people who work there. " * 3]
queries = ["When was the bridge built?", "harbour people", ""]


def embed(texts):
    b = tok(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        h = m(**b).last_hidden_state
    return torch.nn.functional.normalize(h[:, -1], p=2, dim=1)  # padded on the left


d, q = embed(documents), embed([prompts["query"] + x for x in queries])
json.dump({"documents": documents, "queries": queries, "ids": [tok(x)["input_ids"] for x in documents],
           "document_vectors": d.tolist(), "query_vectors": q.tolist(), "scores": (q @ d.T).tolist()},
          open("golden.json", "w"))
print((q @ d.T))
