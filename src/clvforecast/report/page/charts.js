// What all charts share: colours of the theme, a quiet layout, and drawing again when the theme, the window or the paper changes.

const SETTINGS = { displayModeBar: false, responsive: false, showTips: false };
const PAPER_WIDTH = 680;
const drawn = new Map();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function axis(more = {}) {
  return {
    fixedrange: true, showline: false, zeroline: false, gridcolor: colour("line"), linecolor: colour("line"),
    tickcolor: colour("line"), tickfont: { color: colour("muted") }, automargin: true, tickformat: ",~f", ...more,
  };
}

function layout(more = {}) {
  const font = { family: colour("sans"), size: 13, color: colour("text") };
  return {
    font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 8, r: 12, t: 8, b: 8 }, height: 340,
    dragmode: false, hovermode: "x", bargap: 0.28, separators: ".,",
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { ...font, color: colour("text") }, align: "left" },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { color: colour("muted") },
      itemclick: false, itemdoubleclick: false, traceorder: "normal" },
    xaxis: axis({ showgrid: false }), yaxis: axis(), ...more,
  };
}

/** Draw into the element; `make` gives {traces, layout, caption} and is asked again when colours or the room change. */
function draw(id, make) {
  const room = byId(id);
  if (!room) return;
  drawn.set(id, make);
  const { traces, layout: asked, caption } = make();
  const caption_ = byId(id.replace(/-chart$/, "-caption"));
  if (caption_ && caption) caption_.textContent = caption;
  const width = document.documentElement.classList.contains("printing") ? PAPER_WIDTH : room.clientWidth || undefined;
  Plotly.react(room, traces, { ...layout(asked), width }, SETTINGS);
}

function drawAgain() {
  for (const [id, make] of drawn) if (byId(id)) draw(id, make);
}

/** Every so many labels that those which are shown have room. */
function ticks(labels, id, room = 74) {
  const most = Math.max(2, Math.floor((byId(id)?.clientWidth || 640) / room));
  const step = Math.max(1, Math.ceil(labels.length / most));
  const shown = labels.map((_, i) => i).filter((i) => i % step === 0);
  return { tickmode: "array", tickvals: shown, ticktext: shown.map((i) => plain(labels[i])), range: [-0.6, labels.length - 0.4] };
}

/** A band between two lists at the places x, as two traces. */
function band(x, low, high, name, colourName) {
  const line = { width: 0, color: colour(colourName) };
  const hidden = { type: "scatter", mode: "lines", x, hoverinfo: "skip", line };
  return [
    { ...hidden, y: low, showlegend: false },
    { ...hidden, y: high, fill: "tonexty", fillcolor: colour(colourName), name },
  ];
}

const BANDS = [["90% range", "q05", "q95", "band-90"], ["80% range", "q10", "q90", "band-80"], ["50% range", "q25", "q75", "band-50"]];
const chosen = (id, otherwise) => byId(id)?.value || otherwise;
