"""Pico checkpoints: Llamas of two layers with a tokenizer and a chat template of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HIDDEN, LAYERS, INNER, VOCAB = 32, 2, 64, 64
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": VOCAB,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "float32",
}
TEMPLATE = "{% for m in messages %}<s>{{ m.content }}{% endfor %}"

Make = Callable[..., Path]


def shapes(vocab: int = VOCAB, *, tied: bool = False) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, HIDDEN)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        found |= {
            f"{place}.self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            f"{place}.self_attn.k_proj.weight": (16, HIDDEN),
            f"{place}.self_attn.v_proj.weight": (16, HIDDEN),
            f"{place}.self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            f"{place}.mlp.gate_proj.weight": (INNER, HIDDEN),
            f"{place}.mlp.up_proj.weight": (INNER, HIDDEN),
            f"{place}.mlp.down_proj.weight": (HIDDEN, INNER),
            f"{place}.input_layernorm.weight": (HIDDEN,),
            f"{place}.post_attention_layernorm.weight": (HIDDEN,),
        }
    found["model.norm.weight"] = (HIDDEN,)
    return found if tied else found | {"lm_head.weight": (vocab, HIDDEN)}


def tokenizer(tokens: int = VOCAB) -> str:
    letters = [chr(c) for c in range(33, 33 + tokens - 3)]
    vocab = {token: i for i, token in enumerate(["<s>", "</s>", "<unk>", *letters])}
    added = [
        {"id": i, "content": token, "special": True, "single_word": False, "lstrip": False}
        | {"rstrip": False, "normalized": False}
        for token, i in list(vocab.items())[:3]
    ]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}}
            | {"behavior": "Isolated", "invert": False},
            "post_processor": None,
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        }
    )


def maker(tmp_path: Path) -> Make:
    """Write a checkpoint whose weights are the common ones plus a delta of its seed."""

    def write(
        name: str,
        seed: int = 0,
        *,
        delta: float = 1e-3,
        vocab: int = VOCAB,
        tokens: int = VOCAB,
        tied: bool = False,
        shards: int = 1,
        dtype: str = "float32",
        with_tokenizer: bool = True,
    ) -> Path:
        root = tmp_path / name
        root.mkdir()
        common, own = np.random.default_rng(7), np.random.default_rng(100 + seed)
        weights = {}
        for key, shape in shapes(vocab, tied=tied).items():
            start = 1 if "norm" in key else 0
            value = start + 0.1 * common.normal(size=shape)
            weights[key] = (value + delta * seed * own.normal(size=shape)).astype(np.float32)
        save(root, weights, shards, dtype)
        config = CONFIG | {"vocab_size": vocab, "tie_word_embeddings": tied, "torch_dtype": dtype}
        (root / "config.json").write_text(json.dumps(config))
        (root / "generation_config.json").write_text('{"eos_token_id": 1}')
        if with_tokenizer:
            (root / "tokenizer.json").write_text(tokenizer(tokens))
            kind = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}
            kind |= {"eos_token": "</s>", "unk_token": "<unk>", "chat_template": TEMPLATE}
            (root / "tokenizer_config.json").write_text(json.dumps(kind))
        return root

    return write


def save(root: Path, weights: dict[str, np.ndarray], shards: int, dtype: str) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    names = list(weights)
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    files = ["model.safetensors"] if shards == 1 else files
    where = {name: files[i * shards // len(names)] for i, name in enumerate(names)}
    for file in files:
        part = {name: weights[name] for name in names if where[name] == file}
        if dtype == "float32":
            save_file(part, root / file, {"format": "pt"})
        else:
            kind = getattr(torch, dtype)
            cast = {name: torch.from_numpy(value).to(kind) for name, value in part.items()}
            save_torch(cast, root / file, {"format": "pt"})
    if shards > 1:
        (root / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def weights_of(root: Path) -> dict[str, np.ndarray]:
    found = {}
    for file in sorted(root.glob("*.safetensors")):
        found |= load_file(file)
    return found


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


MERGE = """
import sys
from pathlib import Path
from tracecraft.errors import TracecraftError
from tracecraft.merge import merge_pair
base, other, out = map(Path, sys.argv[1:4])
try:
    merge_pair(base, other, out)
except TracecraftError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def merging(*folders: Path, **options) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MERGE, *map(str, folders)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def edited(root: Path, name: str, change) -> None:
    from safetensors.numpy import save_file

    weights = weights_of(root)
    change(weights)
    save_file(weights, root / name, {"format": "pt"})


def a_nan(weights):
    weights["model.layers.1.mlp.up_proj.weight"][9, 4] = np.nan
