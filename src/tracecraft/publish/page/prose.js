// A trace's text as people read it: paragraphs, code, formulas. Everything reaches the document
// as text nodes; no link, image or markup of a trace ever becomes one.

const KEYWORDS = new Set(`and as assert async await auto bool break case catch char class const
  continue def default del do double elif else enum except extern false False finally float fn for
  from func function global if impl import in include int is lambda let long match mut namespace new
  None nonlocal not null or pass private public pub raise return self short signed sizeof static
  std string struct switch template this throw true True try type typedef unsigned use using var
  vector virtual void while with yield`.split(/\s+/));
const CODE = /("""[\s\S]{0,2000}?"""|"(?:\\.|[^"\\\n]){0,400}"|'(?:\\.|[^'\\\n]){0,400}')|(#[^\n]*|\/\/[^\n]*)|\b(\d+(?:\.\d+)?)\b|\b([A-Za-z_]\w*)\b/g;
const COLOURED = 20000; // characters of code that are coloured

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function code(source, language) {
  const inside = element("code");
  const block = element("pre", { tabindex: "0", "aria-label": language ? `Code, ${language}` : "Code" }, inside);
  if (source.length > COLOURED) {
    inside.textContent = source;
    return block;
  }
  let last = 0;
  for (const hit of source.matchAll(CODE)) {
    const kind = hit[1] ? "string" : hit[2] ? "comment" : hit[3] ? "number" : KEYWORDS.has(hit[4]) ? "keyword" : "";
    if (!kind) continue;
    inside.append(source.slice(last, hit.index), element("span", { class: kind }, hit[0]));
    last = hit.index + hit[0].length;
  }
  inside.append(source.slice(last));
  return block;
}

// Where a brace that opens at `from` closes; -1 if it does not.
function closing(text, from) {
  let open = 0;
  for (let i = from; i < text.length && i < from + LONGEST; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === "{") open += 1;
    else if (text[i] === "}" && (open -= 1) === 0) return i;
  }
  return -1;
}

const OPENERS = /\$\$|\$|\\\[|\\\(|\\boxed\s*\{|\\begin\{([a-zA-Z]+\*?)\}|`|\*\*/g;
const SET = /^(?:align|aligned|equation|gather|cases|[pbvBV]?matrix|array|eqnarray|split|multline)\*?$/;

// Where the piece that an opener begins ends, what is in it, and how it is shown; null for a word.
function piece(text, hit, missing) {
  const begin = hit.index + hit[0].length;
  const until = (mark, make) => {
    const from = missing.get(mark);
    if (from !== undefined && begin >= from) return null;
    const end = text.indexOf(mark, begin);
    if (end < 0) missing.set(mark, begin);
    return end <= begin ? null : make(text.slice(begin, end), end + mark.length);
  };
  const set = (display) => (inside, end) =>
    inside.trim() && inside.length <= LONGEST ? { end, node: formula(inside, display) } : null;
  switch (hit[0]) {
    case "$$": return until("$$", set(true));
    case "\\[": return until("\\]", set(true));
    case "\\(": return until("\\)", set(false));
    case "`": return until("`", (inside, end) => (inside.includes("\n") ? null : { end, node: element("code", {}, inside) }));
    case "**": return until("**", (inside, end) => (inside.includes("\n\n") ? null : { end, node: element("strong", {}, ...inline(inside)) }));
    case "$":
      return until("$", (inside, end) => {
        const money = /^\s|\s$|\n\n/.test(inside) || /\d/.test(text[end] ?? "");
        return money ? null : set(false)(inside, end);
      });
    default: {
      if (hit[1]) {
        const mark = `\\end{${hit[1]}}`;
        return SET.test(hit[1]) ? until(mark, (inside, end) => set(true)(`${hit[0]}${inside}${mark}`, end)) : null;
      }
      const end = closing(text, begin - 1);
      return end < 0 ? null : { end: end + 1, node: formula(text.slice(hit.index, end + 1), false) };
    }
  }
}

function inline(text) {
  const nodes = [];
  const missing = new Map();
  let last = 0;
  OPENERS.lastIndex = 0;
  for (let hit = OPENERS.exec(text); hit; hit = OPENERS.exec(text)) {
    const escaped = text[hit.index - 1] === "\\";
    const place = OPENERS.lastIndex;
    const found = escaped ? null : piece(text, hit, missing);
    OPENERS.lastIndex = found ? found.end : place;
    if (!found) continue;
    // A formula on a line of its own brings its own space.
    const alone = found.node.getAttribute("display") === "block";
    const before = text.slice(last, hit.index);
    nodes.push(alone ? before.slice(0, -80) + before.slice(-80).replace(/[ \t]*\n[ \t]*$/, "") : before, found.node);
    last = found.end;
    if (alone) last += /^[ \t]*\n?[ \t]*/.exec(text.slice(last, last + 80))[0].length;
    OPENERS.lastIndex = last;
  }
  nodes.push(text.slice(last));
  return nodes;
}

function paragraphs(text) {
  const made = [];
  for (const part of text.split(/\n{2,}/)) {
    const trimmed = part.replace(/^\n+/, "").trimEnd();
    const title = /^(#{1,6}) +([^\n]+)\n?/.exec(trimmed);
    const rest = title ? trimmed.slice(title[0].length) : trimmed;
    if (title) made.push(element("p", { class: "heading" }, ...inline(title[2])));
    if (/^(?:-{3,}|\*{3,})$/.test(rest)) made.push(element("hr"));
    else if (rest) made.push(element("p", {}, ...inline(rest)));
  }
  return made;
}

const FENCE = /^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#-]*)[^\n]*$/gm;

// A whole text; an unclosed block of code ends with the text.
function prose(text) {
  const made = element("div", { class: "prose" });
  let last = 0;
  FENCE.lastIndex = 0;
  for (let open = FENCE.exec(text); open; open = FENCE.exec(text)) {
    made.append(...paragraphs(text.slice(last, open.index)));
    const begin = FENCE.lastIndex + 1;
    const mark = `\n${open[1]}`;
    const found = text.indexOf(mark, begin - 1);
    const end = found < 0 ? text.length : found;
    made.append(code(text.slice(begin, end), open[2]));
    last = found < 0 ? text.length : end + mark.length;
    FENCE.lastIndex = last;
    if (found < 0) break;
  }
  made.append(...paragraphs(text.slice(last)));
  return made;
}

const plain = (text) => element("div", { class: "prose plain" }, element("p", {}, text));
