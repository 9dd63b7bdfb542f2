// The trace browser: what is shown follows from the filters alone.

const PAGE = 25; // rows that are shown at once
const EXCERPT = 160;
const KEPT = "kept to the end";
const NONE = "(none)";

const get = (id) => document.getElementById(id);
const counted = (number) => number.toLocaleString("en");
const ended = (trace) => (trace.rule ? `${trace.step}: ${trace.rule}` : KEPT);
const opinions = (trace) => (trace.differs === undefined ? NONE : trace.differs ? "differ" : "agree");
const FILTERS = { outcome: (t) => t.outcome ?? NONE, rule: ended, domain: (t) => t.domain ?? NONE, opinions: opinions };

function browse(data) {
  const traces = data.traces.map((trace) => ({ trace, text: haystack(trace) }));
  const several = new Set(data.traces.map((trace) => trace.domain)).size > 1;
  let shown = PAGE;
  let found = [];

  function matches() {
    const asked = get("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = Object.entries(FILTERS).map(([name, of]) => [get(`by-${name}`).value, of]);
    return traces.filter(
      ({ trace, text }) =>
        chosen.every(([value, of]) => !value || of(trace) === value) &&
        asked.every((word) => text.includes(word)),
    );
  }

  function draw() {
    get("list").replaceChildren(...found.slice(0, shown).map(({ trace }) => entry(trace, data.why, several)));
    get("more").hidden = found.length <= shown;
    const first = Math.min(shown, found.length);
    get("count").textContent = found.length
      ? `${counted(first)} of ${counted(found.length)} that match, of ${counted(traces.length)}`
      : "No row matches.";
  }

  function update() {
    found = matches();
    shown = PAGE;
    draw();
  }

  function set(values) {
    get("search").value = values.search ?? "";
    for (const name of Object.keys(FILTERS)) get(`by-${name}`).value = values[name] ?? "";
    update();
  }

  for (const [name, of] of Object.entries(FILTERS)) {
    choices(get(`by-${name}`), data.traces.map(of));
    get(`by-${name}`).addEventListener("change", update);
    get(`by-${name}`).parentElement.hidden = new Set(data.traces.map(of)).size < 2;
  }
  let wait = 0;
  get("search").addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(update, 120);
  });
  get("reset").addEventListener("click", () => set({}));
  get("more").addEventListener("click", () => {
    const at = shown;
    shown += PAGE;
    draw();
    get("list").children[at]?.querySelector("summary").focus();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-rule], a[data-search], a[data-opinions]");
    if (!link) return;
    const { step, rule, search, opinions: other } = link.dataset;
    set(rule ? { rule: `${step}: ${rule}` } : { search, opinions: other });
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    get("search").focus();
  });
  update();
}

function haystack(trace) {
  const marks = Object.values(trace.marks ?? {});
  const parts = [trace.id, trace.problem, trace.source, trace.statement, trace.reasoning, trace.response, ...marks];
  return parts.filter(Boolean).join("\n").toLowerCase();
}

function choices(select, values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const options = sorted.map(([value, n]) => element("option", { value }, `${value} (${counted(n)})`));
  select.replaceChildren(element("option", { value: "" }, "any"), ...options);
}

function entry(trace, why, several) {
  const words = (trace.statement ?? trace.response ?? "").replace(/\s+/g, " ").trim();
  const excerpt = words.length > EXCERPT ? `${words.slice(0, EXCERPT)}…` : words;
  const chips = element("span", { class: "chips" });
  if (trace.outcome) chips.append(element("span", { class: `chip b-${trace.outcome}` }, trace.outcome));
  chips.append(element("span", { class: `chip ${trace.rule ? "gone" : "stays"}` }, trace.rule ?? "kept"));
  if (trace.domain && several) chips.append(element("span", { class: "chip" }, trace.domain));
  if (trace.tokens) chips.append(element("span", { class: "chip" }, `${counted(trace.tokens)} tokens`));
  const summary = element("summary", {}, chips, element("span", { class: "excerpt" }, excerpt));
  const details = element("details", { class: "trace" }, summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(opened(trace, why));
  });
  return element("li", {}, details);
}

function opened(trace, why) {
  const inside = element("div", { class: "inside" });
  const button = element("button", { type: "button", "aria-pressed": "false" }, "As plain text");
  const fill = (show) => {
    const parts = [passage("Problem", trace, "statement", show), thought(trace, show), passage("Response", trace, "response", show)];
    inside.replaceChildren(...parts.filter(Boolean), facts(trace, why), button);
  };
  button.addEventListener("click", () => {
    const raw = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", String(raw));
    fill(raw ? plain : prose);
    button.focus();
  });
  fill(prose);
  return inside;
}

function cutting(trace, name) {
  const gone = trace[`${name}_cut`];
  return gone ? `, ${counted(gone)} characters left out` : "";
}

function passage(title, trace, name, show) {
  if (!trace[name]) return null;
  return element("div", { class: name }, element("h4", {}, title + cutting(trace, name)), show(trace[name]));
}

function thought(trace, show) {
  const text = trace.reasoning;
  if (!text) return null;
  const size = text.length + (trace.reasoning_cut ?? 0);
  const title = `Reasoning, ${counted(size)} characters${cutting(trace, "reasoning")}`;
  const folded = element("details", { class: "reasoning" }, element("summary", {}, title));
  folded.addEventListener("toggle", () => {
    if (folded.open && folded.children.length === 1) folded.append(show(text));
  });
  return folded;
}

function facts(trace, why) {
  const told = { ended: ended(trace), because: trace.rule && why[`${trace.step}:${trace.rule}`], ...trace.marks };
  Object.assign(told, { finish: trace.finish, source: trace.source, teacher: trace.teacher, sample: trace.sample });
  Object.assign(told, { problem: trace.problem, id: trace.id });
  const list = element("dl");
  for (const [name, value] of Object.entries(told)) {
    if (value === undefined || value === null || value === "") continue;
    list.append(element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, String(value)));
  }
  return list;
}
