"""The parity gate: an example as the student will say it when it is served, or why it can't be."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from tracecraft.errors import DataError
from tracecraft.think import CLOSE, OPEN

log = logging.getLogger(__name__)

Message = Mapping[str, str]
Thoughts = Literal["one", "any"]

TEMPLATES = {
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content']"
        " + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
}
"""Templates by name, for backbones that bring none."""
PROBE = "tracecraft"
"""Said by the assistant to see what a template puts around it."""

LONG = "longer than the context"
NO_ANSWER = "no answer of the assistant at the end"
THOUGHTS = "not exactly one thought"
EMPTY = "nothing after the thought"
PROMPT = "the generation prompt is not how the answer begins"
ROUND_TRIP = "tokens and back is another text"
CONTROL = "a control token inside a text"
RULES = (NO_ANSWER, THOUGHTS, EMPTY, PROMPT, ROUND_TRIP, CONTROL)
"""Why an example fails the gate. One that is merely too long is dropped, and is no failure."""


@dataclass(frozen=True, slots=True)
class Said:
    """One example as the student sees it: `prompt` is given, `answer` is what it learns."""

    prompt: str
    answer: str
    """With its thought, less what the prompt already says of it; its last token stops the model."""
    prompt_ids: list[int]
    answer_ids: list[int]

    @property
    def tokens(self) -> int:
        """Length of the whole."""
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True, slots=True)
class Chat:
    """How a student is spoken to, read off the tokenizer and the template it is served with.

    The text to train on is the template's own generation prompt, then the trace, then what the
    template writes after an answer: never the template's rendering of the answer, because the
    published R1 templates delete everything before `</think>` there.
    """

    tokenizer: Any
    end: str
    """What closes an answer; one special token, and maybe text before it."""
    end_ids: tuple[int, ...]
    control: tuple[str, ...]
    """Texts of tokens that mean something to the model: in an example they would steer it."""
    strips: bool
    """The template, asked to render a whole conversation, would lose the thought."""

    @classmethod
    def of(cls, tokenizer: Any, template: str | None, stops: Iterable[int]) -> Self:
        """The chat of a backbone's tokenizer, or of another template that takes its place.

        Args:
            tokenizer: of transformers; its template is replaced where `template` is given.
            template: Jinja text, a name in `TEMPLATES`, or None for the tokenizer's own.
            stops: token ids at which the backbone stops, beside the tokenizer's.

        Raises:
            DataError: no template, or one that lets no answer end.
        """
        if template is not None:
            tokenizer.chat_template = TEMPLATES.get(template, template)
        if not tokenizer.chat_template:
            raise DataError(
                "the backbone has no chat template"
                f"\n  next   say `template:` with one of {', '.join(TEMPLATES)}, or a Jinja file"
            )
        question = {"role": "user", "content": PROBE.upper()}
        whole = _rendered(tokenizer, [question, {"role": "assistant", "content": PROBE}])
        before, said, tail = whole.rpartition(PROBE)
        if not (said and before):
            raise DataError("the chat template does not show what the assistant says")
        end_ids = _ending(tokenizer, tail, {*stops, tokenizer.eos_token_id} - {None})
        thought = f"{OPEN}\n{PROBE}\n{CLOSE}\n\n{PROBE}"
        whole = _rendered(tokenizer, [question, {"role": "assistant", "content": thought}])
        strips = thought not in whole
        if strips:
            log.info("the chat template strips the thought; the training text keeps it")
        end = _text(tokenizer, end_ids)
        return cls(tokenizer, end, tuple(end_ids), _control(tokenizer, end_ids[-1]), strips)

    @property
    def stop(self) -> int:
        """The token that ends an answer, in the loss and when the model is served."""
        return self.end_ids[-1]

    def prompt(self, messages: Sequence[Message]) -> str:
        """What the model is given before it answers."""
        return _rendered(self.tokenizer, messages, prompt=True)

    def say(
        self, conversations: Sequence[Sequence[Message]], context: int, thoughts: Thoughts = "one"
    ) -> list[Said | str]:
        """Each conversation as its tokens, or the rule by which it does not pass."""
        texts = [self._texts(messages, thoughts) for messages in conversations]
        halves = [half for text in texts if not isinstance(text, str) for half in text]
        ids = self._ids(halves)
        said: list[Said | str] = []
        rest = iter(zip(halves[::2], halves[1::2], ids[::2], ids[1::2], strict=True))
        for text in texts:
            said.append(text if isinstance(text, str) else Said(*next(rest)))
        whole = [one for one in said if isinstance(one, Said)]
        back = iter(_decoded(self.tokenizer, [one.prompt_ids + one.answer_ids for one in whole]))
        return [
            one if isinstance(one, str) else self._passed(one, next(back), context) for one in said
        ]

    def _texts(self, messages: Sequence[Message], thoughts: Thoughts) -> tuple[str, str] | str:
        """Prompt and answer, or a rule."""
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            return NO_ANSWER
        content = messages[-1]["content"]
        found = (content.count(OPEN), content.count(CLOSE))
        if thoughts == "one" or found != (0, 0):
            reasoning, _, response = content.removeprefix(OPEN).partition(CLOSE)
            if found != (1, 1) or not content.startswith(OPEN) or not reasoning.strip():
                return THOUGHTS
            content_left = response
        else:
            content_left = content
        if not content_left.strip():
            return EMPTY
        if any(word in turn["content"] for turn in messages for word in self.control):
            return CONTROL
        prompt = self.prompt(messages[:-1])
        forced = _forced(prompt)
        if not content.startswith(forced):
            return PROMPT
        return prompt, content[len(forced) :] + self.end

    def _passed(self, said: Said, back: str, context: int) -> Said | str:
        if back != said.prompt + said.answer:
            return ROUND_TRIP
        if tuple(said.answer_ids[-len(self.end_ids) :]) != self.end_ids:
            return ROUND_TRIP
        if self.stop in said.answer_ids[:-1]:
            return CONTROL
        return LONG if said.tokens > context else said

    def _ids(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        told = self.tokenizer(texts, add_special_tokens=False, verbose=False)
        ids: list[list[int]] = told["input_ids"]
        return ids


def _forced(prompt: str) -> str:
    """What the prompt already says of the answer: an opening tag and its line break, or nothing."""
    return prompt[prompt.rindex(OPEN) :] if prompt.rstrip().endswith(OPEN) else ""


def _rendered(tokenizer: Any, messages: Sequence[Message], *, prompt: bool = False) -> str:
    text: str = tokenizer.apply_chat_template(
        [dict(message) for message in messages], tokenize=False, add_generation_prompt=prompt
    )
    return text


def _ending(tokenizer: Any, tail: str, stops: set[int]) -> list[int]:
    """The tokens that follow an answer, up to the first at which a model can stop."""
    special = stops | set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    ids: list[int] = tokenizer(tail, add_special_tokens=False)["input_ids"]
    for place, one in enumerate(ids):
        if one in special:
            return ids[: place + 1]
    if tail.strip() == "" and tokenizer.eos_token_id is not None:
        return [tokenizer.eos_token_id]
    raise DataError(
        f"the chat template ends an answer with {tail!r}, which holds no special token to stop at"
        "\n  next   say `template:` with one that writes the end-of-turn token"
    )


def _control(tokenizer: Any, stop: int) -> tuple[str, ...]:
    """The texts of all special tokens but the tags of a thought, which are its text too."""
    added = tokenizer.added_tokens_decoder.values()
    words = {*tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}
    return tuple(sorted({*words, _text(tokenizer, [stop])} - {OPEN, CLOSE}))


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return _decoded(tokenizer, [list(ids)])[0]


def _decoded(tokenizer: Any, ids: list[list[int]]) -> list[str]:
    if not ids:
        return []
    texts: list[str] = tokenizer.batch_decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return texts
