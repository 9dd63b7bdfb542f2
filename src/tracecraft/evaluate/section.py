"""What a recipe's `evaluate:` and `gates:` say, and the inputs and stages they stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tracecraft.errors import RecipeError, did_you_mean
from tracecraft.evaluate.benchmark import Benchmark, Preset, load, nearby
from tracecraft.evaluate.gate import CONTAMINATION, Gate, bound

SCORES = "scores"
GATES = "gates"


class Evaluation(BaseModel):
    """One entry of `evaluate:`: models on a benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    benchmark: str
    """The name of a shipped one, a YAML file, or `NAME=FILE` for a local copy of its problems."""
    samples: int | None = Field(default=None, ge=1)
    """Answers a problem; by default as many as the benchmark's protocol asks for."""
    models: tuple[str, ...] | None = None
    """Which models; by default all."""
    preset: Preset | None = None
    """How they are asked; by default as the benchmark says."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """What differs from the preset's."""
    prompt: Path | None = None
    """Template of the user's turn; by default the benchmark's."""
    verifier: dict[str, Any] | None = None
    """Who decides; by default the benchmark's."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Options of the engine that loads a model made by a step: `max_model_len`, …"""
    attempt: int = Field(default=1, ge=1)
    """Raise it to ask again for what failed, and for nothing else."""

    @classmethod
    def bind(cls, entries: Any, where: str = "evaluate") -> "tuple[Evaluation, ...]":
        """The entries of a section.

        Raises:
            RecipeError: each mistake with the path of its field.
        """
        return bound(cls, entries, where, "evaluations")


Model = str | Mapping[str, Any]
"""The name of a step that makes a checkpoint, or an engine: `{use: vllm, model: …}`."""


@dataclass(slots=True)
class Lowered:
    """What sections stand for, in the words of `inputs:` and `stages:`."""

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)


def lowered(
    entries: Any,
    models: Mapping[str, Model],
    *,
    path: Path | None = None,
    trained_on: Mapping[str, Sequence[str | Path]] | None = None,
    gates: Any = (),
) -> Lowered:
    """The sources and stages of an evaluation; its last steps are `scores` and, if any, `gates`.

    Args:
        entries: the section `evaluate:` as the file has it.
        models: by the name that scores give them, in the order of tables; the last one is what a
            gate means that names none.
        path: the recipe, for messages, and where benchmark files are looked for.
        trained_on: a model to the steps, or files, whose rows it was trained on.
        gates: the section `gates:`.

    Raises:
        RecipeError: what is malformed, or names what is not there.
    """
    where = f"{path}: " if path else ""
    wanted = Evaluation.bind(entries, f"{where}evaluate")
    if not models:
        raise RecipeError(f"{where}evaluate: there is no model to evaluate")
    made = Lowered()
    answers: list[tuple[str, str]] = []
    benchmarks: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(wanted):
        spot = f"{where}evaluate[{number}]"
        benchmark = load(one.benchmark, path)
        if one.prompt is not None:
            benchmark = benchmark.model_copy(update={"prompt": nearby(str(one.prompt), path)})
        if benchmark.name in benchmarks:
            raise RecipeError(f"{spot}: {benchmark.name} is listed twice")
        benchmarks[benchmark.name] = _facts(benchmark, one, spot)
        _problems(made, benchmark, benchmarks[benchmark.name]["samples"])
        for model in _chosen(one, models, spot):
            _answers(made, benchmark, one, model, models[model])
            answers.append((benchmark.name, model))
    _scores(made, answers, benchmarks, trained_on or {})
    if gates:
        bound = Gate.bind(gates, f"{where}gates")
        told = [_addressed(gate, answers, trained_on or {}, where) for gate in bound]
        made.stages.append({"name": GATES, "use": "gate", "from": [SCORES], "gates": told})
    return made


def prepared(entry: Any, path: Path | None = None) -> tuple[str, Lowered]:
    """A benchmark's name, and the source and stages that make its problems ready to be asked.

    Raises:
        RecipeError: a benchmark whose options would be put in orders of ours, which answers that
            something else generated cannot have seen.
    """
    (one,) = Evaluation.bind([entry])
    benchmark, made = load(one.benchmark, path), Lowered()
    if benchmark.permute:
        raise RecipeError(
            f"{benchmark.name}: its options are put in orders of ours, recorded answers have "
            "their own\n  next   write a benchmark file whose source is the recording: its "
            "statements, `choices` and letters"
        )
    _problems(made, benchmark, one.samples or benchmark.samples)
    return benchmark.name, made


def _addressed(
    gate: Gate,
    answers: Sequence[tuple[str, str]],
    trained_on: Mapping[str, Sequence[str | Path]],
    where: str,
) -> dict[str, Any]:
    """The gate with the model it is about: of those that are evaluated, the last one."""
    name = gate.metric.partition(".")[0]
    about = [model for benchmark, model in answers if name in (benchmark, CONTAMINATION)]
    if not about:
        known = dict.fromkeys(benchmark for benchmark, _ in answers)
        raise RecipeError(f"{where}gates: {name!r} is not evaluated" + did_you_mean(name, known))
    if gate.model is not None and gate.model not in about:
        hint = did_you_mean(gate.model, about)
        raise RecipeError(f"{where}gates: {gate.metric}: no model {gate.model!r}{hint}")
    model = gate.model or about[-1]
    if gate.metric.endswith(CONTAMINATION) and not trained_on.get(model):
        raise RecipeError(
            f"{where}gates: {gate.metric}: it is not known what {model!r} was trained on"
            "\n  next   name a model that the recipe trains, or say --trained-on"
        )
    return {**gate.model_dump(exclude_none=True), "model": model}


def _facts(benchmark: Benchmark, one: Evaluation, spot: str) -> dict[str, Any]:
    samples = one.samples or benchmark.samples
    if samples < benchmark.least:
        raise RecipeError(
            f"{spot}: {benchmark.name} is not scored on fewer than {benchmark.least} samples a "
            f"problem, asked for {samples}"
        )
    return {
        "name": benchmark.name,
        "title": benchmark.title or benchmark.name,
        "domain": benchmark.domain,
        "samples": samples,
        "protocol": benchmark.samples,
        "problems": benchmark.problems,
        "preset": one.preset or benchmark.preset,
        "prompt": _prompt(benchmark.prompt, spot),
        "majority": benchmark.majority,
        "private": benchmark.private,
    }


def _prompt(path: Path | None, spot: str) -> str | None:
    try:
        return None if path is None else path.read_text("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{spot}.prompt: {path}: {error}") from None


def _chosen(one: Evaluation, models: Mapping[str, Model], spot: str) -> Sequence[str]:
    for name in one.models or ():
        if name not in models:
            raise RecipeError(f"{spot}.models: no model {name!r}" + did_you_mean(name, models))
    return one.models if one.models is not None else list(models)


def _problems(made: Lowered, benchmark: Benchmark, samples: int) -> None:
    """The benchmark's source, and its items made ready to be asked."""
    stem = f"eval.{benchmark.name}"
    made.inputs[f"{stem}.source"] = dict(benchmark.source)
    options = {
        "benchmark": benchmark.name,
        "id": list(benchmark.id),
        "answered": benchmark.answered,
        "wrong": list(benchmark.wrong),
        "orders": samples if benchmark.permute else 0,
        "append": dict(benchmark.append),
    }
    if benchmark.window is not None:
        options["window"] = benchmark.window.model_dump()
    items = {"name": f"{stem}.items", "use": "benchmark", "from": [f"{stem}.source"], **options}
    ready = {"name": f"{stem}.problems", "use": "normalize", "from": [f"{stem}.items"]}
    made.stages += [items, {**ready, "domain": benchmark.domain}]


def _answers(made: Lowered, benchmark: Benchmark, one: Evaluation, name: str, model: Model) -> None:
    """One model's answers to a benchmark, and their verdicts."""
    stem, problems = f"eval.{benchmark.name}.{name}", f"eval.{benchmark.name}.problems"
    sources = [problems]
    if isinstance(model, str):
        sources.append(model)
        engine = {"use": "local", **one.engine, "model": "step"}
    else:
        engine = dict(model)
    asked = benchmark.asked(one.preset, one.sampling)
    if engine.get("use") == "replay":
        asked["opening"] = ""  # what is on file is all there is: nothing of ours opens it
    samples = one.samples or benchmark.samples
    draws = 1 if benchmark.permute else samples
    traces: dict[str, Any] = {
        "name": f"{stem}.traces",
        "use": "generate",
        "from": sources,
        "engine": engine,
    }
    if one.attempt > 1:
        traces["attempt"] = one.attempt
    made.stages += [
        {**traces, "samples": draws, **asked},
        {
            "name": f"{stem}.judged",
            "use": "verify",
            "from": [f"{stem}.traces", problems],
            "verifier": dict(one.verifier or benchmark.verifier),
        },
    ]


def _scores(
    made: Lowered,
    answers: Sequence[tuple[str, str]],
    benchmarks: Mapping[str, dict[str, Any]],
    trained_on: Mapping[str, Sequence[str | Path]],
) -> None:
    """Leaks into what the models were trained on, and the scores of all."""
    problems = [f"eval.{name}.problems" for name in benchmarks]
    sets: dict[tuple[str, ...], list[str]] = {}
    for model in dict.fromkeys(model for _, model in answers):
        data = tuple(map(str, trained_on.get(model, ())))
        if data:
            sets.setdefault(data, []).append(model)
    files = {str(one) for data in trained_on.values() for one in data if isinstance(one, Path)}
    leaks = []
    for number, data in enumerate(sets):
        leaks.append(f"eval.leaks.{number}")
        steps = [one for one in data if one not in files]
        options = {"benchmarks": list(benchmarks), "path": [one for one in data if one in files]}
        source = {"name": leaks[-1], "use": "leaks", "from": [*problems, *steps]}
        made.stages.append({**source, **options})
    made.stages.append(
        {
            "name": SCORES,
            "use": "score",
            "from": [*(f"eval.{b}.{m}.judged" for b, m in answers), *problems, *leaks],
            "answers": [{"benchmark": b, "model": m} for b, m in answers],
            "benchmarks": list(benchmarks.values()),
            "leaks": list(sets.values()),
        }
    )
