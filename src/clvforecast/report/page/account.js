// The view of one account: what it brought, what it may bring, where that comes from, and what is planned.

const ORIGIN_NAMES = { committed: "Committed", renewal: "Renewals", expansion: "Expansion", contraction: "Contraction",
  change_order: "Change orders", referral: "Referrals", reactivation: "Reactivation", catch_up: "Late bookings" };
const CHANCES = [["q05", 0.95], ["q10", 0.9], ["q25", 0.75], ["q50", 0.5], ["q75", 0.25], ["q90", 0.1], ["q95", 0.05]];

let opener = null;

function openAccount(i, from = document.activeElement) {
  const view = byId("account-view");
  opener = from;
  view.replaceChildren(accountHead(i), accountFigures(i), accountCharts(i), accountOrigins(i), accountPlans(i));
  if (!view.open) view.showModal();
  view.scrollTop = 0;
  draw("account-years-chart", () => yearsChart(i));
  draw("account-chances-chart", () => chancesChart(i));
}

function closeAccount() {
  for (const id of ["account-years-chart", "account-chances-chart"]) {
    drawn.delete(id);
    if (byId(id)) Plotly.purge(byId(id));
  }
  const back = opener?.isConnected ? opener : byId("account-search");
  back.focus();
}

function accountHead(i) {
  const segments = ACCOUNTS.segments.map((segment) => el("span", {}, `${titled(segment.name)}: `, el("bdi", {}, segment.of(i))));
  return el("div", { class: "view-head" },
    el("div", {}, el("h2", { id: "account-name" }, el("bdi", {}, breakable(ACCOUNTS.ids[i]))), el("p", { class: "small" }, segments)),
    el("button", { type: "button", id: "account-close", onclick: () => byId("account-view").close() }, "Close"));
}

/** A unit for all money of one account. */
function accountUnit(i) {
  const of = (names) => names.map((name) => ACCOUNTS.amount(name, i));
  return rangeUnit([of(["lower", "q50", "upper"]), of(["q05", "q50", "q95"])], Math.max(0, ...of([TO_DATE, "mean"]).filter(Number.isFinite)));
}

const AFTER_COST = DATA.has_cost ? ", after the cost to serve" : "";

function accountFigures(i) {
  const unit = accountUnit(i), of = (name) => money(ACCOUNTS.amount(name, i), unit), share = (name) => percent(ACCOUNTS.share(name, i), 0);
  const toDate = ACCOUNTS.amount(TO_DATE, i), clv = (name) => money(toDate + ACCOUNTS.amount(name, i), unit);
  const renews = ACCOUNTS.share("p_next_renewal", i);
  const rows = [
    ["Lifetime value to date", of(TO_DATE), TO_DATE === "booked_to_date" ? "booked" : `${DONE}; booked ${of("booked_to_date")}`],
    [`Next ${DATA.horizon_months} months, median`, of("q50"), `${RANGE}: ${of("lower")} to ${of("upper")}`],
    [`Next ${DATA.horizon_months} months, mean`, of("mean"), `nothing at all: ${share("p_zero")}`],
    ["To date and ahead, median", clv("q50"), `${RANGE}: ${clv("lower")} to ${clv("upper")}`],
    [`Discounted${AFTER_COST}, mean`, of("discounted_mean"), `${RANGE}: ${of("discounted_lower")} to ${of("discounted_upper")}`],
    [`Beyond the ${DATA.horizon_months} months`, of("beyond_horizon"), `mean, discounted${AFTER_COST}`],
    ["Renews at the next decision", percent(renews, 0), Number.isFinite(renews)
      ? `90%: ${share("p_next_renewal_q05")} to ${share("p_next_renewal_q95")}` : "no decision is open"],
    ["Active in 12, 24, 36 months", ["12m", "24m", "36m"].map((mark) => share(`p_active_${mark}`)).join(", "),
      `${number(ACCOUNTS.share("active_months", i), 1)} of ${DATA.horizon_months} months under contract, mean`],
  ];
  return el("div", {}, el("p", { class: "small" }, `Money in ${label(unit, CURRENCY)}`),
    el("dl", { class: "account-figures" }, rows.map(([name, figure, note]) =>
      el("div", {}, el("dt", {}, name), el("dd", { class: "figure" }, figure), el("dd", { class: "small" }, note)))));
}

function accountCharts(i) {
  const past = ACCOUNTS.hasHistory ? `Revenue of past years and the range of ${AHEAD}.` : `The range of ${AHEAD}.`;
  const one = (id, title, about, table) => el("figure", {}, el("figcaption", { id: `${id}-caption` }, title),
    el("div", { class: "chart", id: `${id}-chart`, role: "img", "aria-label": about }),
    el("details", { class: "figures" }, el("summary", {}, "Show the figures"), table));
  return el("div", { class: "pair" },
    one("account-years", "", `${past} The figures are in the table below.`, yearsTable(i)),
    one("account-chances", "", "Chance of at least so much revenue. The figures are in the table below.", chancesTable(i)));
}

/** What stands beside past years: a year of the window on average, or the window where it is no longer than a year. */
const AHEAD_YEARS = Math.max(1, DATA.horizon_months / 12);
const AHEAD = DATA.horizon_months > 12 ? "a mean year ahead" : `the ${counted(DATA.horizon_months, "month")} ahead`;

/** What every year brought, from the first that brought anything. */
function yearsOf(i) {
  const all = ACCOUNTS.years.map(({ end, cents }) => ({ end, amount: cents[i] / 100 }));
  const first = all.findIndex(({ amount }) => amount !== 0);
  return first < 0 ? [] : all.slice(first);
}

/** Past years as bars, and beside them what is ahead, with its ranges. */
function yearsChart(i) {
  const past = yearsOf(i), perYear = (name) => ACCOUNTS.amount(name, i) / AHEAD_YEARS;
  const unit = accountUnit(i);
  const labels = [...past.map((year) => year.end.slice(0, 4)), DATA.horizon_months < 12 ? `${DATA.horizon_months} months` : "ahead"], x = past.length;
  const bars = BANDS.map(([name, low, high, tone]) => ({ type: "bar", name, x: [x], width: 0.72, base: [perYear(low) / unit.size],
    y: [(perYear(high) - perYear(low)) / unit.size], marker: { color: colour(tone) }, hoverinfo: "skip" }));
  return {
    caption: `${NOUN} of each year to ${day(DATA.as_of).replace(/ \d+$/, "")}, and ${AHEAD}, ${label(unit, CURRENCY)}`,
    traces: [
      { type: "bar", name: "recognised", x: past.map((_, k) => k), y: past.map((year) => year.amount / unit.size), marker: { color: colour("past") },
        text: past.map((year) => `year to ${year.end}<br>${money(year.amount, unit)}`), textposition: "none", hovertemplate: "%{text}<extra></extra>" },
      ...bars,
      { type: "scatter", mode: "lines", name: "median", x: [x - 0.36, x + 0.36], y: [perYear("q50") / unit.size, perYear("q50") / unit.size],
        line: { color: colour("median"), width: 3 }, hovertemplate: `median ${money(perYear("q50"), unit)}<br>90% ${money(perYear("q05"), unit)} to `
          + `${money(perYear("q95"), unit)}<extra></extra>` },
    ],
    layout: { height: 290, barmode: "overlay", hovermode: "closest", xaxis: axis({ showgrid: false, ...ticks(labels, "account-years-chart", 62) }),
      yaxis: axis({ rangemode: "tozero", nticks: 5 }), legend: { ...layout().legend, font: { size: 12, color: colour("muted") } } },
  };
}

function yearsTable(i) {
  const past = yearsOf(i), unit = accountUnit(i), perYear = (name) => money(ACCOUNTS.amount(name, i) / AHEAD_YEARS, unit);
  const rows = [...past.map((year) => [`to ${year.end}`, money(year.amount, unit)]),
    [AHEAD, between(perYear("q50"), perYear("q05"), perYear("q95"))]];
  return smallTable(`${NOUN} by year, ${label(unit, CURRENCY)}; ahead: median (90% range)`, ["Year", NOUN], rows);
}

/** The distribution as what can be counted on: the chance that the account brings at least so much. */
function chancesChart(i) {
  const values = CHANCES.map(([name]) => ACCOUNTS.amount(name, i)), unit = accountUnit(i);
  const x = values.map((value) => value / unit.size), y = CHANCES.map(([, chance]) => chance);
  return {
    caption: `Chance that the next ${DATA.horizon_months} months bring at least so much, ${label(unit, CURRENCY)}`,
    traces: [{ type: "scatter", mode: "lines+markers", x, y, showlegend: false, cliponaxis: false, line: { color: colour("median"), width: 2 }, fill: "tozeroy",
      fillcolor: colour("band-90"), marker: { size: 7, color: colour("median") },
      text: CHANCES.map(([, chance], k) => `${percent(chance, 0)} chance of at least ${money(values[k], unit)}`), hovertemplate: "%{text}<extra></extra>" }],
    layout: { height: 290, hovermode: "closest", xaxis: axis({ showgrid: false, nticks: 5, range: [Math.min(0, ...x), (Math.max(...x) || 1) * 1.04] }),
      yaxis: axis({ range: [0, 1.02], tickformat: ",.0%", nticks: 5 }) },
  };
}

function chancesTable(i) {
  const unit = accountUnit(i), toDate = ACCOUNTS.amount(TO_DATE, i);
  const rows = CHANCES.map(([name, chance]) => [percent(chance, 0), money(ACCOUNTS.amount(name, i), unit), money(toDate + ACCOUNTS.amount(name, i), unit)]);
  return smallTable(`Chance of at least so much, ${label(unit, CURRENCY)}`, ["Chance", "Ahead", "With what it brought"], rows);
}

/** Means by origin as bars to one scale; what takes away runs to the left. */
function accountOrigins(i) {
  const unit = accountUnit(i);
  const keys = Object.keys(ACCOUNTS.columns).filter((name) => name.startsWith("from_")).map((name) => name.slice(5));
  const parts = keys.map((key) => ({ name: ORIGIN_NAMES[key] ?? titled(key), amount: ACCOUNTS.amount(`from_${key}`, i) })).filter(({ amount }) => amount);
  const low = Math.min(0, ...parts.map(({ amount }) => amount)), high = Math.max(0, ...parts.map(({ amount }) => amount)), width = high - low || 1;
  const caption = `Mean ${NOUN.toLowerCase()} of the next ${DATA.horizon_months} months by origin, ${label(unit, CURRENCY)}`;
  const bar = (amount) => {
    const made = el("i", { class: amount < 0 ? "loss" : null });
    made.style.left = `${(100 * (Math.min(0, amount) - low)) / width}%`;
    made.style.width = `${(100 * Math.abs(amount)) / width}%`;
    return el("span", { class: "bar", "aria-hidden": "true" }, made);
  };
  const rows = parts.map(({ name, amount }) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "n" }, money(amount, unit)), el("td", {}, bar(amount))));
  return el("section", {}, el("h3", {}, "What it is made of"), el("p", { class: "caption", "aria-hidden": "true" }, caption),
    parts.length ? el("table", { class: "origins" }, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Origin"), el("th", { scope: "col", class: "n" }, "Mean"), el("th", { scope: "col", class: "wide" }, ""))),
    el("tbody", {}, rows)) : el("p", { class: "small" }, "No revenue is expected."));
}

/** Columns of a plan table: its name, what it is called here, and the columns of its range. */
const PLAN_COLUMNS = [["date", "Date"], ["kind", "Step"], ["amount", "Amount"], ["term_months", "Term, months"], ["stated", "Chance as stated"],
  ["probability", "Chance in the forecast", "lower", "upper"], ["expected_amount", "Expected amount"], ["added", "Adds", "added_lower", "added_upper"],
  ["clv_added", "Adds, discounted"], ["note", "Note"]];
const PLAN_HIDDEN = new Set(["account_id", "step_id", "ci_prob", ...PLAN_COLUMNS.flat()]);

/** Steps of the account's plan: the columns that are known, then whatever else the table has. */
function accountPlans(i) {
  if (!DATA.plans) return "";
  const own = rowsOf(DATA.plans).filter((row) => row.account_id === ACCOUNTS.ids[i]);
  if (!own.length) return el("section", {}, el("h3", {}, "Planned"), el("p", { class: "small" }, "No step is planned with this account."));
  const others = Object.keys(own[0]).filter((name) => !PLAN_HIDDEN.has(name)).map((name) => [name, titled(name)]);
  const shown = [...PLAN_COLUMNS, ...others].filter(([name]) => own.some((row) => (row[name] ?? "") !== ""));
  const unit = rangeUnit(own.map((row) => ["added_lower", "added", "added_upper"].map((name) => row[name] ?? NaN)),
    Math.max(0, ...own.flatMap((row) => [row.amount, row.expected_amount]).filter(Number.isFinite).map(Math.abs)));
  const text = (name, row) => planText(name, row[name], unit);
  const rows = own.map((row) => shown.map(([name, , low, high]) => (Number.isFinite(row[low]) && Number.isFinite(row[high])
    ? between(text(name, row), text(low, row), text(high, row)) : text(name, row))));
  return el("section", {}, el("h3", {}, "Planned"), smallTable(`Planned steps; money in ${label(unit, CURRENCY)}`, shown.map(([, title]) => title), rows, "cards"),
    shown.some(([name]) => name === "expected_amount") ? el("p", { class: "small" }, "Expected amount: planned amount × chance in the forecast × the share "
      + "of planned amounts that such steps come to, before asking whether the contract still runs on that day.") : "");
}

/** Chances and the ends of their ranges as percentages, money with thousands, days and words as they are. */
function planText(name, value, unit) {
  if (typeof value !== "number") return value === null ? "–" : String(value);
  if (/probability|^stated|^(lower|upper|ci_prob)$|^p_|share/.test(name)) return percent(value, 0);
  return /month|count|days/.test(name) ? number(value) : money(value, unit);
}

/** form: "cards" where rows stand one under the other on narrow screens. */
function smallTable(caption, titles, rows, form = null) {
  const isNumber = titles.map((_, k) => k > 0 && rows.every((row) => /^(–|−?[\d,.]+%?( \(.*\))?)$/.test(row[k])));
  const kind = (k) => (isNumber[k] ? "n" : null);
  const content = (text) => text && el(/^\d{4}-\d\d-\d\d$/.test(text) ? "time" : "bdi", {}, text);
  const body = rows.map(([first, ...others]) => el("tr", {}, el("th", { scope: "row" }, content(first)),
    others.map((text, k) => el("td", { class: kind(k + 1), "data-title": form && titles[k + 1] }, content(text)))));
  return el("div", {}, el("p", { class: "caption", "aria-hidden": "true" }, caption),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", { class: form }, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, titles.map((title, k) => el("th", { scope: "col", class: kind(k) }, title)))), el("tbody", {}, body))));
}
