"""A backbone of a few hundred thousand weights, made on the spot: for trials, tests and CI."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from tracecraft.schema import EXAMPLE
from tracecraft.stage import Desk, Job
from tracecraft.think import CLOSE, OPEN
from tracecraft.train.backbone import imported
from tracecraft.train.chat import TEMPLATES
from tracecraft.train.examples import Examples

END = "<|im_end|>"
SPECIAL = ("<|pad|>", "<|im_start|>", END, OPEN, CLOSE)
TOKENIZER_ROWS = 10_000
"""Examples that the vocabulary is learnt from."""


class Pico(Job, use="pico", version=2):
    """A Llama with random weights and a byte-level vocabulary learnt from the examples.

    Every digit is a token of its own, as in Qwen2.5.

    It knows nothing; what is trained from it shows that the way works, not what it leads to.
    """

    reads: ClassVar[tuple[pl.Schema, ...]] = (EXAMPLE,)

    hidden: int = Field(default=64, ge=8)
    """Width; a multiple of 4 times `heads`."""
    layers: int = Field(default=2, ge=1)
    """Transformer blocks."""
    heads: int = Field(default=4, ge=1)
    """Attention heads."""
    vocabulary: int = Field(default=512, ge=261)
    """Tokens, the 256 bytes among them."""
    context: int = Field(default=4_096, ge=64)
    """Positions that it knows."""
    template: str = TEMPLATES["chatml"]
    """Its chat template, in Jinja."""
    seed: int = 0
    """Of the weights."""

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        texts: list[str] = []
        for home in inputs:
            for rows in Examples.at(home, ()).read():
                texts += [turn["content"] for row in rows for turn in row["messages"]]
                if len(texts) >= 2 * TOKENIZER_ROWS:
                    break
        self.make(texts, into)

    def make(self, texts: Iterable[str], into: Path) -> None:
        """Write model and tokenizer to the folder `into`."""
        import torch

        transformers = imported()
        transformers.utils.logging.disable_progress_bar()
        tokenizer = _tokenizer(iter(texts), self.vocabulary, self.template, self.context)
        tokenizer.save_pretrained(into)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden,
            intermediate_size=3 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = transformers.LlamaForCausalLM(config)
        model.save_pretrained(into)


def _tokenizer(texts: Iterator[str], size: int, template: str, context: int) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    transformers = imported()
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(one, normalized=False) for one in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=SPECIAL[0],
        eos_token=END,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = template
    return tokenizer
