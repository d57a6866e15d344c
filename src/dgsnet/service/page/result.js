// One result: verdict, scale, warnings, provenance, facts, report.

import { copy, element, save, setShape, shape, whenPressed } from "./parts.js";
import * as picture from "./picture.js";
import * as service from "./service.js";
import * as words from "./words.js";

const SAYS = {
  generated: "Says: AI-generated",
  "ai-edited": "Says: edited with generative AI",
  edited: "Says: edited",
  camera: "Says: from a camera",
  scanner: "Says: from a scanner",
  unknown: "Says nothing of how the picture was made",
};

/** Draw an item, whatever has become of it by now, into `place`. */
export function show(place, item, model, { announce, back, again, clear }) {
  const { root, parts } = copy("result-template");
  parts.name.textContent = item.label;
  parts.back.hidden = !back;
  parts.back.addEventListener("click", back ?? (() => {}));
  parts.clear.hidden = Boolean(back);
  parts.clear.addEventListener("click", clear);
  picture.show(item, parts);
  ({ done: scored, failed, working: waiting, waiting })[item.state](item, parts, model, { announce, again });
  const within = place.contains(document.activeElement);
  place.replaceChildren(root);
  place.hidden = false;
  if (within) place.querySelector("h2").focus({ preventScroll: true }); // what had the focus is gone
}

function head(parts, kind, said) {
  parts.verdict.dataset.verdict = kind;
  setShape(parts.shape, kind);
  parts.words.textContent = said;
}

function waiting(item, parts) {
  head(parts, "waiting", "Looking at the picture\u2026");
  setShape(parts.shape, "picture");
  parts.scored.hidden = true;
  parts.waiting.hidden = false;
  parts["facts-box"].hidden = true;
}

function failed(item, parts, model, { again }) {
  head(parts, "failed", "Not scored");
  parts.scored.hidden = true;
  parts.failure.hidden = false;
  parts.failure.textContent = words.refusal(item.error, model.limits);
  parts["again-box"].hidden = ![0, 401, 429, 503].includes(item.error.status);
  parts.again.addEventListener("click", again);
  provenance(parts, item.error, model);
  facts(parts, {
    file: item.label,
    "the service said": item.error.message,
    request: item.error.requestId,
  });
}

function scored(item, parts, model, { announce }) {
  const { row } = item;
  const [said] = (model.words.verdicts[row.verdict] ?? row.verdict).split(":");
  head(parts, row.verdict, said);
  scale(parts, row, model);
  parts.explanation.textContent = words.explanation(row, model.thresholds);
  parts.probability.textContent = words.probability(row, model);
  parts.warnings.replaceChildren(...row.warnings.map((name) => element("li", shape("warning"), element("span", words.warning(name, model)))));
  picture.scored(item, parts, model, announce);
  provenance(parts, row, model);
  facts(parts, {
    file: item.label,
    sha256: row.sha256,
    picture: `${row.format}, ${words.count(row.width)} \u00d7 ${words.count(row.height)} pixels, ${words.count(item.file.size)} bytes`,
    score: row.score.toFixed(4),
    logit: row.logit.toFixed(3),
    thresholds: `photograph below ${model.thresholds.real.toFixed(3)}, AI-generated from ${model.thresholds.generated.toFixed(3)}`,
    warnings: row.warnings.join(", "),
    model: row.model,
    fingerprint: model.fingerprint,
    version: `dgsnet ${model.version}`,
    request: `${item.requestId}, ${Math.round(item.milliseconds)} ms`,
  });
  parts.actions.hidden = false;
  whenPressed(parts.report, () => report(item, parts, model, announce));
}

function scale(parts, row, { thresholds }) {
  const set = (name, share) => parts.scale.style.setProperty(name, `${100 * share}%`);
  set("--at", row.score);
  set("--low", thresholds.real);
  set("--high", thresholds.generated);
  parts.percent.textContent = words.percent(row.score);
  const [low, high] = [words.percent(thresholds.real), words.percent(thresholds.generated)];
  parts["tick-real"].textContent = low;
  parts["tick-generated"].textContent = high;
  const band = thresholds.real < thresholds.generated;
  parts["tick-real"].hidden = !band;
  for (const unsure of parts.scale.querySelectorAll(".inconclusive, .middle")) unsure.hidden = !band;
  parts.scale.setAttribute(
    "aria-label",
    `Probability of being AI-generated: ${words.percent(row.score)}, on a scale from photograph to AI-generated. ` +
      (band ? `Below ${low} photograph, from ${high} on AI-generated, between them inconclusive.` : `From ${high} on AI-generated.`),
  );
}

function provenance(parts, { verdict, provenance: told }, model) {
  if (!told) return;
  const { signatures, signers, contradictions } = model.words;
  parts.provenance.hidden = false;
  parts.summary.textContent = told.summary;
  parts.contradiction.hidden = told.agrees !== false;
  parts.contradiction.textContent = told.agrees === false ? contradictions[verdict] : "";
  const signer = told.signature === "intact" && signers[told.signer] ? `; ${signers[told.signer]}` : "";
  parts.signature.hidden = told.findings.length === 0;
  parts.signature.textContent = told.findings.length ? `${signatures[told.signature]}${signer}.` : "";
  parts.findings.replaceChildren(
    ...told.findings.map(({ kind, value, says }) => element("li", element("b", SAYS[says] ?? says), element("span", `${kind}: ${value}`))),
  );
  const unread = model.reads_c2pa ? "" : " Signed C2PA manifests are not checked by this service.";
  parts["provenance-note"].textContent = `It is no part of the probability and changes no verdict.${unread}`;
}

function facts(parts, known) {
  const entries = Object.entries(known).filter(([, value]) => value);
  parts.facts.replaceChildren(...entries.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

async function report(item, parts, model, announce) {
  const drawn = parts["with-heatmap"].checked;
  const seconds = item.heatmapSeconds();
  parts["report-error"].textContent = "";
  parts.reporting.hidden = false;
  parts["reporting-words"].textContent = drawn ? `Drawing its heatmap, about ${words.duration(seconds)}.` : "A moment.";
  announce("Making the report.");
  try {
    const { content, name } = await service.report(item.file, drawn, { signal: item.signal });
    save(content, name);
    announce("The report is downloaded.");
  } catch (error) {
    if (!item.signal.aborted) parts["report-error"].textContent = words.refusal(error, model.limits);
  } finally {
    parts.reporting.hidden = true;
  }
}
