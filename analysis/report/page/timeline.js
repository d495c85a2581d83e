// What every clock says over time, with its interval. Drawn after the page, so that nobody waits for it.

const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "x", "cross", "triangle-down", "star", "hexagon"];
const TIMELINE = element("readings-plot");
const SPAN_S = [DATA.at_us[0] / 1e6, DATA.at_us[DATA.at_us.length - 1] / 1e6];

/** What may be shown of a worker: a title, words, and per source and event [middle, low, high] in ns, or null. */
const VIEWS = [
  {
    name: "receive − send",
    title: "receive − send",
    words: "Below the line of 0 a clock says that the message came before it was sent. What the reference allows is drawn with short dashes, where there is one.",
    of: (worker, source, event) => {
      const send = reading(worker, source, "send", event), receive = reading(worker, source, "receive", event);
      return send && receive && [receive.est - send.est, receive.earliest - send.latest, receive.latest - send.earliest];
    },
    reference: (worker, event) => limits(worker, event),
    possible: () => true,
  },
  ...["receive", "send"].map((end) => ({
    name: end === "receive" ? "error at the worker" : "error at the coordinator",
    title: "reading − truth",
    words: "The error of every reading by the injected truth: an interval that does not reach the line of 0 misses it.",
    of: (worker, source, event) => {
      const said = reading(worker, source, end, event), truth = known(DATA.pairs[worker][`true_${end}`], event);
      return said && truth !== null && [said.est - truth, said.earliest - truth, said.latest - truth];
    },
    reference: () => null,
    possible: (worker) => Boolean(DATA.pairs[worker].true_send),
  })),
  {
    name: "error of receive − send by the reference",
    title: "(receive − send) − reference",
    words: "From the least to the greatest error that the reference allows: a bar that does not reach the line of 0 is wrong for sure.",
    of: (worker, source, event) => {
      const send = reading(worker, source, "send", event), receive = reading(worker, source, "receive", event);
      const lag = limits(worker, event);
      if (!send || !receive || !lag) return null;
      const middle = receive.est - send.est - lag[0];
      return [middle, receive.earliest - send.latest - lag[2], receive.latest - send.earliest - lag[1]];
    },
    reference: () => null,
    possible: (worker) => Boolean(DATA.pairs[worker].least),
  },
];
const POSSIBLE = VIEWS.filter((view) => DATA.pairs.some((_, worker) => view.possible(worker)));
for (const [place, view] of POSSIBLE.entries()) element("view").add(new Option(view.name, String(place)));

/** Return the middle, the least and the greatest of what the reference allows, in ns; null where it knows nothing. */
function limits(worker, event) {
  const least = known(DATA.pairs[worker].least, event);
  if (least === null) return null;
  const most = DATA.pairs[worker].most[event];
  return [(least + most) / 2, least, most];
}

/** Return one trace of Plotly: points with bars, in the unit given. */
function trace(name, points, unit, colour, symbol) {
  const shown = points.map((point) => point || [null, null, null]);
  return {
    type: "scatter", mode: "markers", name, x: DATA.at_us.map((us) => us / 1e6), y: shown.map((point) => point[0] && point[0] / unit.ns),
    error_y: {
      type: "data", symmetric: false, thickness: 1, width: 0, color: `${colour}80`,
      array: shown.map((point) => (point[2] - point[0]) / unit.ns), arrayminus: shown.map((point) => (point[0] - point[1]) / unit.ns),
    },
    marker: { size: 5, symbol, color: colour }, customdata: DATA.events,
    hovertemplate: `${name.replaceAll("<", "&lt;")}<br>event %{customdata}<br>%{y:.4~f} ${unit.name}<extra></extra>`,
  };
}

/** Return all traces of what is shown, and the layout around them. */
function plotted() {
  const view = POSSIBLE[Number(element("view").value)], worker = STATE.worker;
  const series = DATA.sources.map((source, place) => STATE.on[place] && DATA.events.map((_, event) => view.of(worker, place, event) || null));
  const reference = DATA.events.map((_, event) => view.reference(worker, event));
  const sizes = [...series, reference].filter(Boolean).flatMap((points) => points.flatMap((point) => (point ? [Math.abs(point[1]), Math.abs(point[2])] : [])));
  const unit = unitOf(sizes.reduce((most, size) => Math.max(most, size), 0));
  const ink = styleOf("--ink"), line = styleOf("--line");
  const traces = [];
  series.forEach((points, place) => {
    if (points) traces.push(trace(DATA.sources[place].label, points, unit, colourOf(place), SYMBOLS[place % SYMBOLS.length]));
  });
  if (reference.some(Boolean)) traces.push({ ...trace("reference", reference, unit, ink, "line-ew-open"), opacity: 0.5 });
  const here = DATA.at_us[STATE.event] / 1e6;
  const axis = { gridcolor: line, zerolinecolor: ink, linecolor: line, tickfont: { color: ink }, automargin: true };
  const silent = DATA.sources.filter((_, place) => series[place] && !series[place].some(Boolean)).map((source) => source.label);
  const none = silent.length ? ` Nothing to show of ${silent.join(", ")}.` : "";
  element("readings-note").textContent = `${view.words}${none} The vertical line is the event of the diagram below.`;
  return {
    traces,
    layout: {
      height: 380, margin: { l: 64, r: 12, t: 12, b: 48 }, showlegend: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 13, color: ink }, hovermode: "closest", dragmode: "zoom", uirevision: "kept",
      xaxis: { ...axis, title: { text: "time since the first event (s)" }, range: STATE.range || padded(SPAN_S), zeroline: false },
      yaxis: { ...axis, title: { text: `${view.title} (${unit.name})` }, zeroline: true, zerolinewidth: 1.5 },
      shapes: [{ type: "line", x0: here, x1: here, y0: 0, y1: 1, yref: "paper", line: { color: ink, width: 1, dash: "dot" } }],
    },
  };
}

function padded([low, high]) {
  const more = 0.02 * (high - low) || 0.5;
  return [low - more, high + more];
}

function drawTimeline() {
  const { traces, layout } = plotted();
  return Plotly.react(TIMELINE, traces, layout, { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false });
}

/** Zoom about the middle, or move by half of what is seen; "all" shows everything. */
function zoom(how) {
  const [low, high] = STATE.range || padded(SPAN_S), middle = (low + high) / 2, half = (high - low) / 2;
  const to = { in: [middle, half / 2], out: [middle, 2 * half], earlier: [middle - half, half], later: [middle + half, half] }[how];
  STATE.range = to ? [to[0] - to[1], to[0] + to[1]] : padded(SPAN_S);
  return Plotly.relayout(TIMELINE, { "xaxis.range": STATE.range, "yaxis.autorange": true });
}

for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(button.dataset.zoom));
element("view").addEventListener("change", drawTimeline);
STATE.listeners.push(() => TIMELINE.data && drawTimeline());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTimeline);
window.addEventListener("beforeprint", () => Plotly.relayout(TIMELINE, { width: 660 }));
window.addEventListener("afterprint", () => Plotly.relayout(TIMELINE, { width: null, autosize: true }));
window.addEventListener("load", () => setTimeout(async () => {
  await drawTimeline();
  TIMELINE.on("plotly_click", (clicked) => changed({ event: clicked.points[0].pointNumber }));
  TIMELINE.on("plotly_relayout", (to) => {
    if (to["xaxis.range[0]"] !== undefined) STATE.range = [to["xaxis.range[0]"], to["xaxis.range[1]"]];
    if (to["xaxis.autorange"]) STATE.range = padded(SPAN_S);
  });
  document.documentElement.dataset.drawn = "true";
}));
