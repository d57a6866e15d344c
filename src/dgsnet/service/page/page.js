// The page: what was given, what became of it, and what is shown.

import * as batch from "./batch.js";
import * as intake from "./intake.js";
import { printable } from "./parts.js";
import * as picture from "./picture.js";
import * as result from "./result.js";
import * as service from "./service.js";
import * as words from "./words.js";

const AT_ONCE = 2; // requests under way: one is scored while the next is sent

const part = (id) => document.getElementById(id);

let model = null;
let items = []; // in the order they came
let shown = null; // the one below the table
let stop = new AbortController();
let running = 0;
let quickest = Infinity; // milliseconds of a score, per view that was read

const table = batch.start(() => items, open, () => model);

function announce(text) {
  part("announce").textContent = text;
}

// --- the service ---

async function connect() {
  part("trouble").hidden = true;
  try {
    model = await service.model();
  } catch (error) {
    return error.status === 401 ? askForKey() : trouble(error);
  }
  part("gate").hidden = true;
  part("intake").hidden = false;
  describe();
}

function trouble(error) {
  part("trouble-words").textContent = error.code === "unreachable" ? words.refusal(error, {}) : `The service says: ${error.message}.`;
  part("trouble").hidden = false;
}

function askForKey(refused = false) {
  part("gate").hidden = false;
  part("key-error").textContent = refused ? "The service does not know this key." : "";
  part("key").setAttribute("aria-invalid", String(refused));
  part("key").focus();
}

part("retry").addEventListener("click", connect);
part("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = part("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(given)) return askForKey(true);
  service.useKey(given);
  part("key-error").textContent = "";
  await connect();
  if (!part("gate").hidden) return askForKey(true);
  part("key").value = "";
  part("files").focus();
});

function describe() {
  const { limits, thresholds, calibrated_on: fitted } = model;
  part("model").textContent = `Model ${model.name}`;
  part("model").hidden = false;
  part("accepted").textContent = `${words.formats(limits)}, up to ${words.megabytes(limits)} each. Give the original file where you can: screenshots and copies saved again hide what the model looks for.`;
  const [low, high] = [words.percent(thresholds.real), words.percent(thresholds.generated)];
  const band = (name, text) => (document.querySelector(`[data-band="${name}"]`).textContent = text);
  band("real", `: a probability below ${low}`);
  band("inconclusive", `: between ${low} and ${high}`);
  band("ai-generated", `: ${high} and more`);
  document.querySelector('.bands [data-verdict="inconclusive"]').hidden = thresholds.real === thresholds.generated;
  part("calibrated").textContent = fitted
    ? `The probability was calibrated on ${words.plural(fitted.n_real, "photograph", "photographs")} and ${words.count(fitted.n_fake)} AI-generated pictures, as if both were equally frequent. It holds for pictures of that kind.`
    : "This model was not calibrated: its figure ranks pictures and is no probability.";
  part("about").textContent = `dgsnet ${model.version}, model ${model.name}, fingerprint ${model.fingerprint.slice(0, 16)}`;
}

// --- pictures ---

function take(files, none = "") {
  if (!model || !part("gate").hidden) return;
  if (!files.length) {
    announce(none);
    part("invite").textContent = none || part("invite").textContent;
    return;
  }
  part("invite").textContent = "Drop or paste more pictures";
  const fresh = files.map((file) => ({
    file,
    name: file.name,
    label: printable(file.name || "pasted picture"),
    state: "waiting",
    signal: stop.signal,
    heatmapSeconds() {
      return Math.max(1, Math.round((passesOf(this).heatmap * quickest) / 1000));
    },
  }));
  const before = items.length;
  items = [...items, ...fresh];
  document.body.classList.add("working");
  if (items.length > 1) {
    for (const item of items.slice(before === 1 ? 0 : before)) table.update(item);
    part("batch").hidden = false;
    table.arrange();
    shown = null;
    part("result").hidden = true;
    batch.mark(null);
  } else {
    [shown] = items;
    draw();
  }
  announce(fresh.length === 1 ? `Scoring ${fresh[0].label}.` : `Scoring ${fresh.length} pictures.`);
  progress();
  work();
}

function passesOf(item) {
  return picture.passes(model.view, item.row.width, item.row.height);
}

function work() {
  while (running < AT_ONCE) {
    const next = items.find((item) => item.state === "waiting");
    if (!next) return;
    running += 1;
    score(next, stop);
  }
}

async function score(item, controller) {
  become(item, "working");
  try {
    const { limits } = model;
    if (item.file.size > limits.max_bytes) throw new service.Refusal(413, "file_too_large", `more than ${words.count(limits.max_bytes)} bytes`);
    const waiting = (seconds) => progress(`The service is busy; trying again in ${words.plural(seconds, "second", "seconds")}.`);
    Object.assign(item, await service.detect(item.file, { signal: item.signal, onWait: waiting }));
    if (item.row.score !== null) quickest = Math.min(quickest, item.milliseconds / passesOf(item).score);
    item.state = "done";
  } catch (error) {
    if (controller.signal.aborted) return;
    Object.assign(item, { state: "failed", error });
    if (error.status === 401) askForKey(true);
  } finally {
    if (!controller.signal.aborted) running -= 1;
  }
  become(item, item.state);
  work();
  if (items.every((one) => one.row || one.error)) finished();
}

function become(item, state) {
  item.state = state;
  if (items.length > 1) {
    table.update(item);
    table.arrange();
  }
  if (shown === item) draw();
  progress();
}

function finished() {
  if (items.length > 1) {
    announce(`${items.length} pictures done. ${batch.summary(items)}.`);
    return;
  }
  const [item] = items;
  if (item.error && item.state === "failed") {
    announce(`${item.label}: not scored. ${words.refusal(item.error, model.limits)}`);
    return;
  }
  const said = model.words.verdicts[item.row.verdict];
  const warned = item.row.warnings.length ? ` ${words.plural(item.row.warnings.length, "warning", "warnings")}.` : "";
  announce(`${item.label}: ${said}. Probability of being AI-generated ${words.percent(item.row.score)}.${warned}`);
}

function progress(remark = "") {
  const over = items.filter((item) => ["done", "failed"].includes(item.state)).length;
  const several = items.length > 1 || remark;
  part("progress").hidden = over === items.length || !several;
  part("progress-words").textContent = remark || `Scored ${over} of ${items.length}`;
  part("progress-bar").max = items.length;
  part("progress-bar").value = over;
}

// --- what is shown ---

function draw() {
  const item = shown;
  result.show(part("result"), item, model, {
    announce,
    back: items.length > 1 ? () => close(item) : null,
    again: () => {
      item.error = null;
      become(item, "waiting");
      work();
    },
    clear,
  });
}

function open(item) {
  shown = item;
  batch.mark(item);
  draw();
  const heading = part("result").querySelector("h2");
  heading.focus({ preventScroll: true });
  part("result").scrollIntoView({ block: "start", behavior: "smooth" });
}

function close(item) {
  shown = null;
  batch.mark(null);
  part("result").hidden = true;
  batch.focus(item);
}

function clear() {
  stop.abort();
  stop = new AbortController();
  running = 0;
  for (const item of items) for (const url of [item.url, item.heatmap]) if (url) URL.revokeObjectURL(url);
  items = [];
  shown = null;
  table.forget();
  for (const id of ["batch", "result", "progress"]) part(id).hidden = true;
  part("result").replaceChildren();
  document.body.classList.remove("working");
  part("invite").textContent = "Drop pictures here, or paste one";
  announce("Cleared.");
  part("files").focus();
}

document.querySelector("#batch .clear").addEventListener("click", clear);
intake.listen(take);
connect();
