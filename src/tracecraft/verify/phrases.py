"""Phrases and customs of one country or one school, as the mathematics they stand for."""

import re
from math import comb, factorial

__all__ = ["phrased"]

_WRAP = r"(?:\\text\s*\{\s*)?"
_REALS = rf"{_WRAP}(?:the )?(?:set of )?(?:all )?(?P<kind>[a-z -]*?)\s*real(?:s| numbers?)"
_KINDS = {
    "positive": r"(0,\infty)",
    "negative": r"(-\infty,0)",
    "nonnegative": r"[0,\infty)",
    "nonpositive": r"(-\infty,0]",
    "nonzero": r"\mathbb{R}\setminus \{0\}",
}
_EXCEPT = re.compile(
    rf"^{_REALS}\s*,?\s*(?:except|excluding|other than)(?: for)?\s*\}}?\s*"
    r"(?:[a-z]\s*=)?(?P<but>.+)$"
)
_KIND = re.compile(rf"^{_REALS}\s*\}}?$")
_CHOOSE = re.compile(
    r"(?:\{\s*\})?(?:\^\{?(?P<n>\d{1,3})\}?|_\{?(?P<m>\d{1,3})\}?)\s*(?P<op>[CP])_\{?(?P<k>\d{1,3})\}?"
    r"|(?<![A-Za-z\\])(?P<up>[CPA])_\{?(?P<from>\d{1,3})\}?\s*\^\s*\{?(?P<of>\d{1,3})\}?"
)
_IN = re.compile(r"\\in\s*([ZRNQ])(?![A-Za-z_])")
_DECLARED = re.compile(
    r"[,;]?\s*\(\s*([a-z])\s*\\in\s*(\\mathbb\s*\{\s*[ZN]\s*\})\s*\)(?=$|\s*\\\})"
)
_WRAPPED_SIGN = re.compile(r"\\(?:text|mathrm)\s*\{\s*([€£¥₹$])\s*\}")
_HOLLOW = re.compile(r"\\\{\s*\\\}")


def phrased(text: str) -> str:
    r"""An answer with `all reals except 2` as a set, `{}^5C_2` as a number, `k \in Z` in bold."""
    if "\\in" in text:
        text = _DECLARED.sub(r", \1\\in \2", _IN.sub(r"\\in \\mathbb{\1}", text))
    if "{" in text:
        text = _HOLLOW.sub(r"\\emptyset ", _WRAPPED_SIGN.sub(r"\1", text)).strip()
    if "_" in text and any(c in text for c in "CPA"):
        text = _CHOOSE.sub(_chosen, text)
    return _reals(text) if "real" in text else text


def _chosen(match: re.Match[str]) -> str:
    n = int(match["n"] or match["m"] or match["from"])
    k = int(match["k"] or match["of"])
    if k > n:
        return match[0]
    op = match["op"] or match["up"]
    return str(comb(n, k) if op == "C" else factorial(n) // factorial(n - k))


def _reals(text: str) -> str:
    plain = text[:1].lower() + text[1:]
    found = _EXCEPT.match(plain)
    if found is not None and not found["kind"]:
        but = found["but"].removesuffix("}").replace(r"\text{ and }", ",").replace(" and ", ",")
        return rf"\mathbb{{R}}\setminus \{{{but.strip()}\}}"
    found = _KIND.match(plain)
    if found is not None:
        return _KINDS.get(found["kind"].replace("-", "").replace(" ", ""), text)
    return text
