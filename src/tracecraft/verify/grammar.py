"""A recursive-descent parser for final answers, in LaTeX or in plain text."""

from fractions import Fraction
from functools import lru_cache

from tracecraft.verify.nodes import (
    Call,
    Group,
    Listing,
    Matrix,
    Node,
    Number,
    Relation,
    SuchThat,
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
_CLOSERS = {"(": ")", "[": "]", "{": "}", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil"}
_ENDS = frozenset({")", "]", "}", "rangle", "rfloor", "rceil", "&", "\\", "\\}", "end"})
_MATRICES = frozenset(
    [
        "pmatrix",
        "bmatrix",
        "vmatrix",
        "Vmatrix",
        "matrix",
        "smallmatrix",
        "Bmatrix",
        "array",
        "cases",
        "aligned",
        "align",
    ]
)
_DEEPEST = 60


@lru_cache(maxsize=1 << 14)
def parsed(text: str) -> Node:
    """The tree of a normalised answer.

    Raises:
        Unparsed: it is not in this language; another reader may know it.
    """
    parser = _Parser(tokens(text))
    tree = parser.listing()
    if parser.at < len(parser.tokens):
        raise Unparsed(f"at {parser.tokens[parser.at].text!r}")
    return tree


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0
        self.depth = 0
        self.bars = 0

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
                left = Call("add", (left, right if kind == "+" else Call("neg", (right,))))
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
                left = self._beside(left)
            elif self._multiplies():
                right = self.factor()
                left = _mixed(left, right) or Call("mul", (left, right))
            else:
                return left

    def _beside(self, whole: Number) -> Node:
        """`1 1/2`; two numbers side by side are nothing else."""
        top = self.take().number
        if self.accept("/") and self.kind() == "number" and top is not None:
            bottom = self.take().number
            if bottom is not None and bottom.value:
                mixed = _mixed(whole, Call("div", (top, bottom)))
                if mixed is not None:
                    return mixed
        raise Unparsed("two numbers side by side")

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
        return kind in _PRIMARIES or kind in FUNCTIONS or kind in _SYMBOLS

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
                    base = _primed(base)
                    self.at += 1
                    continue
                base = Call("pow", (base, self.argument()))
            elif kind == "*" and self.kind(1) == "*":
                self.at += 2
                base = Call("pow", (base, self.signed_factor()))
            elif kind == "_":
                self.at += 1
                base = _subscripted(base, self.argument(), self.tokens[self.at - 1])
            elif kind == "!":
                self.at += 1
                base = Call("fact2", (base,)) if self.accept("!") else Call("fact", (base,))
            elif kind == "'":
                self.at += 1
                base = _primed(base)
            elif kind == "%":
                self.at += 1
                base = Call("percent", (base,))
            elif kind == "degree":
                self.at += 1
                base = self._degrees(base)
            else:
                self.depth -= 1
                return base

    def _degrees(self, whole: Node) -> Node:
        """Degrees, with the minutes and seconds that may follow."""
        parts, scale = [whole], 1
        while self.kind() == "number" and self.kind(1) in {"'", '"'} and scale < 3600:
            scale *= 60
            minutes = self.take().number
            assert minutes is not None
            parts.append(Number(minutes.value / scale))
            if self.take().kind == "'" and self.kind() == "'":
                break
        while self.accept("'", '"'):
            pass
        return Call("degree", (whole if len(parts) == 1 else _added(parts),))

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
                return self._group(token.kind)
            case "|":
                return self._between_bars("|")
            case "command":
                return self._command(token)
        raise Unparsed(f"at {token.text!r}")

    def _named(self, token: Token) -> Node:
        """A variable, or an unknown function applied: `f(x)`, and `W(n)` for any letter."""
        name = token.text
        while self.accept("'"):
            name += "'"
        if self.kind() == "(" and not (self.at < len(self.tokens) and self.tokens[self.at].spaced):
            lone = self.kind(1) in {"name", "number"} and self.kind(2) == ")"
            if name.rstrip("'") in {"f", "g", "h"} or (lone and name.isupper() and len(name) == 1):
                self.at += 1
                items = self._items(")")
                self.expect(")")
                return Call(f"apply {name}", items)
        return Symbol(name)

    def _items(self, closer: str) -> tuple[Node, ...]:
        if self.kind() == closer:
            return ()
        inner = self.listing()
        return inner.items if isinstance(inner, Listing) else (inner,)

    def _group(self, left: str) -> Node:
        if left == "{" and self.kind() == "name" and self.kind(1) in {"|", "mid", ":"}:
            return self._set()
        bars, self.bars = self.bars, 0
        items = self._items(_CLOSERS.get(left, ")"))
        right = self.kind()
        if right not in _ENDS:
            raise Unparsed(f"{left!r} is not closed")
        self.at += 1
        self.bars = bars
        if left == "{" and right == "}":
            if len(items) == 1:
                return items[0]  # LaTeX's own braces
            return Group("{", items, "}")
        if len(items) == 1 and (left, right) in {("(", ")"), ("[", "]")}:
            item = items[0]
            return item if not isinstance(item, Text) else Group("(", items, ")")
        return Group(left, items, right)

    def _set(self) -> Node:
        r"""After `\{`."""
        if self.accept("\\}", "}"):
            return Symbol("#emptyset")
        start, bars = self.at, self.bars
        self.bars = 1  # a bar here says "such that"
        try:
            element = self.listing()
        except Unparsed:
            self.at, self.bars = start, 0
            element = self.listing()
        self.bars = bars
        if isinstance(element, Call) and element.op == "ratio" and len(element.args) == 2:
            raise Unparsed("a set with a colon")
        if self.accept("|", "mid", ":", "vert", "\\|"):
            condition = self.listing()
            self._close_set()
            return SuchThat(element, condition)
        self._close_set()
        items = element.items if isinstance(element, Listing) else (element,)
        return Group("{", items, "}")

    def _close_set(self) -> None:
        if not self.accept("}", "\\}"):
            raise Unparsed("a set is not closed")

    def _between_bars(self, closer: str) -> Node:
        self.bars += 1
        inner = self.listing()
        self.bars -= 1
        self.expect(closer)
        return Call("abs", (inner,))

    def _command(self, token: Token) -> Node:
        name = token.text
        if name in FUNCTIONS and name not in {"sqrt", "abs"}:
            return self._function(name)
        if name in _PRIMARIES:
            return _PRIMARIES[name](self)
        if name in _SYMBOLS:
            return Symbol(_SYMBOLS[name])
        raise Unparsed(f"\\{name}")

    def _function(self, name: str) -> Node:
        power: Node | None = None
        base: Node | None = None
        while self.kind() in {"^", "_"}:
            if self.take().kind == "^":
                power = self.argument()
            else:
                base = self.argument()
        if self.kind() in {"(", "["} and self.take():
            closer = _CLOSERS[self.tokens[self.at - 1].kind]
            args = self._items(closer)
            self.expect(closer)
        else:
            args = (self._operand(),)
        if base is not None:
            args = (*args, base)
        call: Node = Call(
            {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}.get(name, name), args
        )
        if power == Call("neg", (Number(Fraction(1)),)) and name in {"sin", "cos", "tan"}:
            return Call(f"arc{name}", args)
        return call if power is None else Call("pow", (call, power))

    def _operand(self) -> Node:
        r"""What a function without parentheses takes: `\sin 2x`, but not the `\cos x` after it."""
        left = self.signed_factor()
        while self._multiplies() and self.kind() not in FUNCTIONS - {"sqrt"} and self.kind() != "(":
            if self.kind() in {"text", "["}:
                break
            left = Call("mul", (left, self.factor()))
        if self.kind() == "/" and self.kind(1) in {"number", "name"}:
            self.at += 1
            left = Call("div", (left, self.factor()))
        return left

    # commands

    def _digit_or_argument(self) -> Node:
        r"""`\frac12` takes one digit each."""
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if (
            token is not None
            and token.kind == "number"
            and len(token.text) > 1
            and token.text.isdigit()
        ):
            rest = token.text[1:]
            self.tokens[self.at] = Token("number", rest, Number(Fraction(rest)))
            return Number(Fraction(token.text[0]))
        return self.argument()

    def _frac(self) -> Node:
        return Call("div", (self._digit_or_argument(), self._digit_or_argument()))

    def _binom(self) -> Node:
        return Call("binom", (self._digit_or_argument(), self._digit_or_argument()))

    def _sqrt(self) -> Node:
        if self.accept("["):
            (degree, *more) = self._items("]")
            if more:
                raise Unparsed("a root of several degrees")
            self.expect("]")
            return Call("root", (self.argument(), degree))
        return Call("sqrt", (self.argument(),))

    def _over(self) -> Node:
        inner = self.argument()
        match inner:
            case Call("mul", _) | Symbol():
                return Symbol("seg_" + "".join(_spelled(inner)))
        raise Unparsed("an overline")

    def _accented(self) -> Node:
        inner = self.argument()
        if isinstance(inner, Symbol):
            return Symbol(f"vec_{inner.name}")
        return Symbol("vec_" + "".join(_spelled(inner)))

    def _angle(self) -> Node:
        return Symbol("angle_" + "".join(_spelled(self.factor())))

    def _blackboard(self) -> Node:
        inner = self.argument()
        if not isinstance(inner, Symbol):
            raise Unparsed("a blackboard letter")
        name = f"#{inner.name}"
        if self.kind() in {"^", "_"} and self.kind(1) in {"+", "*"}:
            self.at += 2
            return Symbol(f"{name}+")
        if self.kind() in {"^", "_"} and self.kind(1) == "{" and self.kind(2) == "+":
            self.at += 4
            return Symbol(f"{name}+")
        return Symbol(name)

    def _floor(self, name: str) -> Node:
        inner = self.listing()
        self.expect("rfloor" if name == "floor" else "rceil")
        return Call(name, (inner,))

    def _boxed(self) -> Node:
        return self.argument()

    def _log_of(self) -> Node:
        return self._function("log")

    def _environment(self) -> Node:
        self.expect("{")
        name = ""
        while self.kind() != "}":
            name += self.take().text
        self.expect("}")
        name = name.rstrip("*")
        if name not in _MATRICES:
            raise Unparsed(f"environment {name}")
        if name == "array":
            self.argument_text()
        rows: list[list[Node]] = [[]]
        while self.kind() != "end":
            if self.accept("&"):
                continue
            if self.accept("\\"):
                rows.append([])
                continue
            rows[-1].append(
                self.clause() if name in {"cases", "aligned", "align"} else self.listing()
            )
        self.take()
        self.argument_text()
        rows = [row for row in rows if row]
        if name in {"cases", "aligned", "align"}:
            return Group("cases", tuple(n for row in rows for n in row), "end")
        if not rows or len({len(row) for row in rows}) > 1:
            raise Unparsed("a matrix with ragged rows")
        matrix = Matrix(tuple(tuple(row) for row in rows))
        return Call("det", (matrix,)) if name == "vmatrix" else matrix

    def argument_text(self) -> None:
        """Skip `{…}`."""
        self.expect("{")
        while self.take().kind != "}":
            pass


_SYMBOLS = {
    **{n: n for n in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega", "pi", "infty", "ell", "hbar", "nabla", "partial"]},
    "emptyset": "#emptyset", "ldots": "…", "prime": "'",
}  # fmt: skip
_PRIMARIES = {
    "frac": _Parser._frac, "binom": _Parser._binom, "sqrt": _Parser._sqrt,
    "abs": lambda p: p._function("abs"), "\\{": _Parser._set,
    "overline": _Parser._over, "bar": _Parser._over, "widehat": _Parser._accented,
    "vec": _Parser._accented, "hat": _Parser._accented, "overrightarrow": _Parser._accented,
    "tilde": _Parser._accented, "angle": _Parser._angle, "triangle": _Parser._angle,
    "mathbb": _Parser._blackboard, "begin": _Parser._environment, "boxed": _Parser._boxed,
    "lfloor": lambda p: p._floor("floor"), "lceil": lambda p: p._floor("ceil"),
    "langle": lambda p: p._group("langle"),
    "\\|": lambda p: p._between_bars("\\|"),
}  # fmt: skip


def _added(parts: list[Node]) -> Node:
    total = parts[0]
    for part in parts[1:]:
        total = Call("add", (total, part))
    return total


def _mixed(left: Node, right: Node) -> Node | None:
    r"""`2\frac{1}{3}` and `1 1/2`: a whole number beside a fraction of whole numbers is a sum."""
    if not (isinstance(left, Number) and left.value.denominator == 1 and left.decimals is None):
        return None
    match right:
        case Call("div", (Number(top, None), Number(bottom, None))) if (
            top.denominator == bottom.denominator == 1 and 0 < top < bottom
        ):
            return Number(left.value + top / bottom)
    return None


def _primed(base: Node) -> Node:
    return Symbol(f"{base.name}'") if isinstance(base, Symbol) else Call("prime", (base,))


def _subscripted(base: Node, index: Node, last: Token) -> Node:
    if isinstance(base, Number):
        return Call("base", (base, index))
    if isinstance(base, Symbol):
        return Symbol(f"{base.name}_" + "".join(_spelled(index)))
    if isinstance(base, Text):
        return Symbol(f"{base.words}_" + "".join(_spelled(index)))
    raise Unparsed(f"a subscript at {last.text!r}")


def _spelled(node: Node) -> list[str]:
    """A subscript or a segment's name as letters."""
    match node:
        case Number(value):
            return [str(value)]
        case Symbol(name) | Text(name):
            return [name]
        case Call(op, args):
            sign = {"neg": "-", "add": "+"}.get(op, "")
            parts = [sign] if op == "neg" else []
            for i, arg in enumerate(args):
                parts += ([sign] if i and sign else []) + _spelled(arg)
            return parts
        case Listing(items, _):
            return [",".join("".join(_spelled(i)) for i in items)]
    raise Unparsed("a subscript")
