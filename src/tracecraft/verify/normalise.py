"""One spelling for one answer: unicode, LaTeX and markdown reduced before anything is compared."""

import re
import unicodedata
from functools import lru_cache

from tracecraft.verify.remarks import repaired, without_remarks

__all__ = ["normalised", "unwrapped"]

_SUPERS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_SUBS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", "0123456789+-=()", strict=True))
_VULGAR = {c: unicodedata.normalize("NFKC", c).replace("⁄", "/") for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
_LETTERS = (
    "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΦΨΩπϕϵµℓ",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega pi phi epsilon "
    "mu ell",
)
_COMMANDS = (
    "×⋅·∙±∓≤≥⩽⩾≦≧≠≈≃≅≡∈∉∪∩∖∞∅Ø∠△…⋯⟨⟩〈〉→⇒∧∨∑∏∫⌊⌋⌈⌉°º",
    "times cdot cdot cdot pm mp le ge le ge le ge ne approx approx cong equiv in notin cup cap "
    "setminus infty emptyset emptyset angle triangle ldots ldots langle rangle langle rangle to "
    "Rightarrow land lor sum prod int lfloor rfloor lceil rceil degree degree",
)
_SIGNS = {
    **{
        c: f"\\{name} "
        for chars, names in (_LETTERS, _COMMANDS)
        for c, name in zip(chars, names.split(), strict=True)
    },
    **dict.fromkeys("−–—﹣‐‑", "-"),
    **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("′’‘", "'"),
    **dict.fromkeys("“”", '"'),
    **{c: f"\\mathbb{{{letter}}}" for c, letter in zip("ℝℤℕℚℂ", "RZNQC", strict=True)},
    **dict(zip("″∣、。，；：（）【】｛｝٪％٫٬", '"|,.,;:()[]{}%%.,', strict=True)),
    **dict.fromkeys("\u3000\u00a0\u2009\u202f\u2002\u2003\u2062", " "),
    **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060\u2061", ""),
    "√": r"\sqrt",
    "∛": r"\sqrt[3]",
    "∜": r"\sqrt[4]",
}
_SPECIAL = re.compile("[" + re.escape("".join([*_SIGNS, *_VULGAR, *_SUPERS, *_SUBS])) + "]+")

_END = r"(?![a-zA-Z])"
_DROPPED = re.compile(
    r"\\(?:left|right|[bB]ig+[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|boldsymbol"
    r"|mathstrut|hfill|hline|noindent|centering|large|Large|normalsize|strut|rm|bf|it|tt)"
    rf"{_END}"
)
_NO_DELIMITER = re.compile(rf"\\(?:left|right){_END}\s*\.")
_SPACES = re.compile(
    rf"\\(?:[,;:> ]|(?:quad|qquad|enspace|thinspace|medspace){_END}|hspace\*?\{{[^{{}}]*\}}"
    r"|[hv]?phantom\{[^{}]*\})|~|&nbsp;"
)
_ALIASES = [
    (re.compile(pattern), into)
    for pattern, into in (
        (rf"\\(?:dfrac|tfrac|cfrac|sfrac|nicefrac){_END}", r"\\frac"),
        (rf"\\(?:dbinom|tbinom){_END}", r"\\binom"),
        (rf"\\(?:leq|leqslant|leqq){_END}", r"\\le "),
        (rf"\\(?:geq|geqslant|geqq){_END}", r"\\ge "),
        (rf"\\neq{_END}|\\not\s*=", r"\\ne "),
        (rf"\\lt{_END}|&lt;", "<"),
        (rf"\\gt{_END}|&gt;", ">"),
        (rf"\\lbrace{_END}", r"\\{"),
        (rf"\\rbrace{_END}", r"\\}"),
        (rf"\\lbrack{_END}", "["),
        (rf"\\rbrack{_END}", "]"),
        (rf"\\(?:lvert|rvert|vert){_END}", "|"),
        (rf"\\(?:dots|cdots|dotsc|dotsb|dotsm|hdots){_END}", r"\\ldots "),
        (rf"\\varnothing{_END}", r"\\emptyset "),
        (rf"\\(?:backslash|smallsetminus){_END}", r"\\setminus "),
        (rf"\\varphi{_END}", r"\\phi "),
        (rf"\\cosec{_END}", r"\\csc "),
        (rf"\\(?:arctg|artan){_END}", r"\\arctan "),
        (rf"\\tg{_END}", r"\\tan "),
        (rf"\\(?:ctg|cotg){_END}", r"\\cot "),
        (rf"\\varepsilon{_END}", r"\\epsilon "),
        (rf"\\ast{_END}", "*"),
        (rf"\^\s*(?:\{{\s*\\(?:circ|degree)\s*\}}|\\(?:circ|degree){_END})", r"\\degree "),
        (rf"\\(?:degrees|textdegree){_END}", r"\\degree "),
        (rf"\\(?:colon|ratio){_END}", ":"),
        (r"\\!", ""),
        (r"\\(?:text|mathrm)\s*\{\s*([0-9A-F]+)\s*\}(?=[0-9A-F]*\s*_)", r"\1"),
    )
]
_ALIASED = re.compile("|".join(pattern.pattern for pattern, _ in _ALIASES))
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MARKDOWN = re.compile(r"\*\*(.+?)\*\*|__(.+?)__|`+([^`]+)`+", re.DOTALL)
_GROUPED = re.compile(
    r"(?<![\d.,])\d{1,3}(?:(?:\\,|\{,\}|\{\\,\}|,\\!\s*|,\\,|\\ )\d{3})+(?:,\d{3})*(?!\d)"
)
_SEPARATOR = re.compile(r"\\,|\{,\}|\{\\,\}|,\\!\s*|,\\,|\\ |,")
_COMMAS = re.compile(r"(?<![\d.,(\[{])[1-9]\d{0,2}(?:,\d{3})+(?!\d)")
_GLUED = re.compile(r"(?<=[\d)}\]])(or|and)(?=[A-Z(\\\d]|[a-z]\s*[=(])")
_ORDINAL = re.compile(
    r"(?<=\d)\s*(?:\^\s*\{?\s*\\(?:text|mathrm|textrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?"
    r"|\\text\s*\{(?:st|nd|rd|th)\}|(?:st|nd|rd|th)\b|\^\{(?:st|nd|rd|th)\})"
)
_DOUBLED = re.compile(r"(?<!\\)\\\\(?=[a-zA-Z(){}\[\],;!% ])")
_INLINE = re.compile(r"^\$(?=\S)([^$]*[^\s$\\])\$(?=\s[^$]*$)")
"""Mathematics before its unit; `$5 and $6` are two amounts."""
_SINGLE = re.compile(r"(?<!\\)(?:\\\\)*\\(?!\\)")
_FENCES = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"))


def unwrapped(text: str) -> str:
    r"""The text without what only displays it: `$…$`, `\(…\)`, bold, a full stop at the end."""
    before = None
    while text != before:
        before = text
        text = text.strip()
        if text.endswith(".") and not text.endswith("..."):
            text = text[:-1].rstrip()
        if text.endswith("\\") and not text.endswith("\\\\"):
            text = text[:-1].rstrip()
        for left, right in _FENCES:
            inner = text[len(left) : -len(right)]
            if (
                len(text) >= len(left) + len(right)
                and text.startswith(left)
                and text.endswith(right)
                and not inner.endswith("\\")
                and left not in inner
                and right not in inner
            ):
                text = inner
    return text


_COMMAND = re.compile(r"\\([a-zA-Z]{3,})")
_VOCABULARY = frozenset(
    (
        _LETTERS[1] + " " + _COMMANDS[1] + " left right big Big bigl bigr Bigl Bigr displaystyle "
        "frac dfrac tfrac cfrac binom sqrt text textbf textit textrm textnormal textsf texttt "
        "textup mathrm mathbf mathbb mathcal "
        "mathit mathsf operatorname mbox leq geq neq lt gt leqslant geqslant ldots cdots dots "
        "quad qquad mid vert lvert rvert langle rangle sin cos tan cot sec csc sinh cosh tanh "
        "arcsin arccos arctan ln log lg exp min max gcd lcm det deg dim mod pmod bmod overline "
        "underline widehat hat vec bar tilde dot ddot overrightarrow begin end circ prime degree "
        "varphi varepsilon vartheta varnothing partial nabla boxed fbox perp parallel subset "
        "subseteq supset forall exists land lor wedge vee hspace vspace phantom cdotp propto "
        "rightarrow leftarrow Leftrightarrow mapsto lim limsup liminf sum prod int iint oint "
        "lbrace rbrace lbrack rbrack backslash limits boldsymbol mathstrut thinspace hbar ell "
        "cosec tg ctg cotg sgn erf sech csch arctg arcsinh arccosh arctanh arsinh arcosh artanh "
        "implies iff therefore because ast star oplus otimes bigcup bigcap substack stackrel"
    ).split()
)


@lru_cache(maxsize=1 << 12)
def _split_command(match: str) -> str:
    r"""`\pik`, from which a space was lost, as `\pi k`; a known command as it is."""
    if match in _VOCABULARY:
        return f"\\{match}"
    for end in range(len(match) - 1, 1, -1):
        if match[:end] in _VOCABULARY:
            return f"\\{match[:end]} {match[end:]}"
    return f"\\{match}"


@lru_cache(maxsize=1 << 15)
def normalised(text: str) -> str:
    """The answer in the one spelling that the parser reads; thousands separators are gone."""
    if _NUMBER.fullmatch(text):
        return text
    text = repaired(_single_backslashes(text))
    if not text.isascii():
        text = _ascii(text)
    text = unwrapped(text)
    if "$" in text:
        text = _INLINE.sub(r"\1", text)
    if not any(mark in text for mark in ("\\", "*", "`", "{,}", "__")):
        return _plain(text)
    if "**" in text or "__" in text or "`" in text:
        text = _MARKDOWN.sub(lambda m: m.group(1) or m.group(2) or m.group(3), text)
    text = _COMMAND.sub(lambda m: _split_command(m.group(1)), text)
    if "," in text or "\\ " in text:
        text = _GROUPED.sub(lambda m: _SEPARATOR.sub("", m.group(0)), text)
    text = _DROPPED.sub(" ", _NO_DELIMITER.sub(" ", text))
    if _ALIASED.search(text):
        for pattern, into in _ALIASES:
            text = pattern.sub(into, text)
    text = _SPACES.sub(" ", text)
    for escaped in "$%#&_":
        text = text.replace(f"\\{escaped}", escaped)
    return _plain(unwrapped(text.replace("{,}", ",")))


def _plain(text: str) -> str:
    text = text.replace("<=", r"\le ").replace(">=", r"\ge ").replace("!=", r"\ne ")
    text = text.replace("...", r"\ldots ").replace("~", " ")
    if "," in text:
        text = _COMMAS.sub(lambda m: m.group(0).replace(",", ""), text)
    if "_" in text or "base" in text:
        text = _based(text)
    if r"\ldots" in text:
        text = _CYCLE.sub(_cycle, text)
    if r"\frac" in text:
        text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", text)
    if "," in text and _CONTINENTAL.fullmatch(text):
        text = re.sub(r"[ .]", "", text).replace(",", ".")
    text = _ORDINAL.sub("", text)
    if "or" in text or "and" in text:
        text = _GLUED.sub(r" \1 ", text)
    return without_remarks(" ".join(text.split()))


_BASES = [
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
]  # fmt: skip
_BASE_NAMED = re.compile(
    r"(?<=[0-9A-Fa-f])\s*(?:_\s*\{?\s*(?:\\text\s*\{)?\s*(" + "|".join(_BASES) + r")\s*\}*"
    r"|\(?\s*(?:\\text\s*\{\s*)?\(?(?:in )?base[ -](\d{1,2}|" + "|".join(_BASES) + r")\s*[)}]*)$"
)
_LETTER_DIGITS = re.compile(
    r"(?<![A-Za-z\\_{.\d])((?=[0-9A-Fa-f]*[A-Fa-f])(?:\d[0-9A-Fa-f]*|[A-F][0-9A-F]+))_\{?(1[1-6])\}?(?!\d)"
)
_CYCLE = re.compile(r"(?<![\d.])(\d*)\.(\d*?)(?:(\d)\3{2,}|(\d{2,6}?)\4+)\s*\\ldots\s*$")
_UNIT_FRACTION = re.compile(
    r"\\frac\s*\{\s*\\(?:text|mathrm)\s*\{\s*([a-zA-Z]{1,12})\s*\}\s*\}"
    r"\s*\{\s*\\(?:text|mathrm)\s*\{\s*([a-zA-Z]{1,12})\s*\}\s*\}"
)
_CONTINENTAL = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+|[-+]?\d{1,3}(?: \d{3})+,\d+")
"""`1.234,5` and `1 234,5`: that both marks stand there tells which is which."""


def _based(text: str) -> str:
    """`1011_{two}` and `1011 base 2` as `1011_{2}`; digits that are letters by their value."""
    match = _BASE_NAMED.search(text)
    if match is not None:
        name = match.group(1) or match.group(2)
        number = int(name) if name.isdigit() else _BASES.index(name) + 2
        text = f"{text[: match.start()].rstrip()}_{{{number}}}"
    return _LETTER_DIGITS.sub(_by_value, text)


def _by_value(match: re.Match[str]) -> str:
    try:
        return f"{int(match.group(1), int(match.group(2)))}_{{10}}"
    except ValueError:
        return match.group(0)


def _cycle(match: re.Match[str]) -> str:
    r"""`0.3333…` as `0.\overline{3}`; the digits of e repeat four of theirs by chance."""
    whole, fixed, one, more = match.groups()
    if more == "1828":
        return match.group(0)
    return rf"{whole}.{fixed}\overline{{{one or more}}}"


def _single_backslashes(text: str) -> str:
    r"""A text in which every backslash is doubled (`\\frac`), as JSON leaves it, made single."""
    if "\\\\" in text and _DOUBLED.search(text) and not _SINGLE.search(text):
        return text.replace("\\\\", "\\")
    return text


def _ascii(text: str) -> str:
    text = _SPECIAL.sub(_mapped, text)  # before NFKC, which would turn x² into x2
    text = unicodedata.normalize("NFKC", text)
    return "".join(
        str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text
    )


def _mapped(match: re.Match[str]) -> str:
    out, run, at = [], match.group(0), 0
    while at < len(run):
        char = run[at]
        table = _SUPERS if char in _SUPERS else _SUBS if char in _SUBS else None
        end = at + 1
        if table is not None:
            while end < len(run) and run[end] in table:
                end += 1
            script = "".join(table[c] for c in run[at:end])
            out.append(("^{" if table is _SUPERS else "_{") + script + "}")
        elif char in _VULGAR:
            top, _, bottom = _VULGAR[char].partition("/")
            out.append(rf"\frac{{{top}}}{{{bottom}}}")
        else:
            out.append(_SIGNS[char])
        at = end
    return "".join(out)
