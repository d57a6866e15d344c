// The table of several pictures: one row each, sorted by any column, saved as CSV.

import { copy, element, save, setShape, shape } from "./parts.js";
import * as words from "./words.js";

const ORDER = ["ai-generated", "inconclusive", "real", "failed", "working", "waiting"];
const SHORT = {
  "ai-generated": "AI-generated",
  inconclusive: "Inconclusive",
  real: "Photograph",
  failed: "Not scored",
  working: "Looking\u2026",
  waiting: "Waiting",
};
const THUMB = 80; // pixels

const table = document.querySelector("#batch table");
const rows = new Map(); // from items to their rows
let [sorted, up] = ["", true];

/** What has become of an item: its verdict, or `failed`, `working`, `waiting`. */
export function outcome(item) {
  return item.state === "done" ? item.row.verdict : item.state;
}

/** Set up the table; `items` gives all of them in the order they came, `open` is called with one when its name is pressed. */
export function start(items, open, model) {
  for (const heading of table.querySelectorAll("th[data-sort]")) {
    heading.querySelector("button").addEventListener("click", () => {
      up = sorted === heading.dataset.sort ? !up : heading.dataset.sort !== "score"; // the highest probability first
      sorted = heading.dataset.sort;
      for (const other of table.querySelectorAll("th[data-sort]")) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      arrange(items());
    });
  }
  document.getElementById("csv").addEventListener("click", () => save(csv(items()), "dgsnet.csv"));
  return { update: (item) => update(item, open, model()), arrange: () => arrange(items()), forget };
}

function update(item, open, model) {
  const kind = outcome(item);
  let row = rows.get(item);
  if (!row) {
    const { root, parts } = copy("row-template");
    row = { parts, element: root.querySelector("tr"), thumb: root.querySelector(".thumb") };
    rows.set(item, row);
    parts.name.textContent = item.label;
    parts.name.addEventListener("click", () => open(item));
    document.getElementById("rows").append(row.element);
  }
  const { parts } = row;
  row.element.dataset.verdict = kind;
  setShape(parts.shape, ORDER.indexOf(kind) > 3 ? "picture" : kind);
  parts.words.textContent = SHORT[kind];
  parts.score.textContent = item.state === "done" ? words.percent(item.row.score) : "\u2013";
  parts.notes.textContent = notes(item, model);
  if (item.state === "done") thumbnail(item, row.thumb);
}

function notes(item, model) {
  if (item.state === "failed") return words.refusal(item.error, model.limits);
  return item.state === "done" ? item.row.warnings.map((name) => words.warning(name, model)).join(" ") : "";
}

async function thumbnail(item, canvas) {
  try {
    const { width, height } = item.row;
    const side = Math.min(width, height);
    const [left, top] = [(width - side) >> 1, (height - side) >> 1];
    const small = await createImageBitmap(item.file, left, top, side, side, { resizeWidth: THUMB, resizeHeight: THUMB, resizeQuality: "medium" });
    canvas.getContext("2d").drawImage(small, 0, 0);
    small.close();
  } catch {
    // a picture the browser cannot open stays a grey square
  }
}

function arrange(items) {
  const value = {
    name: (item) => item.label,
    verdict: (item) => ORDER.indexOf(outcome(item)),
    score: (item) => item.row?.score ?? -1,
    notes: (item) => rows.get(item).parts.notes.textContent,
  }[sorted];
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  const shown = value ? [...items].sort((a, b) => (up ? 1 : -1) * compare(value(a), value(b))) : items;
  place(shown.map((item) => rows.get(item).element));
  counts(items);
}

function place(elements) {
  const body = document.getElementById("rows");
  if (elements.every((one, number) => body.children[number] === one)) return;
  const focused = document.activeElement;
  body.append(...elements);
  focused?.focus?.({ preventScroll: true }); // moving a row takes the focus from its button
}

function counts(items) {
  const list = document.getElementById("counts");
  const entries = ORDER.map((kind) => [kind, items.filter((item) => outcome(item) === kind).length]).filter(([, number]) => number);
  list.replaceChildren(
    ...entries.map(([kind, number]) => {
      const entry = element("li", shape(ORDER.indexOf(kind) > 3 ? "picture" : kind), `${SHORT[kind]}: ${words.count(number)}`);
      entry.dataset.verdict = kind;
      return entry;
    }),
  );
}

function forget() {
  rows.clear();
  document.getElementById("rows").replaceChildren();
}

/** Mark the row of the item that is shown below the table. */
export function mark(item) {
  for (const [other, row] of rows) row.element.setAttribute("aria-current", String(other === item));
}

/** Put the focus on the name of an item. */
export function focus(item) {
  rows.get(item)?.parts.name.focus();
}

/** What became of all pictures, in one sentence. */
export function summary(items) {
  const said = ORDER.slice(0, 4).map((kind) => [SHORT[kind], items.filter((item) => outcome(item) === kind).length]);
  return said.filter(([, number]) => number).map(([kind, number]) => `${kind}: ${number}`).join(", ");
}

// The columns of `dgsnet detect --out F.csv`.
const COLUMNS = ["path", "sha256", "score", "logit", "verdict", "warnings", "width", "height", "format", "model", "error", "provenance"];

function csv(items) {
  const lines = items.map((item) => {
    const row = item.row ?? { path: item.name, error: item.error?.message ?? "not scored yet", provenance: item.error?.provenance };
    const flat = { ...row, warnings: row.warnings?.join(";"), provenance: row.provenance && JSON.stringify(row.provenance) };
    return COLUMNS.map((column) => cell(flat[column])).join(",");
  });
  return new Blob([[COLUMNS.join(","), ...lines, ""].join("\n")], { type: "text/csv" });
}

function cell(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // a spreadsheet would take a file name for a formula
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
