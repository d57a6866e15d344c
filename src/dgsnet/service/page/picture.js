// The picture of a result, the outline of what the model looked at, and the heatmap over both.

import * as service from "./service.js";
import { whenPressed } from "./parts.js";
import * as words from "./words.js";

const MARGIN = 1.15; // around the part that is zoomed to
const WORTH_ZOOMING = 0.5; // share of the picture above which it is not
const CELL = 32; // of a heatmap, pixels of the view; twice that where there are several views

/** Where a model looks: [left, top, width, height] in pixels of each part, the middle first; none where these are many (see `view` in /v1/models). */
export function lookedAt(view, width, height) {
  if (view.kind === "patches") return [];
  return areas(view, width, height).map(([left, top, wide, tall]) => {
    const side = view.kind === "crop" ? view.size : Math.min(wide, tall);
    const [right, down] = [Math.max(0, Math.floor((wide - side) / 2)), Math.max(0, Math.floor((tall - side) / 2))];
    return [left + right, top + down, Math.min(side, wide), Math.min(side, tall)];
  });
}

/** How many views the model reads for a score, and for a heatmap: one for each cell that is blanked, and the whole. */
export function passes(view, width, height) {
  const views = areas(view, width, height).length;
  const cells = Math.ceil(view.size / (views === 1 ? CELL : 2 * CELL)) ** 2;
  return { score: views, heatmap: views * (cells + 1) };
}

/** The whole picture, and its quadrants where the model looks at them too. */
function areas(view, width, height) {
  const whole = [0, 0, width, height];
  if (!view.quadrants || Math.min(width, height) < 2 * view.size) return [whole];
  const [x, y] = [Math.floor(width / 2), Math.floor(height / 2)];
  return [whole, [0, 0, x, y], [x, 0, width - x, y], [0, y, x, height - y], [x, y, width - x, height - y]];
}

/** Show the picture of an item at once. */
export function show(item, parts) {
  parts.photo.alt = `The picture ${item.label}`;
  parts.photo.addEventListener("load", () => proportion(parts, parts.photo.naturalWidth, parts.photo.naturalHeight));
  parts.photo.addEventListener("error", () => {
    parts.photo.hidden = true;
    parts["no-preview"].hidden = false;
    parts.photo.closest(".stage").hidden = true;
  });
  parts.photo.src = item.url ??= URL.createObjectURL(item.file);
}

/** When it is scored: the outline, and the buttons. */
export function scored(item, parts, model, announce) {
  const { width, height } = item.row;
  proportion(parts, width, height);
  const boxes = lookedAt(model.view, width, height);
  parts.looked.textContent = looked(boxes, width, height);
  parts.controls.hidden = false;
  if (boxes.length) outline(parts, boxes, width, height);
  parts.opacity.addEventListener("input", () => fade(item, parts));
  if (item.heatmap) overlay(item, parts);
  whenPressed(parts.draw, () => draw(item, parts, model, announce));
}

function proportion(parts, width, height) {
  const frame = parts.photo.closest(".frame");
  frame.style.setProperty("--ratio", width / height);
  frame.style.setProperty("--natural", `${width}px`);
}

function looked(boxes, width, height) {
  const size = `${words.count(width)}\u00a0\u00d7\u00a0${words.count(height)}`;
  if (!boxes.length) return `Of ${size} pixels the model looked at some small squares, chosen by their texture. The rest had no part in the answer.`;
  const [, , wide, tall] = boxes[0];
  const share = (100 * wide * tall) / (width * height);
  const part = `${words.count(wide)}\u00a0\u00d7\u00a0${words.count(tall)}`;
  if (share > 99) return `The model looked at the whole picture, ${size} pixels.`;
  if (boxes.length > 1) return `The model looked at ${boxes.length} outlined parts of ${part} pixels each, of ${size}. The rest had no part in the answer.`;
  const amount = share < 10 ? share.toFixed(1) : Math.round(share);
  return `The model looked at the outlined ${part} of ${size} pixels, ${amount}\u00a0% of the picture. The rest had no part in the answer.`;
}

function outline(parts, boxes, width, height) {
  const [[, , wide, tall], ...others] = boxes;
  const share = (wide * tall) / (width * height);
  if (share > 0.99) return;
  const { seen, zoom } = parts;
  const at = place(seen, boxes[0], width, height);
  for (const other of others) {
    const one = seen.cloneNode();
    delete one.dataset.part;
    place(one, other, width, height);
    seen.after(one);
  }
  zoom.hidden = share > WORTH_ZOOMING;
  if (others.length) zoom.textContent = "Zoom to the middle part";
  const layers = seen.parentElement;
  const scale = Math.max(1, Math.min(width / (wide * MARGIN), height / (tall * MARGIN)));
  const shift = (start, length) => Math.min(0, Math.max(1 - scale, 0.5 - scale * (start + length / 2)));
  const moved = `translate(${100 * shift(at.left, at.width)}%, ${100 * shift(at.top, at.height)}%) scale(${scale})`;
  zoom.addEventListener("click", () => {
    const on = zoom.getAttribute("aria-pressed") !== "true";
    zoom.setAttribute("aria-pressed", String(on));
    layers.style.transform = on ? moved : "";
    layers.style.setProperty("--zoom", on ? scale : 1);
  });
}

function place(frame, [left, top, wide, tall], width, height) {
  const at = { left: left / width, top: top / height, width: wide / width, height: tall / height };
  for (const [name, value] of Object.entries(at)) frame.style[name] = `${100 * value}%`;
  frame.hidden = false;
  return at;
}

async function draw(item, parts, model, announce) {
  parts["heatmap-error"].textContent = "";
  parts.drawing.hidden = false;
  parts["drawing-words"].textContent = `Drawing: many times the work of a score, about ${words.duration(item.heatmapSeconds())} here.`;
  announce("Drawing the heatmap.");
  try {
    item.drawing ??= service.heatmap(item.file, { signal: item.signal }); // once, though the result may be closed and opened meanwhile
    item.heatmap ??= URL.createObjectURL(await item.drawing);
    overlay(item, parts);
    announce("The heatmap lies over the picture. A slider sets how strong it is.");
    if (document.activeElement === parts.draw || document.activeElement === document.body) parts.opacity.focus();
    parts.draw.hidden = true;
  } catch (error) {
    item.drawing = null;
    if (!item.signal.aborted) parts["heatmap-error"].textContent = words.refusal(error, model.limits);
  } finally {
    parts.drawing.hidden = true;
  }
}

function overlay(item, parts) {
  parts.overlay.alt = `Heatmap of ${item.label}`;
  parts.overlay.src = item.heatmap;
  parts.overlay.hidden = false;
  parts.slider.hidden = false;
  parts.draw.hidden = true;
  if (item.opacity !== undefined) parts.opacity.value = item.opacity;
  fade(item, parts);
}

function fade(item, parts) {
  item.opacity = parts.opacity.value;
  const shown = `${item.opacity}\u00a0%`;
  parts.overlay.style.opacity = item.opacity / 100;
  parts["opacity-words"].textContent = shown;
  parts.opacity.setAttribute("aria-valuetext", shown);
}
