// TeX as people write it in answers, as MathML. Builds elements, never markup; what it does not
// know stays readable as text.

const MATH = "http://www.w3.org/1998/Math/MathML";
const LONGEST = 4000; // characters of a formula that is still set
const DEEPEST = 40;

const words = (told) => Object.fromEntries(told.trim().split(/\s+/).map((one) => one.split("=")));

const LETTERS = words(`alpha=α beta=β gamma=γ delta=δ epsilon=ϵ varepsilon=ε zeta=ζ eta=η theta=θ
  vartheta=ϑ iota=ι kappa=κ lambda=λ mu=μ nu=ν xi=ξ pi=π varpi=ϖ rho=ρ varrho=ϱ sigma=σ varsigma=ς
  tau=τ upsilon=υ phi=ϕ varphi=φ chi=χ psi=ψ omega=ω Gamma=Γ Delta=Δ Theta=Θ Lambda=Λ Xi=Ξ Pi=Π
  Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω infty=∞ ell=ℓ hbar=ℏ Re=ℜ Im=ℑ aleph=ℵ emptyset=∅
  varnothing=∅ partial=∂ nabla=∇ angle=∠ triangle=△ square=□ blacksquare=■ circ=∘ degree=° prime=′
  dots=… ldots=… cdots=⋯ vdots=⋮ ddots=⋱ top=⊤ bot=⊥ checkmark=✓ imath=ı jmath=ȷ`);
const SIGNS = words(`cdot=⋅ times=× div=÷ pm=± mp=∓ ast=∗ star=⋆ bullet=∙ oplus=⊕ ominus=⊖ otimes=⊗
  cup=∪ cap=∩ setminus=∖ wedge=∧ land=∧ vee=∨ lor=∨ neg=¬ lnot=¬ le=≤ leq=≤ leqslant=≤ ge=≥ geq=≥
  geqslant=≥ ne=≠ neq=≠ approx=≈ equiv=≡ cong=≅ sim=∼ simeq=≃ propto=∝ ll=≪ gg=≫ in=∈ notin=∉ ni=∋
  subset=⊂ subseteq=⊆ supset=⊃ supseteq=⊇ mid=∣ nmid=∤ parallel=∥ perp=⊥ to=→ rightarrow=→
  leftarrow=← leftrightarrow=↔ Rightarrow=⇒ implies=⟹ Leftarrow=⇐ Leftrightarrow=⇔ iff=⟺ mapsto=↦
  longrightarrow=⟶ uparrow=↑ downarrow=↓ forall=∀ exists=∃ therefore=∴ because=∵ colon=: lt=< gt=>
  lvert=| rvert=| vert=| Vert=‖ lVert=‖ rVert=‖ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ langle=⟨ rangle=⟩
  lbrace={ rbrace=} backslash=∖ models=⊨ vdash=⊢`);
const LARGE = words(`sum=∑ prod=∏ coprod=∐ bigcup=⋃ bigcap=⋂ bigoplus=⨁ bigvee=⋁ bigwedge=⋀`);
const INTEGRALS = words("int=∫ iint=∬ iiint=∭ oint=∮");
const NAMES = new Set(`sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp det
  dim ker deg gcd lcm hom arg max min sup inf lim limsup liminf Pr mod`.split(/\s+/));
const BELOW = new Set("max min sup inf lim limsup liminf Pr gcd det".split(" "));
const ACCENTS = words(`hat=^ widehat=^ bar=¯ overline=¯ vec=→ overrightarrow=→ dot=˙ ddot=¨ tilde=~
  widetilde=~ overbrace=⏞ underbrace=⏟ underline=_`);
const TEXTS = new Set("text textbf textit textrm textsf texttt mbox mathrm operatorname mathsf".split(" "));
const FONTS = new Set("mathbf boldsymbol bm mathit mathcal mathscr mathfrak mathbb pmb".split(" "));
const DOUBLE = { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" };
const SPACES = { ",": "0.17em", ":": "0.22em", ";": "0.28em", " ": "0.28em", "!": "0em", quad: "1em", qquad: "2em" };
const IGNORED = new Set(`displaystyle textstyle limits nolimits scriptstyle big Big bigg Bigg bigl bigr
  Bigl Bigr biggl biggr Biggl Biggr middle nonumber notag hline rm bf it cr centering`.split(/\s+/));
const FENCED = { pmatrix: "()", bmatrix: "[]", Bmatrix: "{}", vmatrix: "||", Vmatrix: "‖‖", cases: "{" };

function math(name, children = [], attributes = {}) {
  const made = document.createElementNS(MATH, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const child of children) made.append(child);
  return made;
}

const sign = (text, attributes = {}) => math("mo", [text], attributes);
const row = (children) => (children.length === 1 ? children[0] : math("mrow", children));

class TexReader {
  constructor(source) {
    this.tokens = source.match(/\\[a-zA-Z]+\*?|\\[\s\S]|\d+(?:[.,]\d+)*|\s+|[\s\S]/gu) ?? [];
    this.at = 0;
    this.depth = 0;
  }

  peek() {
    return this.tokens[this.at];
  }

  skip() {
    while (this.at < this.tokens.length && /^\s/.test(this.peek())) this.at += 1;
    return this.peek();
  }

  // Nodes up to a token that stops says ends them; that token stays.
  list(stops) {
    this.depth += 1;
    if (this.depth > DEEPEST) throw new RangeError("too deep");
    const nodes = [];
    for (let token = this.skip(); token !== undefined && !stops(token); token = this.skip()) {
      const atom = this.scripted();
      if (atom) nodes.push(atom);
    }
    this.depth -= 1;
    return nodes;
  }

  scripted() {
    const first = this.peek();
    const base = first === "^" || first === "_" ? math("mrow") : this.atom();
    let below = null;
    let above = null;
    for (let token = this.skip(); token === "^" || token === "_" || token === "'"; token = this.skip()) {
      this.at += 1;
      if (token === "'") above = above ? row([above, sign("′")]) : sign("′");
      else if (token === "^") above = above ? row([above, this.argument()]) : this.argument();
      else below = this.argument();
    }
    if (!base || !(below || above)) return base;
    const under = base.dataset?.limits || base.getAttribute("movablelimits") === "true";
    const names = under ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
    if (below && above) return math(names[2], [base, below, above]);
    return below ? math(names[0], [base, below]) : math(names[1], [base, above]);
  }

  // What stands in braces, or else the next atom.
  argument() {
    const token = this.skip();
    if (token === undefined) return math("mrow");
    if (token !== "{") {
      if (/^\d/.test(token) && token.length > 1) {
        this.tokens[this.at] = token.slice(1);
        return math("mn", [token[0]]);
      }
      return this.atom() ?? math("mrow");
    }
    this.at += 1;
    const nodes = this.list((one) => one === "}");
    this.at += 1;
    return row(nodes);
  }

  // The characters in braces, as they are.
  raw() {
    if (this.skip() !== "{") return this.tokens[this.at++] ?? "";
    let open = 0;
    let text = "";
    for (; this.at < this.tokens.length; this.at += 1) {
      const token = this.peek();
      if (token === "{") open += 1;
      if (token === "}") open -= 1;
      if (open === 0) break;
      if (!(token === "{" && open === 1)) text += token;
    }
    this.at += 1;
    return text;
  }

  optional() {
    if (this.skip() !== "[") return null;
    this.at += 1;
    const nodes = this.list((one) => one === "]");
    this.at += 1;
    return row(nodes);
  }

  atom() {
    const token = this.tokens[this.at];
    if (token === "{") return this.argument();
    this.at += 1;
    if (token.startsWith("\\")) return this.command(token.slice(1));
    if (/^\d/.test(token)) return math("mn", [token]);
    if (/^\p{L}/u.test(token)) return math("mi", [token]);
    if (token === "~") return math("mspace", [], { width: "0.28em" });
    if (token === "}" || token === "&" || token === "$") return null;
    if ("()[]|".includes(token)) return sign(token, { stretchy: "false" });
    return sign(token === "-" ? "−" : token === "*" ? "∗" : token);
  }

  command(name) {
    const plain = name.replace("*", "");
    if (name in LETTERS) return math("mi", [LETTERS[name]]);
    if (name in SIGNS) return sign(SIGNS[name], "∣‖|⌊⌋⌈⌉⟨⟩".includes(SIGNS[name]) ? { stretchy: "false" } : {});
    if (name in LARGE) return sign(LARGE[name], { movablelimits: "true" });
    if (name in INTEGRALS) return sign(INTEGRALS[name]);
    if (name in SPACES) return math("mspace", [], { width: SPACES[name] });
    if (name in ACCENTS) return this.accent(name);
    if (NAMES.has(name)) {
      const made = math("mi", [name]);
      if (BELOW.has(name)) made.dataset.limits = "below";
      return made;
    }
    if (TEXTS.has(plain)) return math("mtext", [this.raw().replace(/\\([ %$&_#{}])/g, "$1").replace(/^ | $/g, "\u00a0")]);
    if (FONTS.has(name)) return this.font(name);
    if (IGNORED.has(name)) return null;
    return this.structure(name);
  }

  structure(name) {
    switch (name) {
      case "frac": case "dfrac": case "tfrac": case "cfrac":
        return math("mfrac", [this.argument(), this.argument()]);
      case "binom": case "dbinom": case "tbinom": {
        const inside = math("mfrac", [this.argument(), this.argument()], { linethickness: "0" });
        return math("mrow", [sign("("), inside, sign(")")]);
      }
      case "sqrt": {
        const degree = this.optional();
        const inside = this.argument();
        return degree ? math("mroot", [inside, degree]) : math("msqrt", [inside]);
      }
      case "boxed": case "fbox":
        return math("mrow", [this.argument()], { class: "boxed" });
      case "left":
        return this.fence();
      case "begin":
        return this.environment(this.raw());
      case "pmod":
        return math("mrow", [sign("("), math("mi", ["mod"]), math("mspace", [], { width: "0.28em" }), this.argument(), sign(")")]);
      case "bmod":
        return math("mrow", [math("mspace", [], { width: "0.22em" }), math("mi", ["mod"]), math("mspace", [], { width: "0.22em" })]);
      case "not":
        return math("mrow", [this.argument(), sign("\u0338")]);
      case "stackrel": case "overset": {
        const above = this.argument();
        return math("mover", [this.argument(), above]);
      }
      case "underset": {
        const below = this.argument();
        return math("munder", [this.argument(), below]);
      }
      case "color": case "label": case "tag":
        this.raw();
        return null;
      case "phantom": case "hspace": case "vspace":
        this.raw();
        return math("mspace", [], { width: "0.5em" });
      case "\\":
        return math("mspace", [], { linebreak: "newline", width: "1em" });
      default:
        return name.length === 1 ? sign(name, { stretchy: "false" }) : math("mtext", [`\\${name}`]);
    }
  }

  accent(name) {
    const inside = this.argument();
    const mark = sign(ACCENTS[name], { stretchy: /wide|over|under/.test(name) ? "true" : "false" });
    if (name.startsWith("under")) return math("munder", [inside, mark]);
    const made = math("mover", [inside, mark], { accent: "true" });
    if (name === "overbrace") made.dataset.limits = "above";
    return made;
  }

  font(name) {
    if (name === "mathbb") {
      const letters = [...this.raw()].map((one) => DOUBLE[one] ?? one);
      return math("mi", [letters.join("")], { mathvariant: "normal" });
    }
    const inside = math("mrow", [this.argument()]);
    if (/bf|bold|bm|pmb/.test(name)) inside.setAttribute("class", "bold");
    return inside;
  }

  delimiter() {
    const token = this.skip();
    this.at += 1;
    if (token === undefined || token === ".") return "";
    const name = token.slice(1);
    return token.startsWith("\\") ? (SIGNS[name] ?? (name === "|" ? "‖" : name)) : token;
  }

  fence() {
    const left = this.delimiter();
    const inside = this.list((token) => token === "\\right");
    this.at += 1;
    const right = this.delimiter();
    const parts = left ? [sign(left, { fence: "true" })] : [];
    parts.push(...inside);
    if (right) parts.push(sign(right, { fence: "true" }));
    return math("mrow", parts);
  }

  environment(name) {
    const plain = name.replace("*", "");
    if (plain === "array" || plain === "tabular") this.raw();
    const rows = [[]];
    const ends = (token) => token === "&" || token === "\\\\" || token === "\\end";
    for (;;) {
      rows.at(-1).push(math("mtd", this.list(ends)));
      const token = this.peek();
      this.at += 1;
      if (token === "\\\\") rows.push([]);
      else if (token !== "&") break;
    }
    this.raw();
    const lines = rows.filter((cells) => cells.length > 1 || cells[0]?.childNodes.length);
    const kind = /align|split|gather|eqn/.test(plain) ? "aligned" : plain === "cases" ? "cases" : "matrix";
    const table = math("mtable", lines.map((cells) => math("mtr", cells)), { class: kind });
    const fences = FENCED[plain];
    if (!fences) return table;
    const parts = [sign(fences[0], { fence: "true" }), table];
    if (fences[1]) parts.push(sign(fences[1], { fence: "true" }));
    return math("mrow", parts);
  }
}

// The element that shows a formula; one that cannot be read is shown as it was written.
function formula(source, display) {
  if (source.length <= LONGEST) {
    try {
      const reader = new TexReader(source);
      const nodes = [];
      while (reader.skip() !== undefined) {
        nodes.push(...reader.list(() => false));
      }
      return math("math", [math("mrow", nodes)], { display: display ? "block" : "inline", title: source });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  const made = document.createElement("code");
  made.textContent = source;
  return made;
}
