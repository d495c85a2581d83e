"use strict";
// The data of this page, numbers and axes; shared by the plot over time and the diagram of one event.

const DATA = JSON.parse(document.getElementById("data").textContent);
const UNKNOWN = 0, PROVED = 1, VIOLATED = 2, AMBIGUOUS = 3; // the labels of verdicts
const STATE = { event: 0, worker: 0, on: DATA.sources.map((source) => source.on), listeners: [] };

function changed(what) {
  for (const listener of STATE.listeners) listener(what);
}

function element(id) {
  return document.getElementById(id);
}

/** Return the numbers of a clock at one end of a message, each null where there is none; ns after the event's origin. */
function reading(worker, source, end, event) {
  const block = DATA.pairs[worker].clocks[source][end];
  const est = block.est[event];
  if (est === null) return null;
  const below = block.below ? block.below[event] : null;
  const bounded = below !== null;
  return { est, bounded, earliest: bounded ? est - below : est, latest: bounded ? est + block.above[event] : est };
}

/** Return an array's number, null where the array or the number is not there. */
function known(numbers, event) {
  return numbers ? numbers[event] : null;
}

/** Return a time in ns as a text with its unit, rounded for reading. */
function duration(ns) {
  const size = Math.abs(ns), sign = ns < 0 ? "−" : "";
  if (size >= 1e9) return `${sign}${(size / 1e9).toPrecision(4)} s`;
  if (size >= 1e6) return `${sign}${(size / 1e6).toPrecision(4)} ms`;
  return `${sign}${(size / 1e3).toFixed(1)} µs`;
}

/** Return the unit in which a span of ns is written on an axis: its name, and how many ns it has. */
function unitOf(span) {
  if (span >= 4e9) return { name: "s", ns: 1e9 };
  return span >= 4e6 ? { name: "ms", ns: 1e6 } : { name: "µs", ns: 1e3 };
}

/** Return round numbers between two limits, some as many as wanted. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high; place += 1) found.push(place * step);
  return found;
}

function colourOf(source) {
  const button = document.querySelector(`[data-source="${source}"]`);
  return getComputedStyle(button).getPropertyValue("--source").trim();
}

function styleOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

for (const button of document.querySelectorAll("[data-source]")) {
  button.addEventListener("click", () => {
    const source = Number(button.dataset.source);
    STATE.on[source] = !STATE.on[source];
    button.setAttribute("aria-pressed", String(STATE.on[source]));
    changed("sources");
  });
}
element("worker").addEventListener("change", (event) => {
  STATE.worker = Number(event.target.value);
  changed("worker");
});
element("interactive").hidden = false;
