"""A recursive-descent parser for final answers, in LaTeX or in plain text."""

from fractions import Fraction
from functools import lru_cache

from tracecraft.verify.commands import (
    PRIMARIES,
    SYMBOLS,
    applied,
    beside,
    braced_set,
    degrees,
    function,
    inverse,
    mixed,
    primed,
    subscripted,
)
from tracecraft.verify.nodes import (
    Call,
    Group,
    Listing,
    Node,
    Number,
    Relation,
    Symbol,
    Text,
)
from tracecraft.verify.tokens import FUNCTIONS, Token, Unparsed, tokens

__all__ = ["Unparsed", "parsed"]

_RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "approx": "~", "in": "in",
    "equiv": "=", "sim": "~", "notin": "notin", "subset": "subset", "subseteq": "subseteq",
    "to": "->", "Rightarrow": "->", "cong": "~", "propto": "propto", "parallel": "parallel",
    "perp": "perp", "mapsto": "->", "rightarrow": "->", "ll": "<", "gg": ">", "implies": "->",
}  # fmt: skip
_SETS = {"cup": "cup", "cap": "cap", "setminus": "setminus"}
_TIMES = frozenset({"*", "cdot", "times"})
CLOSERS = {"(": ")", "[": "]", "{": "}", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil"}
_ENDS = frozenset({")", "]", "}", "rangle", "rfloor", "rceil", "&", "\\", "\\}", "end"})
_DEEPEST = 60


@lru_cache(maxsize=1 << 14)
def parsed(text: str) -> Node:
    """The tree of a normalised answer.

    Raises:
        Unparsed: it is not in this language; another reader may know it.
    """
    parser = Parser(tokens(text))
    tree = parser.listing()
    if parser.at < len(parser.tokens):
        raise Unparsed(f"at {parser.tokens[parser.at].text!r}")
    return tree


class Parser:
    """Reads tokens from the loosest binding to the tightest."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.start = 0
        """Where the clause begins that is being read."""

    # what stands next

    def kind(self, ahead: int = 0) -> str:
        """The kind of a token to come; a command's name; empty at the end."""
        if self.at + ahead >= len(self.tokens):
            return ""
        token = self.tokens[self.at + ahead]
        return token.text if token.kind == "command" else token.kind

    def take(self) -> Token:
        if self.at >= len(self.tokens):
            raise Unparsed("the answer breaks off")
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, *kinds: str) -> bool:
        if self.kind() in kinds:
            self.at += 1
            return True
        return False

    def expect(self, kind: str) -> None:
        if not self.accept(kind):
            raise Unparsed(f"expected {kind!r}, found {self.kind()!r}")

    def joint(self) -> str | None:
        """The separator that stands next: `,` `;` `and` `or`."""
        kind = self.kind()
        if kind in {",", ";"}:
            return kind
        if kind in {"lor", "vee"}:
            return "or"
        if kind in {"land", "wedge"}:
            return "and"
        if kind == "text":
            word = self.tokens[self.at].text.lower().strip(" ,.;:")
            if word in {"or", "and"}:
                return word
            if word in {"where", "with", "for", "when", "if", "and where"}:
                return "where"
        if kind == "name" and self.tokens[self.at].text == "o" and self._spells("or"):
            return "or"
        return None

    def _spells(self, word: str) -> bool:
        here = self.tokens[self.at : self.at + len(word)]
        return "".join(t.text for t in here) == word and here[0].spaced

    def _skip_joint(self) -> str:
        """Take a separator, with the `and` that may follow a comma."""
        joint = self.joint() or ","
        self.at += 2 if joint == "or" and self.kind() == "name" else 1
        following = self.joint()
        if following in {"and", "or", "where"} and joint in {",", ";"}:
            return self._skip_joint()
        if following == ",":
            self.at += 1
        return joint

    # from the loosest binding to the tightest

    def listing(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unparsed("nested too deeply")
        items, joints = [self.clause()], []
        while self.joint() is not None:
            joint = self._skip_joint()
            if not self.kind() or self.kind() in _ENDS:
                break  # a trailing comma
            joints.append(joint)
            items.append(self.clause())
        self.depth -= 1
        return items[0] if len(items) == 1 else Listing(tuple(items), tuple(joints))

    def clause(self) -> Node:
        while self.accept("&"):
            pass
        if self.kind() in {"=", "approx", "therefore", "equiv", ":", "because"}:
            self.at += 1  # a stray `= 5`
        self.start = self.at
        sides, ops = [self.union()], []
        while True:
            while self.accept("&"):
                pass
            kind = self.kind()
            if kind not in _RELATIONS:
                break
            self.at += 1
            if self.kind() == "=" and kind in {"<", ">"}:
                self.at += 1
                kind = "le" if kind == "<" else "ge"
            ops.append(_RELATIONS[kind])
            sides.append(self.union())
        return sides[0] if not ops else Relation(tuple(ops), tuple(sides))

    def union(self) -> Node:
        left = self.sum()
        while self.kind() in _SETS:
            op = _SETS[self.take().text]
            left = Call(op, (left, self.sum()))
        return left

    def sum(self) -> Node:
        left = self.signed()
        while (kind := self.kind()) in {"+", "-", "pm", "mp"}:
            self.at += 1
            right = self.term()
            if kind in {"pm", "mp"}:
                left = Call(kind, (left, right))
            else:
                without = kind == "-" and isinstance(right, Group) and right.left == "{"
                tail = right if kind == "+" else Call("neg", (right,))
                left = Call("setminus", (left, right)) if without else Call("add", (left, tail))
        if self.kind() == ":" and not self.bars:
            parts = [left]
            while self.accept(":"):
                parts.append(self.signed())
            return Call("ratio", tuple(parts))
        return left

    def signed(self) -> Node:
        kind = self.kind()
        if kind == "-":
            self.at += 1
            return Call("neg", (self.signed_term(),))
        if kind == "+":
            self.at += 1
            return self.signed_term()
        if kind in {"pm", "mp"}:
            self.at += 1
            return Call("pm", (Number(Fraction(0)), self.term()))
        return self.term()

    def signed_term(self) -> Node:
        return self.signed() if self.kind() in {"+", "-"} else self.term()

    def term(self) -> Node:
        left = self.factor()
        while True:
            kind = self.kind()
            if kind in _TIMES:
                self.at += 1
                left = Call("mul", (left, self.signed_factor()))
            elif kind in {"/", "div"}:
                self.at += 1
                left = Call("div", (left, self.signed_factor()))
            elif kind in {"mod", "bmod", "pmod"}:
                self.at += 1
                self.factor()  # `9 (mod 11)` says in which ring, not which number
            elif kind == "number" and isinstance(left, Number):
                left = beside(self, left)
            elif self._multiplies():
                right = self.factor()
                left = mixed(left, right) or Call("mul", (left, right))
            else:
                return left

    def _multiplies(self) -> bool:
        """Whether a factor follows without a sign."""
        kind = self.kind()
        if kind == "|":
            return not self.bars
        if kind == "text":
            return self.joint() is None
        if kind == "name":
            return self.joint() is None
        if kind in {"number", "(", "[", "{", "langle"}:
            return True
        return kind in PRIMARIES or kind in FUNCTIONS or kind in SYMBOLS

    def signed_factor(self) -> Node:
        if self.accept("-"):
            return Call("neg", (self.signed_factor(),))
        self.accept("+")
        return self.factor()

    def factor(self) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unparsed("nested too deeply")
        base = self.primary()
        while True:
            kind = self.kind()
            if kind == "^":
                self.at += 1
                if self.kind() in {"prime", "'"}:
                    base = primed(base)
                    self.at += 1
                    continue
                base = inverse(self, Call("pow", (base, self.argument())))
            elif kind == "*" and self.kind(1) == "*":
                self.at += 2
                base = Call("pow", (base, self.signed_factor()))
            elif kind == "_":
                self.at += 1
                base = subscripted(base, self.argument(), self.tokens[self.at - 1])
            elif kind == "!":
                self.at += 1
                base = Call("fact2", (base,)) if self.accept("!") else Call("fact", (base,))
            elif kind == "'":
                self.at += 1
                base = primed(base)
            elif kind == "%":
                self.at += 1
                base = Call("percent", (base,))
            elif kind == "degree":
                self.at += 1
                base = degrees(self, base)
            else:
                self.depth -= 1
                return base

    def argument(self) -> Node:
        """What `^`, `_` and a command without parentheses take."""
        if self.accept("{"):
            inner: Node = self.listing() if self.kind() != "}" else Text("")
            self.expect("}")
            return inner
        if self.kind() in {"-", "+"}:
            negative = self.take().kind == "-"
            inner = self.primary()
            return Call("neg", (inner,)) if negative else inner
        return self.primary()

    def primary(self) -> Node:
        token = self.take()
        match token.kind:
            case "number":
                assert token.number is not None
                return token.number
            case "name":
                return self._named(token)
            case "text":
                return Text(token.text)
            case "(" | "[" | "{":
                return self.group(token.kind)
            case "|":
                return self.between_bars("|")
            case "command":
                return self._command(token)
        raise Unparsed(f"at {token.text!r}")

    def _named(self, token: Token) -> Node:
        """A variable, or an unknown function applied: `f(x)`, and `W(n)` for any letter."""
        name = token.text
        while self.accept("'"):
            name += "'"
        op = applied(self, name) if self.kind() == "(" else None
        if op is None:
            return Symbol(name)
        self.at += 1
        items = self.items(")")
        self.expect(")")
        return Call(op, items)

    def items(self, closer: str) -> tuple[Node, ...]:
        if self.kind() == closer:
            return ()
        inner = self.listing()
        return inner.items if isinstance(inner, Listing) else (inner,)

    def group(self, left: str) -> Node:
        if left == "{" and self.kind() == "name" and self.kind(1) in {"|", "mid", ":"}:
            return braced_set(self)
        bars, self.bars = self.bars, 0
        inner = Listing((), ()) if self.kind() == CLOSERS.get(left, ")") else self.listing()
        items = inner.items if isinstance(inner, Listing) else (inner,)
        right = self.kind()
        if right not in _ENDS:
            raise Unparsed(f"{left!r} is not closed")
        self.at += 1
        self.bars = bars
        if left == "{" and right == "}":
            if len(items) == 1:
                return items[0]  # LaTeX's own braces
            return Group("{", items, "}")
        if (
            left == "("
            and isinstance(inner, Listing)
            and set(inner.joints) <= {"and", "or"}
            and items
        ):
            return inner  # `(x > 1 and x < 5) or x = 7`
        if len(items) == 1 and (left, right) in {("(", ")"), ("[", "]")}:
            item = items[0]
            return item if not isinstance(item, Text) else Group("(", items, ")")
        return Group(left, items, right)

    def between_bars(self, closer: str) -> Node:
        self.bars += 1
        inner = self.listing()
        self.bars -= 1
        self.expect(closer)
        return Call("abs", (inner,))

    def _command(self, token: Token) -> Node:
        name = token.text
        if name in FUNCTIONS and name not in {"sqrt", "abs"}:
            return function(self, name)
        if name == "Gamma" and self.kind() == "(":
            return function(self, "gamma")
        if name in PRIMARIES:
            return PRIMARIES[name](self)
        if name in SYMBOLS:
            return Symbol(SYMBOLS[name])
        raise Unparsed(f"\\{name}")
