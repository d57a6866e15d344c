// The interface of the service, as anybody may call it. Nothing else is asked, of no other host.

const RETRIES = 8; // of a request that was refused because the service is busy
const LONGEST_WAIT = 30; // seconds

let key = "";

/** A request that got no result: `code` is the service's, or `unreachable`, `unreadable`; `provenance` is what a refused file says. */
export class Refusal extends Error {
  constructor(status, code, message, requestId = "", provenance = null) {
    super(message);
    Object.assign(this, { status, code, requestId, provenance });
  }
}

/** Send this key from now on; it is kept in this variable and nowhere else. */
export function useKey(given) {
  key = given;
}

/** What the model is, what is accepted, and the words for verdicts and warnings. */
export async function model() {
  const answer = await ask("v1/models");
  return (await answer.json()).models[0];
}

/** The row of one file, with the id of the request and the milliseconds it took. */
export async function detect(file, options = {}) {
  const answer = await ask("v1/detect?steadiness=true", { ...options, file });
  const { results, request_id: requestId, latency_ms: milliseconds } = await answer.json();
  return { row: results[0], requestId, milliseconds };
}

/** The heatmap of one file, a PNG. */
export async function heatmap(file, options = {}) {
  return (await ask("v1/heatmap", { ...options, file })).blob();
}

/** A page on one file: its content and the name the service gives it. */
export async function report(file, withHeatmap, options = {}) {
  const answer = await ask(`v1/report?heatmap=${withHeatmap}`, { ...options, file });
  const name = /filename="([\w.-]+)"/.exec(answer.headers.get("Content-Disposition") ?? "");
  return { content: await answer.blob(), name: name ? name[1] : "dgsnet-report.html" };
}

async function ask(path, { file, signal, onWait } = {}) {
  if (file) await readable(file);
  for (let attempt = 0; ; attempt += 1) {
    const answer = await send(path, file, signal);
    if (answer.ok) return answer;
    const refusal = await refusalOf(answer);
    if (answer.status !== 429 || attempt === RETRIES) throw refusal;
    const seconds = Math.min(LONGEST_WAIT, Math.max(1, Number(answer.headers.get("Retry-After")) || 1));
    onWait?.(seconds);
    await pause(seconds, signal);
  }
}

async function send(path, file, signal) {
  const request = { signal, cache: "no-store", credentials: "omit", redirect: "error", headers: key ? { Authorization: `Bearer ${key}` } : {} };
  if (file) {
    request.method = "POST";
    request.body = new FormData();
    request.body.append("file", file, file.name || "pasted picture");
  }
  try {
    return await fetch(path, request);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "unreachable", String(error.message));
  }
}

async function refusalOf(answer) {
  try {
    const { error, provenance } = await answer.json();
    return new Refusal(answer.status, error.code, error.message, error.request_id, provenance);
  } catch {
    return new Refusal(answer.status, "unavailable", `status ${answer.status}`);
  }
}

// A folder, or a file that was deleted since it was chosen, would look like a service that does not answer.
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Refusal(0, "unreadable", "the browser cannot read this file");
  }
}

function pause(seconds, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, 1000 * seconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), fail(signal.reason)), { once: true });
  });
}
