// Pieces of the page: copies of its templates, with their parts by name. Text goes in as text, never as markup.

/** A copy of a template and its elements by `data-part`. */
export function copy(template) {
  const root = document.getElementById(template).content.cloneNode(true);
  const parts = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
  return { root, parts };
}

/** An element with text or children. */
export function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}

/** One of the page's shapes. */
export function shape(name) {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("aria-hidden", "true");
  setShape(use, name);
  svg.append(use);
  return svg;
}

/** Point a `use` at one of the page's shapes. */
export function setShape(use, name) {
  use.setAttribute("href", `#shape-${name}`);
}

/** A name from outside on one line, without characters that turn the direction of text. */
export function printable(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\ufffd");
}

/** Have the browser save a file. */
export function save(content, name) {
  const link = element("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Run an action of a button once at a time, without taking the focus from it as `disabled` would. */
export function whenPressed(button, action) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      await action();
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}
