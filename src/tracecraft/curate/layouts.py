"""How the public trace sets name their columns, and what their cards say of teacher and licence."""

from collections.abc import Mapping
from dataclasses import dataclass

from tracecraft.errors import DataError
from tracecraft.schema import DOMAINS

R1 = "deepseek-ai/DeepSeek-R1"

SUBJECTS: Mapping[str, str] = {
    **{name: name for name in DOMAINS},
    **dict.fromkeys(("mathematics", "maths", "verifiable_math"), "math"),
    **dict.fromkeys(("coding", "programming", "computer science"), "code"),
    **dict.fromkeys(("verifiable_code", "code_output_prediction", "git_diff"), "code"),
    **dict.fromkeys(("biology", "chemistry", "physics", "stem"), "science"),
    "llm_judgeable_groundtruth_similarity": "science",
    **dict.fromkeys(("puzzle", "riddle", "crossword"), "logic"),
    "open-r1/OpenR1-Math-220k": "math",
    "open-r1/codeforces-cots": "code",
    "nvidia/Llama-Nemotron-Post-Training-Dataset": "science",
}
"""What sets call a domain, in a column of any of them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one published set."""

    repo: str
    map: Mapping[str, str]
    """Ours: theirs."""
    flags: tuple[str, ...] = ()
    """Their judgements of each generation."""
    keep: tuple[str, ...] = ()
    """What else of a row is worth its place."""
    teacher: str | None = R1
    license: str | None = None
    """As the set's card states it; None: it states none."""
    domain: str | None = None


LAYOUTS: Mapping[str, Layout] = {
    "openr1-math": Layout(
        "open-r1/OpenR1-Math-220k",
        {
            "statement": "problem",
            "answer": "answer",
            "solution": "solution",
            "completion": "generations",
            "finish": "finish_reasons",
        },
        flags=("is_reasoning_complete", "correctness_math_verify", "correctness_llama"),
        keep=("problem_type", "question_type", "source", "uuid"),
        license="apache-2.0",
        domain="math",
    ),
    "openthoughts": Layout(
        "open-thoughts/OpenThoughts-114k",
        {
            "statement": "problem",
            "reasoning": "deepseek_reasoning",
            "response": "deepseek_solution",
            "solution": "ground_truth_solution",
            "tests": "test_cases",
            "domain": "domain",
        },
        keep=("source", "starter_code"),
        license="apache-2.0",
    ),
    "s1k": Layout(
        "simplescaling/s1K-1.1",
        {
            "statement": "question",
            "solution": "solution",
            "reasoning": "deepseek_thinking_trajectory",
            "response": "deepseek_attempt",
            "domain": "cot_type",
        },
        flags=("deepseek_grade", "deepseek_grade_reason"),
        keep=("source_type",),
        license="mit",
    ),
    "bespoke-stratos": Layout(
        "bespokelabs/Bespoke-Stratos-17k",
        {"statement": "conversations.user", "completion": "conversations.assistant"},
        license="apache-2.0",
    ),
    "mixture-of-thoughts": Layout(
        "open-r1/Mixture-of-Thoughts",
        {
            "statement": "messages.user",
            "completion": "messages.assistant",
            "domain": "source",
        },
        keep=("source", "num_tokens"),
    ),
    "codeforces-cots": Layout(
        "open-r1/codeforces-cots",
        {
            "statement": "prompt",
            "completion": "generation",
            "finish": "finish_reason",
            "tests": "examples",
            "prompt_tokens": "api_metadata.prompt_tokens",
            "completion_tokens": "api_metadata.completion_tokens",
        },
        keep=("id", "title", "contest_start_year"),
        license="cc-by-4.0",
        domain="code",
    ),
    "synthetic-1": Layout(
        "PrimeIntellect/SYNTHETIC-1",
        {
            "statement": "prompt",
            "answer": "verification_info.ground_truth",
            "solution": "gold_standard_solution",
            "tests": "verification_info.test_cases",
            "completion": "llm_response",
            "domain": "task_type",
        },
        flags=("score",),
        keep=("task_type", "source", "problem_id", "response_id"),
        license="apache-2.0",
    ),
    "am-r1-distilled": Layout(
        "a-m-team/AM-DeepSeek-R1-Distilled-1.4M",
        {
            "statement": "messages.user",
            "answer": "messages.0.info.reference_answer",
            "tests": "messages.0.info.test_case",
            "reasoning": "messages.-1.info.think_content",
            "response": "messages.-1.info.answer_content",
        },
        keep=("messages.0.info.source",),
    ),
}
"""Licences as the sets' cards on the hub gave them in 2025."""


def domain_of(name: str | None, where: str) -> str:
    """Our domain for what a set calls one.

    Raises:
        DataError: nobody told us what it is.
    """
    found = SUBJECTS.get(name or "") or SUBJECTS.get((name or "").lower())
    if found is None:
        raise DataError(
            f"{where}: {name!r} is no domain that is known"
            f"\n  next   say domain: one of {', '.join(DOMAINS)}"
        )
    return found
