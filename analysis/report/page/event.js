// One event as a space-time diagram: a line per node, a bar per clock, the message, and the verdict in words.

const SVG = "http://www.w3.org/2000/svg";
const DIAGRAM = element("diagram");
const LANE = 16, BAR = 9, HEAD = 20, GAP = 22, AXIS = 40;
const WORDS = { [PROVED]: "proved", [VIOLATED]: "violated", [AMBIGUOUS]: "ambiguous", [UNKNOWN]: "not evaluable" };
const KINDS = {
  any: (worker, event) => DATA.pairs[worker].received[event] === "1",
  violated: (worker, event) => anySource((source) => Number(DATA.pairs[worker].clocks[source].intervals[event]) === VIOLATED),
  ambiguous: (worker, event) => anySource((source) => Number(DATA.pairs[worker].clocks[source].intervals[event]) === AMBIGUOUS),
  wrong: (worker, event) => anySource((source) => Number(DATA.pairs[worker].clocks[source].points[event]) === VIOLATED),
};

/** Tell whether something is true of any clock that is shown. */
function anySource(test) {
  return STATE.on.some((on, source) => on && test(source));
}

/** Go to the next (1) or previous (-1) event of a kind at this worker, round the end; say so where there is none. */
function step(by, kind) {
  const count = DATA.events.length;
  for (let far = 1; far <= count; far += 1) {
    const event = (((STATE.event + by * far) % count) + count) % count;
    if (KINDS[kind](STATE.worker, event)) {
      changed({ event });
      return;
    }
  }
  element("verdict-of-event").textContent = `No ${kind} event of the clocks shown at ${DATA.workers[STATE.worker]} in this excerpt.`;
}

function drawn(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** Return where a clock's zero is on the axis: the true sending, or without truth the clock's own estimate of it. */
function zeroOf(source) {
  const truth = known(DATA.pairs[STATE.worker].true_send, STATE.event);
  if (truth !== null) return truth;
  const send = reading(STATE.worker, source, "send", STATE.event);
  return send ? send.est : null;
}

/** Return the lines of the diagram: each node with its bars, in ns after the zero of each clock. */
function nodesShown() {
  const event = STATE.event, sources = DATA.sources.map((_, place) => place).filter((place) => STATE.on[place]);
  const others = element("others").getAttribute("aria-pressed") === "true" ? DATA.workers.map((_, place) => place).filter((place) => place !== STATE.worker) : [];
  const truth = known(DATA.pairs[STATE.worker].true_send, event);
  const bars = (worker, end) => sources.flatMap((source) => {
    const zero = zeroOf(source), said = reading(worker, source, end, event);
    if (zero === null || !said) return [{ source }];
    return [{ source, bounded: said.bounded, est: said.est - zero, low: said.earliest - zero, high: said.latest - zero }];
  });
  const at = (worker) => {
    const when = known(DATA.pairs[worker].true_receive, event);
    return truth === null || when === null ? null : when - truth;
  };
  return [
    { name: `${DATA.coordinator} sends`, bars: bars(STATE.worker, "send"), truth: truth === null ? null : 0, sends: true },
    { name: `${DATA.workers[STATE.worker]} receives`, bars: bars(STATE.worker, "receive"), truth: at(STATE.worker), lag: limits(STATE.worker, event) },
    ...others.map((worker) => ({ name: `${DATA.workers[worker]} receives`, bars: bars(worker, "receive"), truth: at(worker), lag: null })),
  ];
}

function drawDiagram() {
  const nodes = nodesShown(), width = Math.max(320, DIAGRAM.clientWidth), left = width < 520 ? 84 : 110, right = width - 16;
  const ends = nodes.flatMap((node) => [
    ...node.bars.flatMap((bar) => ("est" in bar ? [bar.low, bar.high] : [])),
    ...(node.truth === null ? [] : [node.truth]), ...(node.lag ? [node.lag[1], node.lag[2]] : []), 0,
  ]);
  const low = ends.reduce((least, end) => Math.min(least, end)), high = ends.reduce((most, end) => Math.max(most, end));
  const more = 0.06 * (high - low) || 1e3;
  const x = (ns) => left + ((ns - low + more) / (high - low + 2 * more)) * (right - left);
  const heights = nodes.map((node) => HEAD + LANE * (node.bars.length + (node.lag ? 1 : 0)) + GAP);
  const height = heights.reduce((sum, one) => sum + one, 0) + AXIS;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-hidden", "true"); // the verdict says it in words
  const places = [];
  let top = 0;
  nodes.forEach((node, place) => {
    const line = top + HEAD;
    places.push(line);
    drawn("text", { x: 0, y: top + 13, class: "node" }, svg, node.name);
    drawn("line", { x1: left, x2: right, y1: line, y2: line, class: "world" }, svg);
    node.bars.forEach((bar, lane) => drawBar(svg, bar, x, left, line + LANE * (lane + 0.75)));
    if (node.lag) {
      const y = line + LANE * (node.bars.length + 0.75);
      drawn("text", { x: left - 8, y: y + 4, class: "lane" }, svg, "reference");
      drawn("rect", { x: x(node.lag[1]), y: y - BAR / 2, width: Math.max(1.5, x(node.lag[2]) - x(node.lag[1])), height: BAR, class: "reference" }, svg);
    }
    if (node.truth !== null) drawn("circle", { cx: x(node.truth), cy: line, r: 4.5, class: "truth" }, svg);
    top += heights[place];
  });
  drawMessage(svg, nodes, places, x);
  drawAxis(svg, x, low - more, high + more, top, left, right);
  DIAGRAM.replaceChildren(svg);
}

function drawBar(svg, bar, x, left, y) {
  drawn("text", { x: left - 8, y: y + 4, class: `lane source-${bar.source}` }, svg, DATA.sources[bar.source].label);
  if (!("est" in bar)) {
    drawn("text", { x: left + 4, y: y + 4, class: "none" }, svg, "no reading");
    return;
  }
  const group = drawn("g", { class: `bar source-${bar.source}` }, svg);
  if (bar.bounded) drawn("rect", { x: x(bar.low), y: y - BAR / 2, width: Math.max(1.5, x(bar.high) - x(bar.low)), height: BAR, rx: 2 }, group);
  drawn("line", { x1: x(bar.est), x2: x(bar.est), y1: y - BAR / 2 - 2, y2: y + BAR / 2 + 2 }, group);
}

/** Draw the message from the sender's line to the receiver's: as it truly went, or between what the reference allows. */
function drawMessage(svg, nodes, places, x) {
  const [sender, receiver] = nodes;
  if (sender.truth !== null && receiver.truth !== null) {
    drawn("line", { x1: x(0), y1: places[0], x2: x(receiver.truth), y2: places[1], class: "message" }, svg);
  } else if (receiver.lag) {
    const points = [[0, places[0]], [receiver.lag[1], places[1]], [receiver.lag[2], places[1]]];
    drawn("polygon", { points: points.map(([ns, y]) => `${x(ns)},${y}`).join(" "), class: "message" }, svg);
  }
}

function drawAxis(svg, x, low, high, top, left, right) {
  const unit = unitOf(Math.max(Math.abs(low), Math.abs(high)));
  drawn("line", { x1: left, x2: right, y1: top, y2: top, class: "axis" }, svg);
  for (const tick of ticks(low / unit.ns, high / unit.ns, right - left < 400 ? 4 : 8)) {
    const at = x(tick * unit.ns);
    drawn("line", { x1: at, x2: at, y1: 0, y2: top + 4, class: tick === 0 ? "grid zero" : "grid" }, svg);
    drawn("text", { x: at, y: top + 17, class: "tick" }, svg, String(Number(tick.toPrecision(6))).replace("-", "−"));
  }
  drawn("text", { x: (left + right) / 2, y: top + 34, class: "tick" }, svg, `${unit.name} after the message was sent`);
}

/** Say the verdict of every clock that is shown: by its interval, and by its best estimates. */
function sayVerdict() {
  const event = STATE.event, worker = STATE.worker, pair = DATA.pairs[worker];
  const list = document.createElement("ul");
  DATA.sources.forEach((source, place) => {
    if (STATE.on[place]) list.append(verdictOf(source, pair.clocks[place], place, event));
  });
  const lag = limits(worker, event);
  const by = document.createElement("li");
  by.textContent = lag ? `Reference: received ${duration(lag[1])} to ${duration(lag[2])} after it was sent: ${WORDS[pair.reference[event]]}.` : `Reference: knows nothing of this event${DATA.reference ? ` (${DATA.reference})` : ""}.`;
  list.append(by);
  const truths = [known(pair.true_send, event), known(pair.true_receive, event)];
  if (!truths.includes(null)) {
    const true_ = document.createElement("li");
    true_.textContent = `Truth: received ${duration(truths[1] - truths[0])} after it was sent.`;
    list.append(true_);
  }
  const head = document.createElement("p");
  const lost = pair.received[event] === "1" ? "" : ", lost";
  head.textContent = `Event ${DATA.events[event]} at ${DATA.workers[worker]}${lost}, ${(DATA.at_us[event] / 1e6).toFixed(3)} s after the first; ${event + 1} of ${DATA.events.length} shown.`;
  element("verdict-of-event").replaceChildren(head, list);
  const truth = !truths.includes(null);
  element("diagram-note").textContent = truth ? "Zero is the true sending of the message; circles are true instants." : "Zero is each clock's own estimate of the sending: bars of different clocks share no zero but that.";
}

function verdictOf(source, clock, place, event) {
  const points = { [PROVED]: "right as points", [VIOLATED]: "wrong as points", [AMBIGUOUS]: "equal as points", [UNKNOWN]: "not evaluable as points" };
  const interval = WORDS[clock.intervals[event]], item = document.createElement("li"), name = document.createElement("strong");
  name.className = `source-${place}`;
  name.textContent = source.label;
  const verdict = document.createElement("span");
  verdict.className = `verdict ${interval.replace(" ", "-")}`;
  verdict.textContent = source.bounded ? interval : "point clock";
  item.append(name, ": ", verdict, `, ${points[clock.points[event]]}.`);
  return item;
}

function countKinds() {
  for (const shown of document.querySelectorAll("[data-count]")) {
    const kind = KINDS[shown.dataset.count];
    shown.textContent = `(${DATA.events.filter((_, event) => kind(STATE.worker, event)).length})`;
  }
}

STATE.listeners.unshift((what) => {
  if (what && what.event !== undefined) STATE.event = what.event;
  countKinds();
  drawDiagram();
  sayVerdict();
});
for (const button of document.querySelectorAll("[data-step]")) {
  button.addEventListener("click", () => step(Number(button.dataset.step), button.dataset.kind));
}
element("others").addEventListener("click", () => {
  const pressed = element("others").getAttribute("aria-pressed") === "true";
  element("others").setAttribute("aria-pressed", String(!pressed));
  drawDiagram();
});
element("others").hidden = DATA.workers.length < 2;
DIAGRAM.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const kind = { v: "violated", a: "ambiguous", w: "wrong" }[event.key.toLowerCase()];
  if (kind) step(event.shiftKey ? -1 : 1, kind);
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") step(event.key === "ArrowRight" ? 1 : -1, "any");
  else return;
  event.preventDefault();
});
window.addEventListener("resize", drawDiagram);
{
  const order = ["violated", "wrong", "ambiguous", "any"];
  const kind = order.find((name) => DATA.events.some((_, event) => KINDS[name](STATE.worker, event)));
  const first = DATA.events.findIndex((_, event) => KINDS[kind || "any"](STATE.worker, event));
  changed({ event: Math.max(0, first) });
}
