// The pictures of the whole portfolio.

/** History as bars, then the forecast's fan; of a running period what it has already is under the fan. */
function revenueChart() {
  const freq = chosen("revenue-freq", "quarter");
  const past = rowsOf(DATA.history[freq] ?? {}), all = rowsOf(DATA.portfolio[freq]);
  const whole = all.filter((row, i) => !row.partial || (i === 0 && row.already));
  const ahead = whole.length ? whole : all;
  const before = past.filter((row) => !row.partial);
  const most = Math.max(...before.map((row) => row.revenue), ...ahead.map((row) => row.q95 + (row.already ?? 0)), 0);
  const unit = rangeUnit(ahead.map((row) => [row.q05, row.q50, row.q95]), most);
  const labels = [...before, ...ahead].map((row) => row.label);
  const x = ahead.map((_, i) => before.length + i);
  const at = (name) => ahead.map((row) => (row[name] + (row.already ?? 0)) / unit.size);
  const hover = ahead.map((row) => {
    const of = (name) => money(row[name] + (row.already ?? 0), unit);
    return `<b>${plain(row.label)}</b><br>median ${of("q50")}<br>50% ${of("q25")} to ${of("q75")}<br>`
      + `80% ${of("q10")} to ${of("q90")}<br>90% ${of("q05")} to ${of("q95")}`;
  });
  const marks = ahead.length === 1 ? singleBands(x[0], at) : BANDS.flatMap(([name, low, high, tone]) => band(x, at(low), at(high), name, tone));
  const traces = [
    ...marks,
    { type: "scatter", mode: "lines+markers", x, y: at("q50"), name: "median", text: hover, hovertemplate: "%{text}<extra></extra>",
      line: { color: colour("median"), width: 2 }, marker: { size: 5, color: colour("median") } },
  ];
  if (before.length) {
    traces.unshift({ type: "bar", x: before.map((_, i) => i), y: before.map((row) => row.revenue / unit.size), name: "recognised",
      marker: { color: colour("past") }, text: before.map((row) => `<b>${plain(row.label)}</b><br>recognised ${money(row.revenue, unit)}`),
      textposition: "none", hovertemplate: "%{text}<extra></extra>" });
  }
  return {
    caption: `${NOUN} by ${freq}, ${label(unit, CURRENCY)}${leftOut(all, ahead, freq)}`,
    traces,
    layout: {
      xaxis: axis({ showgrid: false, ...ticks(labels, "revenue-chart") }),
      yaxis: axis({ rangemode: "tozero", nticks: 6 }),
      shapes: before.length ? [asOfLine(before.length - 0.5)] : [],
      annotations: before.length ? [asOfNote(before.length - 0.5)] : [],
    },
  };
}

/** Periods that are not drawn, and why: what of the running one is over is not known, or the horizon cuts the last one short. */
function leftOut(all, ahead, freq) {
  const count = all.length - ahead.length, isRunning = count > 0 && all[0].partial && all[0].already === null;
  return (isRunning ? `; the running ${freq} is left out, as what it had already is not known here` : "")
    + (count > (isRunning ? 1 : 0) ? `; a ${freq} that the horizon cuts short is left out` : "");
}

/** With one period only, ranges are bars. */
function singleBands(x, at) {
  return BANDS.map(([name, low, high, tone]) => ({ type: "bar", x: [x], base: [at(low)[0]], y: [at(high)[0] - at(low)[0]], name,
    width: 0.5, offset: -0.25, marker: { color: colour(tone) }, hoverinfo: "skip" }));
}

const asOfLine = (x) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
  line: { color: colour("muted"), width: 1, dash: "dot" } });
const asOfNote = (x) => ({ x, y: 1, xref: "x", yref: "paper", xanchor: "right", yanchor: "top", xshift: -5, showarrow: false,
  text: `as of ${day(DATA.as_of)}`, font: { size: 12, color: colour("muted") } });

const nameOf = (line) => DATA.lines[line].name;

/** Whether a period is known, and of one that the window cuts short how much of it is told. */
const basisOf = (row) => (row.covered ? `${row.basis}, ${row.covered}` : row.basis);

/** Periods of the bridge into their select; the first whole one that is all forecast is chosen. */
function fillBridgePeriods() {
  const select = byId("bridge-period");
  if (!select) return;
  const rows = rowsOf(DATA.bridge[chosen("bridge-freq", "quarter")]).filter((row) => row.line === "start");
  select.replaceChildren(...rows.map((row) => el("option", { value: row.label }, `${row.label}, ${basisOf(row)}`)));
  select.value = (rows.find((row) => row.basis === "forecast" && !row.partial) ?? rows[0]).label;
}

/** Means as bars that hang on each other, ranges as whiskers. */
function bridgeChart() {
  const rows = rowsOf(DATA.bridge[chosen("bridge-freq", "quarter")]).filter((row) => row.label === chosen("bridge-period"));
  let level = 0;
  const bars = rows.map((row) => {
    const { sign } = DATA.lines[row.line], isTotal = row.line === "start" || row.line === "end";
    const from = isTotal ? 0 : level;
    level = from + sign * row.mean;
    return { ...row, sign, isTotal, from, to: level, ends: [from + sign * row.lower, from + sign * row.upper].sort((a, b) => a - b) };
  });
  const unit = rangeUnit(bars.map((bar) => [bar.ends[0], bar.to, bar.ends[1]]));
  const floor = axisFloor(bars);
  const narrow = (byId("bridge-chart")?.clientWidth ?? 900) < 520;
  const kinds = [["total", "past", (bar) => bar.isTotal], ["added", "median", (bar) => !bar.isTotal && bar.sign > 0],
    ["taken away", "loss", (bar) => !bar.isTotal && bar.sign < 0]];
  const traces = kinds.map(([name, tone, isOne]) => {
    const own = bars.map((bar, i) => ({ ...bar, i })).filter(isOne);
    const low = own.map((bar) => (bar.isTotal ? floor : Math.min(bar.from, bar.to)));
    return {
      type: "bar", name, width: 0.72, x: own.map((bar) => bar.i), base: low.map((value) => value / unit.size),
      y: own.map((bar, k) => (Math.max(bar.from, bar.to) - low[k]) / unit.size), marker: { color: colour(tone) },
      text: own.map((bar) => bridgeHover(bar, unit)), textposition: "none", hovertemplate: "%{text}<extra></extra>",
    };
  });
  const unsure = bars.map((bar, i) => ({ ...bar, i })).filter((bar) => !isSure(bar));
  traces.push({
    type: "scatter", mode: "markers", x: unsure.map((bar) => bar.i), y: unsure.map((bar) => bar.to / unit.size), hoverinfo: "skip",
    showlegend: false, marker: { size: 1, color: colour("text") },
    error_y: { type: "data", symmetric: false, array: unsure.map((bar) => (bar.ends[1] - bar.to) / unit.size),
      arrayminus: unsure.map((bar) => (bar.to - bar.ends[0]) / unit.size), color: colour("text"), thickness: 1.4, width: 5 },
  });
  const joints = bars.slice(0, -1).map((bar, i) => ({ type: "line", x0: bar.to === bar.from ? i - 0.36 : i + 0.36, x1: i + 0.64, y0: bar.to / unit.size, y1: bar.to / unit.size,
    line: { color: colour("muted"), width: 1 } }));
  const top = Math.max(...bars.map((bar) => Math.max(bar.from, bar.to, bar.ends[1])));
  const begins = floor ? `; the axis begins at ${money(floor, unit)}` : "";
  const whose = DATA.existing_only && rows[0].basis !== "actual" ? "; forecast: existing customers only" : "";
  return {
    caption: `ARR bridge, ${chosen("bridge-period")}, ${label(unit, CURRENCY)}${begins}${whose}`,
    traces,
    layout: {
      shapes: joints, hovermode: "closest", bargap: 0.28, barmode: "overlay",
      xaxis: axis({ showgrid: false, range: [-0.6, bars.length - 0.4], tickmode: "array", tickvals: bars.map((_, i) => i), tickangle: narrow ? -50 : 0,
        ticktext: bars.map((bar) => (narrow ? nameOf(bar.line) : nameOf(bar.line).replace(" ", "<br>"))) }),
      yaxis: axis({ range: [floor / unit.size, (top + 0.06 * (top - floor)) / unit.size], nticks: 6 }),
    },
  };
}

/** Nothing to draw a whisker of. */
const isSure = (bar) => bar.ends[1] - bar.ends[0] < 0.005;

function bridgeHover(bar, unit) {
  const range = isSure(bar) ? "" : `<br>${RANGE} ${money(bar.lower, unit)} to ${money(bar.upper, unit)}`;
  return `<b>${nameOf(bar.line)}</b><br>mean ${money(bar.sign * bar.mean, unit)}${range}`;
}

/** Where movements are small beside the level the axis begins above zero, at a round number, and the caption says so. */
function axisFloor(bars) {
  const lows = bars.map((bar) => (bar.isTotal ? bar.ends[0] : Math.min(bar.from, bar.to, bar.ends[0])));
  const low = Math.min(...lows), high = Math.max(...bars.map((bar) => Math.max(bar.to, bar.from)));
  if (low <= 0 || high - low > 0.45 * high) return 0;
  const room = low - 0.4 * (high - low), step = 10 ** Math.floor(Math.log10(high - low || 1));
  return Math.max(0, Math.floor(room / step) * step);
}

/** Two shares a period: filled marks are the past, open ones the forecast with whiskers. Twelve months go on from quarter to quarter, so a line joins them. */
function retentionChart() {
  const freq = chosen("retention-freq", Object.keys(DATA.retention)[0]), isTrailing = freq === "twelve_months";
  const rows = rowsOf(DATA.retention[freq]);
  const labels = [...new Set(rows.map((row) => row.label))], cut = rows.find((row) => row.covered);
  const kinds = [["nrr", "NRR", "median", "circle", -0.1], ["grr", "GRR", "loss", "diamond", 0.1]];
  const traces = kinds.map(([measure, name, tone, symbol, shift]) => {
    const own = rows.filter((row) => row.measure === measure && row.q50 !== null);
    return {
      type: "scatter", mode: isTrailing ? "lines+markers" : "markers", line: { color: colour(tone), width: 1 }, name, x: own.map((row) => labels.indexOf(row.label) + shift), y: own.map((row) => row.q50),
      marker: { size: 9, color: own.map((row) => (row.basis === "actual" ? colour(tone) : colour("page"))), symbol,
        line: { color: colour(tone), width: 2 } },
      error_y: { type: "data", symmetric: false, array: own.map((row) => row.upper - row.q50),
        arrayminus: own.map((row) => row.q50 - row.lower), color: colour(tone), thickness: 1.6, width: 0 },
      text: own.map((row) => `<b>${plain(row.label)}</b> ${name}${row.covered ? `, ${row.covered}` : ""}<br>${row.basis === "actual" ? percent(row.q50)
        : between(percent(row.q50), percent(row.lower), percent(row.upper))}`),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  return {
    caption: `Net (NRR) and gross (GRR) retention ${isTrailing ? "of twelve months, to the end of each quarter" : `by ${freq}`}; filled: actual, open: forecast${cut ? `; ${cut.label}: ${cut.covered}` : ""}`,
    traces,
    layout: { hovermode: "closest", xaxis: axis({ showgrid: false, ...ticks(labels, "retention-chart") }), yaxis: axis({ tickformat: ",.0%", nticks: 6 }),
      shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("muted"), width: 1, dash: "dot" } }] },
  };
}

/** Differences from the base with their ranges, one line a scenario. */
function scenarioChart() {
  const rows = rowsOf(DATA.scenarios.difference).reverse();
  const unit = rangeUnit(rows.map((row) => [row.lower, row.q50, row.upper]));
  const narrow = (byId("scenarios-chart")?.clientWidth ?? 900) < 520;
  const y = rows.map((_, i) => i);
  const whisker = (low, high, width, tone) => ({ type: "data", symmetric: false, array: rows.map((row) => (row[high] - row.q50) / unit.size),
    arrayminus: rows.map((row) => (row.q50 - row[low]) / unit.size), color: colour(tone), thickness: width, width: 0 });
  const shared = { type: "scatter", mode: "markers", y, x: rows.map((row) => row.q50 / unit.size), showlegend: false };
  return {
    caption: `Difference from the base with its ${RANGE} (thin) and 50% (thick) range, ${label(unit, CURRENCY)}`,
    traces: [
      { ...shared, hoverinfo: "skip", marker: { size: 1, color: colour("median") }, error_x: whisker("lower", "upper", 1.6, "median") },
      { ...shared, hoverinfo: "skip", marker: { size: 1, color: colour("band-50") }, error_x: whisker("q25", "q75", 6, "band-50") },
      { ...shared, marker: { size: 10, color: colour("median") }, hovertemplate: "%{text}<extra></extra>",
        text: rows.map((row) => `<b>${plain(row.scenario)}</b><br>${between(money(row.q50, unit), money(row.lower, unit), money(row.upper, unit))}`) },
    ],
    layout: {
      hovermode: "closest", height: 90 + 52 * rows.length,
      xaxis: axis({ nticks: narrow ? 4 : 6, zeroline: true, zerolinecolor: colour("muted") }),
      yaxis: axis({ showgrid: false, tickmode: "array", tickvals: y, range: [-0.7, rows.length - 0.3],
        ticktext: rows.map((row) => wrapped(row.scenario, 24, 3).map(plain).join("<br>")) }),
    },
  };
}

/** Earlier totals: ranges as they were forecast, and what happened. */
function calibrationChart() {
  const rows = rowsOf(DATA.totals);
  const unit = rangeUnit(rows.map((row) => [row.lower_95, row.median, row.upper_95]));
  const labels = rows.map((row) => `${row.origin.slice(0, 7)}<br>${row.window_months} months`);
  const x = rows.map((_, i) => i);
  const bar = (name, low, high, width, tone) => ({ type: "bar", name, x, width, base: rows.map((row) => row[low] / unit.size),
    y: rows.map((row) => (row[high] - row[low]) / unit.size), marker: { color: colour(tone) }, hoverinfo: "skip" });
  return {
    caption: `Portfolio totals as they were forecast, and what happened, ${label(unit, CURRENCY)}`,
    traces: [
      bar("95% range", "lower_95", "upper_95", 0.16, "band-90"),
      bar("50% range", "lower_50", "upper_50", 0.3, "band-50"),
      { type: "scatter", mode: "markers", name: "what happened", x, y: rows.map((row) => row.actual / unit.size),
        marker: { size: 11, symbol: "diamond", color: colour("actual"), line: { color: colour("page"), width: 1.5 } },
        text: rows.map((row) => `<b>${row.origin}, ${row.window_months} months</b><br>happened ${money(row.actual, unit)}<br>forecast `
          + between(money(row.median, unit), money(row.lower_95, unit), money(row.upper_95, unit))),
        hovertemplate: "%{text}<extra></extra>" },
    ],
    layout: { hovermode: "closest", barmode: "overlay", xaxis: axis({ showgrid: false, tickmode: "array", tickvals: x, ticktext: labels }),
      yaxis: axis({ rangemode: "tozero", nticks: 6 }) },
  };
}
