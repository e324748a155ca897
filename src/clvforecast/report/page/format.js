"use strict";

// Figures as text, as the tables of the page write them: thousands separators, a real minus, ranges in brackets.

const UNITS = [[1e9, "billion"], [1e6, "million"], [1e3, "thousand"], [1, ""]];

/** The largest unit that an amount holds ten times: {size, name, digits after the point}. */
function unitFor(largest) {
  const [size, name] = UNITS.find(([size]) => Math.abs(largest) >= 10 * size) ?? UNITS[3];
  return { size, name, digits: size === 1 ? 0 : 1 };
}

const NOTABLE = 1e-3; // share of the largest amount under which a range does not decide how exactly all are written

/** The unit of ranges [low, middle, high]: ends that differ are not written alike, and each range has three figures. */
function rangeUnit(ranges, beside = 0) {
  const known = ranges.filter((ends) => ends.every(Number.isFinite)), size = (ends) => Math.max(...ends.map(Math.abs));
  const largest = known.reduce((most, ends) => Math.max(most, size(ends)), Math.abs(beside) || 0), coarse = unitFor(largest);
  const notable = known.filter((ends) => size(ends) >= Math.max(NOTABLE * largest, 0.01));
  const tells = (unit) => notable.every((ends) => {
    const last = unit.size / 10 ** unit.digits, sorted = [...ends].sort((a, b) => a - b), written = sorted.map((end) => Math.round(end / last));
    return size(written) >= 100 && written.every((end, k) => k === 0 || sorted[k] - sorted[k - 1] <= 0.01 || end > written[k - 1]);
  });
  const finer = coarse.size > 1 || largest < 1000 ? [coarse, { ...coarse, digits: 2 }] : [coarse];
  for (const [smaller, name] of UNITS) if (smaller === coarse.size / 1e3) finer.push({ size: smaller, name, digits: 0 });
  return finer.find(tells) ?? finer[finer.length - 1];
}

const NUMBERS = [0, 1, 2].map(
  (digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);

function number(value, digits = 0) {
  if (value === null || !Number.isFinite(value)) return "–";
  const written = NUMBERS[digits].format(Math.abs(value));
  return value < 0 && /[1-9]/.test(written) ? `−${written}` : written;
}

const money = (amount, unit) => number(amount === null ? null : amount / unit.size, unit.digits);
const percent = (share, digits = 1) => (Number.isFinite(share) ? `${number(100 * share, digits)}%` : "–");
const between = (middle, low, high) => `${middle} (${low} to ${high})`;
const label = (unit, currency) => `${currency} ${unit.name}`.trim();
const counted = (n, thing) => `${number(n)} ${thing}${n === 1 ? "" : "s"}`;
const quotient = (amount, unit) => (amount === null ? null : amount / unit.size);

function day(iso) {
  const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December"];
  const [year, month, date] = iso.slice(0, 10).split("-").map(Number);
  return `${date} ${months[month - 1]} ${year}`;
}

/** Text for a chart, whose library reads some markup: names from the data must not be any. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** A text in at most so many lines of some letters, broken between words; what has no room is left out, which "…" says. */
function wrapped(text, letters, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines[lines.length - 1], longer = last ? `${last} ${word}` : word;
    if (longer.length <= letters || !last) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  const shown = lines.slice(0, most).map((line) => (line.length > letters + 2 ? `${line.slice(0, letters)}…` : line));
  return lines.length > most ? [...shown.slice(0, -1), `${shown[most - 1]}…`] : shown;
}

/** An element with attributes and children; texts stay texts. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(2).filter((child) => child !== null && child !== ""));
  return made;
}

const byId = (id) => document.getElementById(id);
