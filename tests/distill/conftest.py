from pathlib import Path

import pytest

CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHARACTERS = [chr(code) for code in range(32, 127)]


@pytest.fixture(scope="session")
def pico(tmp_path_factory) -> Path:
    """A Llama of two layers with random weights, whose tokens are characters."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("pico") / "pico"
    special = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    words = [*special, "\n", *CHARACTERS]
    vocab = {word: i for i, word in enumerate(words)}
    characters = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<think>", "</think>"],
    )
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=vocab["<|im_end|>"],
        pad_token_id=vocab["<|im_end|>"],
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> Path:
    """A model with attention heads of 16 numbers, fewer than vLLM's kernels for the CPU know."""
    from tracecraft.train.pico import Pico

    folder = tmp_path_factory.mktemp("odd")
    Pico(hidden=64, heads=4).make([f"{i} and {i}" for i in range(200)], folder)
    return folder
