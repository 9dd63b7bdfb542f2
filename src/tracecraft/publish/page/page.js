// What the page does by itself: the theme, the place in the page, and the start of the browser.

const THEMES = ["system", "light", "dark"];

function remembered() {
  try {
    return localStorage.getItem("tracecraft-theme") ?? "system";
  } catch {
    return "system"; // a browser that keeps nothing for files
  }
}

function themed(name) {
  const theme = THEMES.includes(name) ? name : "system";
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  get("theme").textContent = `Theme: ${theme}`;
  try {
    localStorage.setItem("tracecraft-theme", theme);
  } catch {
    // see above
  }
  return theme;
}

let theme = themed(remembered());
get("theme").addEventListener("click", () => {
  theme = themed(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
});

const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(target.id);
      link?.setAttribute("aria-current", "true");
      const bar = link?.closest("ul");
      if (bar) bar.scrollLeft = link.offsetLeft - bar.offsetLeft - 40;
    }
  },
  { rootMargin: "-20% 0px -75% 0px" },
);
for (const section of document.querySelectorAll("section")) seen.observe(section);

if (get("list")) browse(JSON.parse(get("data").textContent));
