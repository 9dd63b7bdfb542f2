"""A model that judges what rules cannot tell, behind any engine and the one completion ledger."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from tracecraft.completions import Completions
from tracecraft.engine import Completion, Engine, Request, Sampling, Session, request
from tracecraft.errors import TracecraftError
from tracecraft.plugin import digest
from tracecraft.schema import Verdict
from tracecraft.stage import Desk
from tracecraft.verify.auto import Auto
from tracecraft.verify.bench import Bench
from tracecraft.verify.extract import extracted
from tracecraft.verify.question import asked, refusal, ruling
from tracecraft.verify.verifier import Verifier

__all__ = ["Judge"]

log = logging.getLogger(__name__)


class Judge(Verifier, use="judge", version=1):
    """Ask rules first, and a model where they cannot tell.

    The model sees the question, the reference answer and the extracted answer, never the
    reasoning, and says CORRECT, INCORRECT or INVALID. It is asked in two orders, and a second
    model too where there is one; unless all agree the row is unverifiable. Answers that are known
    to sway judges are not put to it at all. Each judgement is filed in the completion ledger.
    """

    where: ClassVar = "thread"

    engine: Engine
    """The judge."""
    second: Engine | None = None
    """Another judge, who must agree."""
    rules: Verifier | None = Auto()
    """Who decides first; null asks the model about every row."""
    orders: int = Field(default=2, ge=1, le=2)
    """2: once with the reference answer first and once with the answer first. For training data;
    1 costs half."""
    control: float = Field(default=0.0, ge=0, le=1)
    """Share of the rows that rules decided on which the model is asked as well: the rules stand,
    `detail` says whether it agrees, and the log how often."""
    sampling: Sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=2_048)
    """How judgements are drawn."""

    _sitting: "_Sitting | None" = PrivateAttr(default=None)

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Self]:
        """Ready to judge from many threads; an engine starts with the first question to it."""
        opened = self.model_copy()
        with ExitStack() as stack:
            opened._sitting = _Sitting(self, desk, stack)
            yield opened
            opened._sitting.tell()

    def judge(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """The verdict of the rules, else the model's."""
        if self._sitting is None:
            with self.open(Desk()) as opened:
                return opened.judge(problem, response)
        return self._sitting.verdict(problem, response)


class _Sitting:
    """What a judge holds while a stage runs."""

    def __init__(self, judge: Judge, desk: Desk, stack: ExitStack) -> None:
        self.judge = judge
        self.bench = Bench(1, desk)
        stack.callback(self.bench.close)
        ledger = desk.completions if desk.completions is not None else Completions()
        engines = [judge.engine] if judge.second is None else [judge.engine, judge.second]
        self.desks = [_Asking(engine, ledger, stack) for engine in engines]
        self.controlled = self.agreed = 0

    def verdict(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """Rules, guards, then the model."""
        ruled = self._ruled(problem, response)
        if ruled is not None and ruled.outcome in {"correct", "incorrect"}:
            return self._controlled(ruled, problem) if self._picked(problem, response) else ruled
        why = "" if ruled is None else f"rules: {ruled.detail}; "
        answer, span = self._answer(ruled, response)
        reason = refusal(str(problem["answer"]), answer)
        if reason is not None:
            return Verdict("unverifiable", answer, f"{why}not put to the judge: {reason}", span)
        outcome, said = self._asked(problem, answer or "")
        return Verdict(outcome, answer, f"{why}judge: {said}", span)

    def tell(self) -> None:
        """Log how often the model agreed with the rules."""
        if self.controlled:
            log.info("the judge agrees with the rules on %d of %d", self.agreed, self.controlled)

    def _ruled(self, problem: Mapping[str, Any], response: str) -> Verdict | None:
        rules = self.judge.rules
        if rules is None:
            return None
        row = {**problem, "response": response}
        return self.bench.verdicts([rules.chosen(row)], [row])[0]

    def _answer(
        self, ruled: Verdict | None, response: str
    ) -> tuple[str | None, tuple[int, int] | None]:
        if ruled is not None and ruled.extracted:
            return ruled.extracted, ruled.span
        found = extracted(response)
        return (None, None) if found is None else (found.answer, (found.start, found.end))

    def _picked(self, problem: Mapping[str, Any], response: str) -> bool:
        share = int(digest([str(problem.get("answer")), response], 4), 16) / (1 << 32)
        return share < self.judge.control

    def _controlled(self, ruled: Verdict, problem: Mapping[str, Any]) -> Verdict:
        try:
            outcome, said = self._asked(problem, ruled.extracted or "")
        except TracecraftError as error:
            outcome, said = "failed", str(error).splitlines()[0]
        self.controlled += 1
        self.agreed += outcome == ruled.outcome
        how = "agrees" if outcome == ruled.outcome else f"does not agree: {said}"
        return Verdict(ruled.outcome, ruled.extracted, f"{ruled.detail}; judge {how}", ruled.span)

    def _asked(self, problem: Mapping[str, Any], answer: str) -> tuple[str, str]:
        """The outcome that all judgements share, and what they said."""
        said: list[str] = []
        for desk in self.desks:
            requests = [
                desk.request(asked(problem, answer, swapped=bool(order)), self.judge.sampling)
                for order in range(self.judge.orders)
            ]
            for completion in desk.ask(requests):
                if completion.finish == "failed":
                    return "failed", completion.error or "no answer came"
                said.append(ruling(completion.text) or "unclear")
        words = set(said)
        if words == {"CORRECT"}:
            return "correct", "CORRECT"
        if words == {"INCORRECT"}:
            return "incorrect", "INCORRECT"
        return "unverifiable", " and ".join(said)


class _Asking:
    """One engine, asked by many threads: while one batch is answered, the next gathers."""

    def __init__(self, engine: Engine, ledger: Completions, stack: ExitStack) -> None:
        self.engine, self.ledger, self.stack = engine, ledger, stack
        self.session: Session | None = None
        self.waiting: dict[str, Request] = {}
        self.failed: dict[str, Completion] = {}
        self.gather, self.turn = threading.Lock(), threading.Lock()
        self.rendering = threading.Lock()

    def request(self, question: str, sampling: Sampling) -> Request:
        """A question as the engine's prompt, with its key in the ledger."""
        with self.rendering:  # an engine's first prompt may load its tokenizer
            prompt = self.engine.render([{"role": "user", "content": question}])
        return request(prompt, 0, self.engine.teacher, sampling)

    def ask(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions, from the ledger where they were ever paid for."""
        with self.gather:
            self.waiting.update({r.key: r for r in requests if r.key not in self.ledger})
        with self.turn:
            with self.gather:
                batch, self.waiting = self.waiting, {}
            batch = {key: r for key, r in batch.items() if key not in self.ledger}
            if batch:
                self._answer(batch)
        filed = self.ledger.get_many(r.key for r in requests)
        lost = Completion("", "failed", error="no answer came")
        return [c or self.failed.get(r.key, lost) for c, r in zip(filed, requests, strict=True)]

    def _answer(self, batch: Mapping[str, Request]) -> None:
        if self.session is None:
            self.session = self.stack.enter_context(self.engine.open())
        for one, completion in self.session.stream(batch.values()):
            if completion.finish == "failed":
                self.failed[one.key] = completion
            else:
                self.ledger.put(one.key, completion, self.engine.teacher)
