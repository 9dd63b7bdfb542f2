"""Batches on a Ray cluster: by Ray's scheduler, into the same store, with the same records.

Every worker is an actor that claims a batch, does it, and writes its record, as a process on this
machine would; the driver only says which is next. So whatever is killed (a worker, a node, the
driver), what is done stays done, and what a dead worker held is somebody else's.
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tracecraft.batches import Batch, Record, cut
from tracecraft.completions import Completions
from tracecraft.errors import MissingExtra, StageError, UsageError
from tracecraft.plan import Plan, Planned, plan
from tracecraft.recipe import build
from tracecraft.stage import Desk, Progress
from tracecraft.store import Claims
from tracecraft.work import Worker, at_work, bound, tables

DEATHS = 3
"""Workers that may die over one batch before it is taken for the cause."""
_LOOK_SECONDS = 0.5
"""Between two looks at batches that another process has claimed."""
_Facts = dict[str, float | int | str]


class Hand:
    """What an actor is: one step's stage, opened when the first batch comes."""

    def __init__(self, resolved: Mapping[str, Any], path: str, store: str, name: str) -> None:
        self.step = plan(build(resolved, Path(path)), store)[name]
        self.claims = Claims(Path(store) / "claims" / self.step.home.name)
        self.batches = {b.index: b for b in cut(tables(self.step)[0], bound(self.step).shard_rows)}
        self.completions = Completions(Path(store) / "completions")
        self.facts: _Facts = {}
        self.stack = ExitStack()
        self.worker: Worker | None = None

    def who(self) -> str:
        """How its claims are signed."""
        return self.claims.me

    def do(self, index: int, after: int | None) -> tuple[bool, _Facts]:
        """Whether the batch is done, unless another process has it; and the facts so far."""
        if self.worker is None:
            desk = Desk(self.completions, self.step.home / "scratch", self._told)
            self.worker = self.stack.enter_context(at_work(self.step, desk))

        def coming() -> Batch | None:
            ours = after is not None and self.claims.take(self.batches[after].name)
            return self.batches[after] if after is not None and ours else None

        record = self.worker.claimed(self.batches[index], coming, self.claims)
        return record is not None, self.facts

    def _told(self, progress: Progress) -> None:
        self.facts = progress.facts

    def leave(self) -> None:
        """Close the stage, and give back what is claimed."""
        self.stack.close()
        self.claims.close()
        self.completions.close()


class Fleet:
    """A cluster that is joined; every stage whose batches are independent runs on it."""

    def __init__(self, ray: Any, plan: Plan) -> None:
        self.ray = ray
        self.resolved = plan.recipe.resolved
        self.path = str(plan.recipe.path.absolute())
        self.store = str(plan.store.absolute())

    def each(self, step: Planned, claims: Claims, desk: Desk) -> list[Record]:
        """Every batch of a step once, whoever dies meanwhile.

        Raises:
            StageError: the stage stopped, or a batch kills whatever works on it.
        """
        batches = list(cut(tables(step)[0], bound(step).shard_rows))
        owed = deque(b for b in batches if Record.read(step.home, b.name) is None)
        if owed:
            _Crew(self, step, owed, len(batches), claims, desk).work()
        records = [Record.read(step.home, batch.name) for batch in batches]
        return [record for record in records if record is not None]

    def spread(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """What `work` makes of each item, in their order, by tasks on all nodes; a task whose
        node is gone is done again.
        """

        def task(item: Any) -> Any:
            return work(item)

        remote = self.ray.remote(max_retries=-1, scheduling_strategy="SPREAD")(task)
        most = 2 * max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        flying: deque[Any] = deque()
        for item in items:
            if len(flying) >= most:
                yield self.ray.get(flying.popleft())
            flying.append(remote.remote(item))
        while flying:
            yield self.ray.get(flying.popleft())

    def hands(self, step: Planned, wanted: int) -> list[Callable[[], Any]]:
        """What makes an actor, for each: one a node, or as many as the GPUs of all nodes allow."""
        gpus, have = bound(step).gpus, self.ray.cluster_resources().get("GPU", 0)
        nodes = sum(node["Alive"] and "CPU" in node["Resources"] for node in self.ray.nodes())
        count = int(have // gpus) if gpus and have else nodes
        if gpus and have and not count:
            raise UsageError(
                f"{step.spec.name}: one engine takes {gpus} GPUs, the cluster has {have:g}"
                "\n  next   lower engine.tensor_parallel, or add nodes"
            )
        actor = self.ray.remote(Hand).options(
            num_cpus=1,
            num_gpus=gpus if have else 0,
            scheduling_strategy="SPREAD",
        )
        told = (self.resolved, self.path, self.store, step.spec.name)
        return [lambda: actor.remote(*told)] * min(count, wanted)


class _Crew:
    """The actors of one step, and what each is at."""

    def __init__(
        self,
        fleet: Fleet,
        step: Planned,
        owed: deque[Batch],
        total: int,
        claims: Claims,
        desk: Desk,
    ) -> None:
        self.ray = fleet.ray
        self.step = step
        self.owed = owed
        self.total = total
        self.claims = claims
        self.desk = desk
        self.makers = fleet.hands(step, len(owed))
        self.hands: list[Any] = []
        self.signed: dict[Any, str] = {}
        self.reserved: dict[Any, Batch] = {}
        self.flying: dict[Any, tuple[Any, Batch]] = {}
        self.greeted: dict[Any, Any] = {}
        self.idle: list[Any] = []
        self.deaths: Counter[str] = Counter()
        self.facts: dict[Any, _Facts] = {}
        self.failed: BaseException | None = None

    def work(self) -> None:
        """Until every batch is done, or the stage stopped."""
        try:
            for maker in self.makers:
                self._greet(maker())
            while (self.flying or self.owed) and self.failed is None:
                done, _ = self.ray.wait([*self.flying, *self.greeted], timeout=_LOOK_SECONDS)
                for reference in done:
                    self._answered(reference)
                self._report()
            if self.failed is not None:
                raise self.failed
            self.ray.get([hand.leave.remote() for hand in self.signed])
        finally:
            for hand in self.hands:
                self.ray.kill(hand)
            for signed in self.signed.values():
                self.claims.release(signed)

    def _greet(self, hand: Any) -> None:
        """Ask how it signs its claims; one that finds no room in the cluster never answers."""
        self.hands.append(hand)
        self.greeted[hand.who.remote()] = hand

    def _hand_out(self, hand: Any) -> None:
        """Its next batch; while it is at that, it may begin with the one reserved for it."""
        batch = self.reserved.pop(hand, None) or (self.owed.popleft() if self.owed else None)
        if batch is None:
            self.idle.append(hand)
            return
        if len(self.owed) >= len(self.makers):  # else the last ones are shared out one by one
            self.reserved[hand] = self.owed.popleft()
        after = self.reserved.get(hand)
        reference = hand.do.remote(batch.index, after.index if after else None)
        self.flying[reference] = (hand, batch)

    def _answered(self, reference: Any) -> None:
        hand, batch = self.flying.pop(reference, (self.greeted.pop(reference, None), None))
        try:
            told = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            self.failed = _cause(error, self.step)
            return
        except self.ray.exceptions.RayError as error:
            self._died(hand, batch, error)
            return
        if batch is None:
            self.signed[hand] = told
        else:
            done, self.facts[hand] = told
            if not done:
                self.owed.append(batch)
                time.sleep(_LOOK_SECONDS)
        self._hand_out(hand)

    def _died(self, hand: Any, batch: Batch | None, error: Exception) -> None:
        """An actor is gone: what it held is owed again, another takes its place."""
        self.hands.remove(hand)
        if signed := self.signed.pop(hand, None):
            self.claims.release(signed)
        held = [self.reserved.pop(hand, None), batch]
        owed = [b for b in held if b and Record.read(self.step.home, b.name) is None]
        self.owed.extendleft(owed)
        self.deaths["" if batch is None else batch.name] += 1
        if max(self.deaths.values()) >= DEATHS:
            what = f"batch {batch.name}" if batch else "starting"
            self.failed = StageError(
                f"{what} ended {DEATHS} workers: {str(error).strip().splitlines()[0]}"
                "\n  next   look into Ray's logs of these workers (memory?), then run again"
            )
            return
        self._greet(self.makers[0]())
        while self.idle and self.owed:
            self._hand_out(self.idle.pop())

    def _report(self) -> None:
        sums: Counter[str] = Counter()
        words: _Facts = {}
        for facts in self.facts.values():
            for name, value in facts.items():
                if isinstance(value, str):
                    words[name] = value
                else:
                    sums[name] += value  # type: ignore[assignment]
        waiting = len(self.owed) + len(self.reserved) + len(self.flying)
        self.desk.report(Progress(self.total - waiting, self.total, "shards", {**sums, **words}))


@contextmanager
def cluster(address: str, plan: Plan) -> Iterator[Fleet]:
    """A Ray cluster: `ray` is the one that this machine is part of, or else one on this machine
    alone; `ray://host:port` is another.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: there is no such cluster.
    """
    if address != "ray" and not address.startswith("ray://"):
        raise UsageError(f"--on {address}: say ray, or ray://host:port")
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray", "running on a cluster") from None
    where = None if address == "ray" else address
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    joined = not ray.is_initialized()
    if joined:
        try:
            ray.init(
                where, log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"--on {address}: no cluster answers: {error}") from None
    try:
        yield Fleet(ray, plan)
    finally:
        if joined:
            ray.shutdown()


def _cause(error: Any, step: Planned) -> BaseException:
    cause = getattr(error, "cause", None)
    if isinstance(cause, StageError):
        return cause
    return StageError(f"{step.spec.name}: {str(cause or error).strip().splitlines()[-1]}")
