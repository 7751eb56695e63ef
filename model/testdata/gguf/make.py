"""GGUF files of llama.cpp's own Python for gguf_test.go: make.py LLAMACPP, its source folder; needs numpy and torch.

dequant.gguf       for every type that is read here blocks of random bytes, and as F32 tensors TYPE.want what gguf-py's
                   quants.dequantize makes of them
small-*.gguf       the folders of that name in ../models, by convert_hf_to_gguf.py without their (missing) tokenizers
"""

import os
import runpy
import sys

source = sys.argv[1]
here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(source, "gguf-py"), source]

import gguf  # noqa: E402
import numpy as np  # noqa: E402
from gguf import GGMLQuantizationType as T  # noqa: E402

# Types, with the places of their F16 numbers in a block: random bytes would make some of them NaN or infinite.
TYPES = {
    T.F32: None, T.F16: [0], T.BF16: None, T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
}


def dequant():
    random = np.random.default_rng(7)
    w = gguf.GGUFWriter(os.path.join(here, "dequant.gguf"), "llama")
    w.add_string("test.version", gguf.__version__ if hasattr(gguf, "__version__") else "")
    for t, halves in TYPES.items():
        elements, size = gguf.GGML_QUANT_SIZES[t]
        rows, blocks = 3, max(1, 256 // elements) * 2
        raw = random.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
        if halves is None:
            values = random.standard_normal((rows, blocks)).astype(np.float32)
            raw = values.view(np.uint8) if t == T.F32 else (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
        else:
            for at in halves:
                scale = random.standard_normal((rows, blocks)).astype(np.float16)
                raw[:, :, at : at + 2] = scale.view(np.uint8).reshape(rows, blocks, 2)
        raw = raw.reshape(rows, blocks * size)
        want = gguf.quants.dequantize(raw if t != T.F32 else raw.view(np.float32), t)
        w.add_tensor(t.name, raw, raw_dtype=t)
        w.add_tensor(t.name + ".want", np.ascontiguousarray(want, dtype=np.float32).reshape(rows, blocks * elements))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def convert(name):
    from conversion.base import TextModel

    TextModel.set_vocab = lambda self: None
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()) if getattr(module, "__name__", "").startswith("conversion") else []:
            if isinstance(value, type) and issubclass(value, TextModel):
                value.set_vocab = lambda self: None
    sys.argv[1:] = [os.path.join(here, "..", "models", name), "--outtype", "f32", "--outfile",
                    os.path.join(here, name + ".gguf")]
    runpy.run_path(os.path.join(source, "convert_hf_to_gguf.py"), run_name="__main__")


if len(sys.argv) > 2:  # one model a process: the converter ends it
    import conversion  # noqa: F401, E402
    import conversion.llama  # noqa: F401, E402
    import conversion.qwen  # noqa: F401, E402

    convert(sys.argv[2])
else:
    import subprocess

    dequant()
    for model in ["small-llama3-rope", "small-qwen2", "small-qwen3"]:
        subprocess.run([sys.executable, os.path.abspath(__file__), source, model], check=True)
