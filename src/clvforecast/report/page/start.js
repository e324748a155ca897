// Draw what is there, and listen.

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  drawAgain();
}

function connectTheme() {
  const button = byId("theme");
  let at = 0;
  button.addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    button.textContent = `Theme: ${THEMES[at]}`;
    setTheme(THEMES[at]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
}

/** Narrower or wider, when a phone is turned: labels are chosen anew, which the chart library would only tilt. */
function connectWindow() {
  let width = document.documentElement.clientWidth, asked = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(() => {
      if (document.documentElement.clientWidth === width) return;
      width = document.documentElement.clientWidth;
      drawAgain();
    });
  });
}

/** On paper: light, all figures open, charts as wide as the sheet. */
function connectPrinting() {
  let opened = [], theme = null;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme ?? "system";
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
    document.documentElement.classList.add("printing");
    setTheme("light");
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    document.documentElement.classList.remove("printing");
    setTheme(theme);
  });
}

function connectKeys() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey && !byId("account-view").open) {
      event.preventDefault();
      byId("account-search").focus();
    }
  });
  const view = byId("account-view");
  view.addEventListener("close", closeAccount);
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });
}

function connectChoices() {
  onChoice("revenue-freq", (freq, section) => { showOnly(section, "freq", freq); draw("revenue-chart", revenueChart); });
  onChoice("bridge-freq", (freq, section) => { showOnly(section, "freq", freq); fillBridgePeriods(); draw("bridge-chart", bridgeChart); });
  onChoice("bridge-period", () => draw("bridge-chart", bridgeChart));
  onChoice("retention-freq", (freq, section) => { showOnly(section, "freq", freq); draw("retention-chart", retentionChart); });
  onChoice("segment-by", (column, section) => showOnly(section, "segment", column));
}

fillBridgePeriods();
draw("revenue-chart", revenueChart);
draw("bridge-chart", bridgeChart);
draw("retention-chart", retentionChart);
draw("scenarios-chart", scenarioChart);
draw("calibration-chart", calibrationChart);
connectTables();
connectChoices();
connectList();
connectTheme();
connectWindow();
connectPrinting();
connectKeys();
document.documentElement.dataset.ready = "yes";
