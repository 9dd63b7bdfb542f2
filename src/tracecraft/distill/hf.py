"""The engine of last resort: a model in this process through transformers, batch by batch."""

import gc
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from tracecraft.distill.child import visible_gpus
from tracecraft.distill.engine import Completion, Request, Sampling, Session
from tracecraft.distill.weights import Weights, first_line
from tracecraft.errors import EngineError, MissingExtra
from tracecraft.plugin import Volatile

log = logging.getLogger(__name__)


class Transformers(Weights, use="transformers", version=1):
    """A model in this process, through transformers: slower than vLLM, at home wherever torch is.

    Each row of a batch is drawn with a generator of its own, so the seed decides and not the
    neighbours, up to the rounding of a batch of another shape.
    """

    batch: Annotated[int, Volatile, Field(gt=0)] = 16
    """Completions drawn at once. Fewer need less memory."""

    @property
    def gpus(self) -> int:
        return min(1, len(visible_gpus()))

    @contextmanager
    def open(self) -> Iterator[Session]:
        try:
            import torch
            from safetensors import SafetensorError
            from transformers import AutoModelForCausalLM
            from transformers.utils import logging as spoken
        except ImportError:
            raise MissingExtra("transformers", "local", "the engine `transformers`") from None
        spoken.disable_progress_bar()  # type: ignore[no-untyped-call]
        place = self.place()
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                place,
                revision=self.revision or None if place == self.model else None,
                dtype=self.dtype if self.dtype == "auto" else getattr(torch, self.dtype),
            )
            if torch.accelerator.is_available():
                model.to(torch.accelerator.current_accelerator())
        except (OSError, ValueError, RuntimeError, MemoryError, SafetensorError) as error:
            raise EngineError(
                f"transformers: {self.model} did not start: {first_line(error)}"
                "\n  next   check the model's folder or hub id, or take a smaller model"
            ) from error
        try:
            yield _Batches(model.eval(), self.tokenizer(), self.batch, self.max_model_len)
        finally:
            del model
            gc.collect()


class _Batches:
    """An opened model."""

    def __init__(self, model: Any, tokenizer: Any, size: int, context: int | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.size = size
        limit: int = model.config.max_position_embeddings
        self.context = min(context or limit, limit)
        ends = model.generation_config.eos_token_id
        self.ends = {ends} if isinstance(ends, int) else set(ends or ())

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        pending = iter(requests)
        while batch := list(islice(pending, self.size)):
            fitting = []
            for request in batch:
                tokens = self.tokenizer(request.prompt, add_special_tokens=False)["input_ids"]
                if len(tokens) < self.context:
                    fitting.append((request, tokens))
                    continue
                why = f"the prompt of {len(tokens)} tokens leaves no room in {self.context}"
                yield request, Completion("", "failed", len(tokens), error=why)
            if fitting:
                yield from self._draw([r for r, _ in fitting], [t for _, t in fitting])

    def _draw(
        self, requests: Sequence[Request], prompts: Sequence[list[int]]
    ) -> Iterator[tuple[Request, Completion]]:
        import torch
        from transformers import LogitsProcessorList

        sampling = requests[0].sampling
        width = max(map(len, prompts))
        room = min(sampling.max_tokens, self.context - width)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        draw = _Draw([r.sampling for r in requests])
        try:
            with torch.inference_mode():
                drawn = self.model.generate(
                    ids.to(self.model.device),
                    attention_mask=mask.to(self.model.device),
                    max_new_tokens=room,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    pad_token_id=pad,
                    logits_processor=LogitsProcessorList([draw]),
                    **self._stops(sampling),
                )
        except (RuntimeError, MemoryError) as error:
            raise EngineError(
                f"transformers: stopped: {first_line(error)}"
                "\n  next   lower engine.batch, then run again: what was answered is kept"
            ) from error
        for request, prompt, row in zip(requests, prompts, drawn[:, width:].tolist(), strict=True):
            yield request, self._completion(request.sampling, prompt, row)

    def _stops(self, sampling: Sampling) -> dict[str, Any]:
        if not sampling.stop:
            return {}
        return {"stop_strings": list(sampling.stop), "tokenizer": self.tokenizer}

    def _completion(self, sampling: Sampling, prompt: list[int], row: list[int]) -> Completion:
        end = next((i for i, token in enumerate(row) if token in self.ends), None)
        tokens = row if end is None else row[:end]
        text = self.tokenizer.decode(tokens, skip_special_tokens=False)
        cut = min((at for stop in sampling.stop if (at := text.find(stop)) >= 0), default=None)
        finish = "length" if end is None and cut is None else "stop"
        count = len(tokens) + (end is not None)
        return Completion(text[:cut], finish, len(prompt), count)


class _Draw:
    """Leaves each row only the token its own generator drew, so that greedy search takes it."""

    def __init__(self, samplings: Sequence[Sampling]) -> None:
        import torch

        self.samplings = samplings
        self.generators = [torch.Generator().manual_seed(s.seed) for s in samplings]

    def __call__(self, ids: Any, scores: Any) -> Any:
        import torch

        chosen = torch.full_like(scores, -torch.inf)
        rows = zip(self.samplings, self.generators, scores.float().cpu(), strict=True)
        for row, (sampling, generator, logits) in enumerate(rows):
            chosen[row, _token(logits, sampling, generator)] = 0.0
        return chosen


def _token(logits: Any, sampling: Sampling, generator: Any) -> int:
    import torch

    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits / sampling.temperature
    count = min(sampling.top_k or len(logits), len(logits))
    if count == len(logits) and sampling.top_p == 1:
        shares = logits.softmax(-1)
        return int(torch.multinomial(shares, 1, generator=generator))
    values, tokens = logits.topk(count)
    shares = values.softmax(-1)
    shares[shares.cumsum(-1) - shares >= sampling.top_p] = 0
    return int(tokens[torch.multinomial(shares, 1, generator=generator)])
