// What figures and refusals are called in plain words. Words for verdicts and warnings come from the service, which uses them elsewhere too.

const REFUSALS = {
  broken_image: "This file is damaged or incomplete. Try a whole copy of it.",
  too_small: "This picture has too few pixels to be judged. Look for a larger copy.",
  decode_timeout: "This file took too long to open. Save it as a plain PNG and try that.",
  invalid_request: "The service did not understand the request.",
  unauthorised: "The service does not accept the key. Enter another one above.",
  queue_full: "The service has too much to do. Try again in a minute.",
  rate_limited: "The service was asked too often. Try again in a minute.",
  too_many_uploads: "The service has too much to do. Try again in a minute.",
  timeout: "The service did not finish in time. Try again.",
  unavailable: "The service could not answer. Try again, and if it goes on, tell whoever runs it.",
  upload_timeout: "Sending the file took too long. Try a faster connection or a smaller file.",
  unreachable: "The service does not answer. Is it running, and are you connected to it?",
  unreadable: "Your browser cannot read this file. It may be a folder, or have been moved or deleted.",
  no_heatmap: "This model cannot draw a heatmap of this picture.",
};

/** Why there is no result, in plain words; `limits` are those of the service. */
export function refusal(error, limits) {
  const known = {
    ...REFUSALS,
    unsupported_format: `Only ${formats(limits)} can be checked. Convert the file to PNG, without changing its size.`,
    file_too_large: `This file is larger than ${megabytes(limits)}. Look for a smaller copy; scaling it down yourself makes the answer less reliable.`,
    image_too_large: `This picture is too large: at most ${Math.round(limits.max_pixels / 1e6)} megapixels and ${count(limits.max_side)} pixels a side can be checked.`,
  };
  known.body_too_large = known.file_too_large;
  return known[error.code] ?? `The service says: ${error.message}.`;
}

/** A probability 0..1 for people; never 0 % or 100 %, which nobody can claim. */
export function percent(share) {
  if (share < 0.005) return "under 1\u00a0%";
  if (share >= 0.995) return "over 99\u00a0%";
  return `${Math.round(100 * share)}\u00a0%`;
}

/** JPEG, PNG or WebP. */
export function formats({ formats: known }) {
  const names = known.map((name) => (name === "WEBP" ? "WebP" : name));
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)} pictures`;
}

/** 20 MB. */
export function megabytes({ max_bytes: bytes }) {
  return `${Math.floor(bytes / 2 ** 20)}\u00a0MB`;
}

/** A whole number with separators. */
export function count(number) {
  return number.toLocaleString("en-GB");
}

/** One sentence: what the probability is and on which side of which threshold. */
export function explanation(row, { real, generated }) {
  const given = `The model gives ${percent(row.score)} for AI-generated`;
  if (row.verdict === "ai-generated") return `${given}; from ${percent(generated)} on it says so.`;
  if (row.verdict === "real") return `${given}; below ${percent(real)} it says photograph. A generator it does not know can look just like this.`;
  return `${given}, between its thresholds of ${percent(real)} and ${percent(generated)}. Take it as no answer.`;
}

/** What the probability is to be read as. */
export function probability(row, { calibrated_on: fitted }) {
  if (!fitted) return "This model was not calibrated: read the figure as a ranking, not as a probability.";
  const many = Math.min(99, Math.max(1, Math.round(100 * row.score)));
  return (
    `Calibrated: among pictures of the kind it was calibrated on, half of them AI-generated, about ${many} in 100 with this figure are AI-generated. ` +
    "Where AI-generated pictures are rarer, fewer are; of other kinds of pictures it is a hint only."
  );
}

/** What a warning means, in one sentence. */
export function warning(name, model) {
  return model.words.warnings[name] ?? `Warning: ${name.replaceAll("_", " ")}.`;
}

/** About how long something takes. */
export function duration(seconds) {
  return seconds < 90 ? plural(seconds, "second", "seconds") : plural(Math.round(seconds / 60), "minute", "minutes");
}

/** What a whole number of things is called. */
export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}
