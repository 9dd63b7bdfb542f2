"""Measures of a problem's statement: can a teacher that reads text answer it, and we check it."""

import polars as pl

from tracecraft.select.measure import Measure

_PICTURE = "figure|diagram|picture|photo(?:graph)?|drawing|illustration|sketch"
_WHERE = r"above|below|(?:to|at|on) (?:the )?(?:right|left)"
_FIGURE = (
    r"(?i)\b(?:in|on|from|of|see|per|refer to|consider|use|using|complete|by) "
    r"(?:the|this|that|each) "
    r"(?:(?:above|below|following|accompanying|adjoining|attached|right|left|given) )?"
    rf"(?:{_PICTURE})s?\b"
    rf"|\b(?:{_PICTURE}|image|graph)s? (?:is |are )?(?:shown |given |drawn )?(?:{_WHERE})\b"
    rf"|\bthe (?:{_PICTURE}) (?:shows|indicates|illustrates|represents|depicts)\b"
    r"|\b(?:shown|pictured|depicted) (?:here|(?:at|to|on) (?:the )?(?:right|left))\b"
    r"|\bpictured (?:above|below)\b|\bas shown\.|\bfig(?:\.|ure) ?\(?[A-Z]?\d"
    r"|!\[[^\]]*\]\(|<img\b|\\includegraphics|\.(?:png|jpe?g|gif|svg)\b"
)
_DRAWS = (
    r"(?i)\b(?:draw|sketch|plot|graph) (?:a |an |the |each |its )?"
    r"(?:graph|figure|diagram|curve|picture|region|tree|circuit|structure)\b"
)
_DRAWN = r"\[asy\]|\\begin\{(?:tikzpicture|asy|picture)\}|\\draw\b"
_PROOF = (
    r"(?i)(?:^|[.;:!?,\n$)]\s*|\b(?:and|then|to|hence|please|you|can|must|us) )"
    r"(?:prove|disprove|show|demonstrate|verify|justify) "
    r"(?:that|the (?:following|inequality|identity)|(?:if|whether)\b|for (?:all|any|every))"
)
_ASKS = (
    r"(?:find|determine|calculate|compute|evaluate|what|how|which|show|prove|explain|write|solve"
    r"|give|state|draw|sketch|list|describe|estimate|is|are|does|do)\b"
)
_QUESTION = (
    r"(?i)\?|\b(?:find|determine|calculate|compute|evaluate|what is|how many|how much|express)\b"
)
_PART_MARKS = (
    (r"(?m)(?:^|[\s.;:?])\(?a\)", rf"(?im)(?:^|[\s.;:?,])\(?b\)[\s.:]*{_ASKS}"),
    (r"(?m)(?:^|[\s.;:?])\(?i\)", rf"(?im)(?:^|[\s.;:?,])\(?ii\)[\s.:]*{_ASKS}"),
    (r"(?m)(?:^|[\s.;:?])\(1\)", rf"(?im)(?:^|[\s.;:?,])\(2\)[\s.:]*{_ASKS}"),
    (r"(?m)^\s*1\.\s", rf"(?im)^\s*2\.\s+{_ASKS}"),
    (r"(?im)^\W*(?:part|question) ?(?:a|i|1)\b", r"(?im)^\W*(?:part|question) ?(?:b|ii|2)\b"),
)
_ENGLISH = (
    r"(?i)\b(?:the|of|is|are|and|to|in|that|for|what|how|find|if|with|which|many|be|by|from|on|at"
    r"|an)\b"
)
_LATIN_OTHERS = (
    r"(?i)\b(?:el|los|las|del|una|que|qué|cuál|es|por|para|le|les|des|est|une|et|dans|quel|quelle"
    r"|der|das|und|ist|ein|eine|von|wie|il|gli|che|di|della|è|sono|dos|os|um|uma|é|não|em|qual|het"
    r"|een|van|jest|się|adalah|yang|dan|berapa|ve|bir|và|là|các)\b"
)


class AsksFigure(Measure, use="asks_figure", version=1):
    """Whether the statement points at a figure it does not hold, or asks for a drawing.

    A figure written as code (Asymptote, TikZ) is held. Open-thoughts drops on the bare words
    figure, diagram, png; here they must be pointed at, since `figure` also means a number.
    """

    def expr(self) -> pl.Expr:
        text = pl.col("statement")
        return (text.str.contains(_FIGURE) & ~text.str.contains(_DRAWN)) | text.str.contains(_DRAWS)


class AsksProof(Measure, use="asks_proof", version=1):
    """Whether the statement asks to prove or show, and for nothing that a short answer decides."""

    def expr(self) -> pl.Expr:
        text = pl.col("statement")
        return text.str.contains(_PROOF) & ~text.str.contains(_QUESTION)


class Parts(Measure, use="parts", version=1):
    """Whether the statement asks several questions under marks such as (a), (b) or (1), (2).

    The second mark must be followed by a verb that asks: conditions and options are marked too.
    """

    def expr(self) -> pl.Expr:
        text = pl.col("statement")
        return pl.any_horizontal(
            text.str.contains(first) & text.str.contains(second) for first, second in _PART_MARKS
        )


class English(Measure, use="english", version=1):
    """Whether the statement is English, by its letters and by its commonest little words."""

    def expr(self) -> pl.Expr:
        text = pl.col("statement")
        foreign = text.str.count_matches(r"[\p{L}--\p{Latin}--\p{Greek}--\p{Common}]")
        ours, theirs = text.str.count_matches(_ENGLISH), text.str.count_matches(_LATIN_OTHERS)
        latin = (foreign <= 2) | ((foreign * 20 <= text.str.len_chars()) & (foreign < ours))
        return latin & (ours + 1 >= theirs)


class AnswerShown(Measure, use="answer_shown", version=1):
    """How the statement shows its reference answer: `stated`, `mentioned`, or null: not at all.

    `stated` follows the word answer or solution. `mentioned` is anywhere, for answers of four
    characters and more; of 800 prompts from MATH 1% mention such a one, most of them honestly.
    """

    def expr(self) -> pl.Expr:
        text, answer = pl.col("statement"), pl.col("answer").str.strip_chars()
        told = text.str.extract(
            r"(?is)\b(?:answer|solution)\b\s*(?:is|was|:|=)+[\s$*\\({]*(?:boxed\{)?(.{1,200})", 1
        )
        size = answer.str.len_chars()
        goes_on = told.str.slice(size, 2).str.contains(r"^(?:\w|[.,]\d|\s?[+*/^=-])")
        return (
            pl.when((size > 0) & told.str.starts_with(answer) & ~goes_on)
            .then(pl.lit("stated"))
            .when((size >= 4) & text.str.contains(answer, literal=True))
            .then(pl.lit("mentioned"))
        )
