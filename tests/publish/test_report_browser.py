"""The report in a real browser: clicked, typed into, looked at; no complaint and no request."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium
from rehearsal import HOSTILE, PWN, rehearse

from tracecraft.cli.report import write_report

TWO = "<mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr>"
FORMULAS = [
    (r"\frac{1}{2}", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
    (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
    (r"\dfrac{a}{b}", "<mfrac><mi>a</mi><mi>b</mi></mfrac>"),
    ("x^2", "<msup><mi>x</mi><mn>2</mn></msup>"),
    ("x^23", "<msup><mi>x</mi><mn>2</mn></msup><mn>3</mn>"),
    ("x_{i}^{2}", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"),
    ("f'", "<msup><mi>f</mi><mo>′</mo></msup>"),
    (r"\sqrt{x}", "<msqrt><mi>x</mi></msqrt>"),
    (r"\sqrt[3]{x}", "<mroot><mi>x</mi><mn>3</mn></mroot>"),
    (r"\alpha\le\Omega", "<mi>α</mi><mo>≤</mo><mi>Ω</mi>"),
    (r"\sum_{k=1}^n k", '<munderover><mo movablelimits="true">∑</mo>'),
    (r"\lim_{x\to 0}", "<munder>"),
    (r"\boxed{7}", '<mrow class="boxed"><mn>7</mn></mrow>'),
    (r"\binom{n}{k}", '<mfrac linethickness="0">'),
    (r"\left(\frac{1}{2}\right)", '<mo fence="true">(</mo><mfrac>'),
    (r"\text{if } x", "<mtext>if&nbsp;</mtext><mi>x</mi>"),
    (r"\mathbb{R}", ">ℝ</mi>"),
    (r"\sin x", "<mi>sin</mi><mi>x</mi>"),
    (r"\vec{v}", '<mover accent="true"><mi>v</mi>'),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", TWO),
    (r"\begin{array}{cc}1&2\end{array}", "<mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr>"),
    (r"10,000.5", "<mn>10,000.5</mn>"),
    (r"a - b", "<mo>−</mo>"),
    (r"\nosuchthing{x}", r"<mtext>\nosuchthing</mtext><mi>x</mi>"),
    (r"{{{x", "<mi>x</mi>"),
    (r"\frac{1}", "<mfrac><mn>1</mn><mrow></mrow></mfrac>"),
    (r"<img src=x>", "<mo>&lt;</mo>"),
]
NEWLINE = "\n"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(rehearse(tmp_path_factory.mktemp("browser")))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as browser:
        browser.size(1280, 900)
        yield browser


@pytest.fixture
def browser(chromium: Chromium, report: Path) -> Iterator[Chromium]:
    """On the report, freshly loaded; afterwards nothing has complained, asked or run."""
    chromium.size(1280, 900)
    chromium.theme("light")
    chromium.open(report)
    chromium.run("localStorage.clear()")
    chromium.open(report)
    yield chromium
    assert chromium.run("window.pwned") is None
    assert chromium.complaints() == []
    assert chromium.requests() == []


def shown(browser: Chromium) -> int:
    return int(browser.run("document.querySelectorAll('#list > li').length"))


def show(browser: Chromium, words: str) -> None:
    """Search, and unfold the first row that is found, and its reasoning."""
    browser.run(f"document.getElementById('search').value = {words!r}")
    browser.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    browser.wait("document.querySelectorAll('#list > li').length === 1")
    browser.click("#list summary")
    browser.wait("document.querySelector('#list .inside')")
    browser.run("document.querySelectorAll('#list .reasoning').forEach(d => { d.open = true })")
    browser.run("new Promise(done => setTimeout(done, 30))")


def test_the_page_stands_and_asks_for_nothing(browser):
    titles = browser.run("[...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert titles[0] == "Funnel"
    assert {"Verdicts", "Difficulty", "Tokens", "Duplicates", "Contamination"} < set(titles)
    assert shown(browser) == 19


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_trace_is_shown_as_text_and_nothing_of_it_runs(browser, number):
    show(browser, f"problem {number}:")
    text = browser.run("document.querySelector('#list .inside').textContent")
    assert "thing" in text or "Response" in text
    if number in (0, 1, 2, 3):
        assert HOSTILE[number].replace("\u0000", "") in text
    browser.click("#list .inside button")
    assert HOSTILE[number].split("\u0000")[0] in browser.run(
        "document.querySelector('#list .inside').textContent"
    )
    kinds = browser.run(
        "[...new Set([...document.querySelectorAll('#list *')].map(e => e.localName))]"
    )
    assert not {"script", "img", "svg", "iframe", "style", "base", "meta", "object"} & set(kinds)
    assert browser.run("document.querySelectorAll('#list a, #list form').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert browser.run("document.baseURI === location.href") is True


def test_nothing_may_run_that_is_not_the_pages_own(browser):
    browser.run(
        f"for (const make of [() => {{document.body.innerHTML = '<img src=x onerror={PWN}>'}},"
        f"() => {{const s = document.createElement('script'); s.text = '{PWN}';"
        f"document.body.append(s)}}, () => {{eval('{PWN}')}}]) try {{ make() }} catch {{}}"
    )
    assert browser.run("window.pwned") is None
    told = browser.complaints()
    assert len(told) >= 2
    assert all("security" in one for one in told)
    browser.events.clear()


def test_the_theme_follows_the_system_until_it_is_switched(browser, report):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(colour)
    browser.theme("dark")
    dark = browser.run(colour)
    assert light != dark
    browser.click("#theme")
    assert browser.run("document.getElementById('theme').textContent") == "Theme: light"
    assert browser.run(colour) == light
    browser.click("#theme")
    assert browser.run(colour) == dark
    browser.open(report)
    assert browser.run("document.getElementById('theme').textContent") == "Theme: dark"
    browser.click("#theme")
    browser.theme("light")
    assert browser.run(colour) == light


def test_filters_narrow_the_list_together_and_can_be_taken_back(browser):
    browser.choose("#by-outcome", "correct")
    right = shown(browser)
    assert 0 < right < 19
    browser.choose("#by-rule", "unique: duplicate")
    assert 0 < shown(browser) < right
    browser.choose("#by-domain", "science")
    assert shown(browser) == 0
    assert browser.run("document.getElementById('count').textContent") == "No row matches."
    browser.click("#reset")
    assert shown(browser) == 19


def test_a_search_finds_words_in_any_text_of_a_row(browser):
    browser.click("#search")
    browser.type("almond EVENING")
    browser.wait("document.querySelectorAll('#list > li').length === 2")
    assert "of 2 that match" in browser.run("document.getElementById('count').textContent")


def test_a_rule_of_the_funnel_leads_to_the_rows_it_took(browser):
    browser.click("#funnel a[data-rule=wrong]")
    chosen = browser.run("document.getElementById('by-rule').value")
    assert chosen == "kept: wrong"
    count = browser.run("document.querySelector('#funnel a[data-rule=wrong]').closest('li').querySelector('.count').textContent")  # fmt: skip # noqa: E501
    assert shown(browser) == int(count.removeprefix("−"))
    assert browser.run("location.hash") == "#traces"


def test_where_opinions_differ_can_be_read(browser):
    browser.click("#agreement a[data-opinions=differ]")
    assert browser.run("document.getElementById('by-opinions').value") == "differ"
    assert shown(browser) == 2
    browser.click("#list summary")
    browser.wait("document.querySelector('#list .inside')")
    text = browser.run("document.querySelector('#list dl').textContent")
    assert "theirs their flag" in text


def test_a_row_tells_why_it_went(browser):
    browser.choose("#by-rule", "kept: wrong")
    browser.click("#list summary")
    browser.wait("document.querySelector('#list .inside')")
    assert "a wrong one teaches <b>wrong</b>" in browser.run(
        "document.querySelector('#list dl').textContent"
    )


def test_reasoning_is_folded_and_mathematics_and_code_are_set(browser):
    show(browser, "three quarters")
    assert browser.run("document.querySelectorAll('#list .response math').length") == 4
    assert browser.run("document.querySelectorAll('#list .response pre').length") == 1
    assert browser.run("document.querySelector('#list pre .keyword').textContent") == "def"
    assert browser.run("document.querySelector('#list math .boxed mfrac') !== null") is True
    assert browser.run("document.querySelector('#list strong').textContent") == "the"
    assert "$5 and $6" in browser.run("document.querySelector('#list .response').textContent")
    high = browser.run("document.querySelector('#list mfrac').getBoundingClientRect().height")
    assert high > 16, "a fraction stands over two lines"


def test_the_page_is_usable_with_keys_alone(browser):
    browser.key("Tab", 9)
    assert browser.run("document.activeElement.className") == "skip"
    browser.key("Enter", 13, "\r")
    assert browser.run("document.activeElement.id") == "main"
    browser.key("/", 191, "/")
    assert browser.run("document.activeElement.id") == "search"
    for _ in range(5):
        browser.key("Tab", 9)
    browser.run("document.querySelector('#list summary').focus()")
    browser.key("Enter", 13, "\r")
    browser.wait("document.querySelector('#list .trace').open")
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    nameless = browser.run(
        "[...document.querySelectorAll('button, input, select, a')].filter(e =>"
        "!(e.textContent.trim() || e.labels?.length || e.ariaLabel)).length"
    )
    assert nameless == 0


def test_what_is_folded_opens_by_a_click(browser):
    browser.click("#funnel details summary")
    assert browser.run("document.querySelector('#funnel details').open") is True
    assert browser.run("document.querySelector('#funnel table').rows.length") == 8


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_wider_than_the_window_and_text_can_be_read(browser, report, theme, width):
    browser.theme(theme)
    browser.size(width, 800, phone=width < 500)
    browser.open(report)
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    browser.run("new Promise(done => setTimeout(done, 100))")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(CONTRAST) == []


CONTRAST = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  const bad = new Set();
  for (const e of document.querySelectorAll('main *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility() || e.closest('svg')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 3.5) bad.add(`${e.localName}.${e.className}: ${ratio.toFixed(2)}`);
  }
  return [...bad];
})()
"""
"""Elements whose text is fainter than 3.5 to 1 (WCAG's contrast ratio)."""


def test_formulas_become_mathml(chromium, tmp_path):
    page = tmp_path / "formulas.html"
    scripts = [asset("tex.js"), asset("prose.js")]
    page.write_text(f"<meta charset=utf-8><script>{NEWLINE.join(scripts)}</script>")
    chromium.open(page)
    for source, wanted in FORMULAS:
        told = chromium.run(f"formula({source!r}, false).firstChild.outerHTML")
        assert wanted in re.sub(r' (?:xmlns|stretchy|mathvariant)="[^"]*"', "", told), source
    assert chromium.run("formula('{'.repeat(100), false).localName") == "code"
    assert chromium.run("formula('x'.repeat(5000), false).localName") == "code"


@pytest.mark.parametrize(
    "bit", ["$", "$$", "`", "**", "\\[", "\\(", "\\boxed{", "\\begin{align}", "```\n", "#\n\n", "{"]
)
def test_prose_takes_time_in_proportion_to_its_text(chromium, tmp_path, bit):
    page = tmp_path / "prose.html"
    scripts = [asset("tex.js"), asset("prose.js")]
    page.write_text(f"<meta charset=utf-8><script>{NEWLINE.join(scripts)}</script>")
    chromium.open(page)
    took = chromium.run(
        f"(() => {{const text = ({bit!r} + 'ab ').repeat(20000) + ' '.repeat(1e5) + {bit!r};"
        "const start = performance.now();"
        "const made = prose(text); return performance.now() - start})()"
    )
    assert took < 8000, f"{took:.0f} ms"


def asset(name: str) -> str:
    from importlib.resources import files

    return (files("tracecraft.publish") / "page" / name).read_text(encoding="utf-8")
