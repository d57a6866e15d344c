// Ways to give pictures: drop them anywhere on the page, paste, or pick.

/** Call `take` with files, whichever way they come. */
export function listen(take) {
  const input = document.getElementById("files");
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
  drop(take);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
  pasteButton(take);
}

function drop(take) {
  const root = document.documentElement;
  let depth = 0; // a drag enters and leaves every element it passes
  const over = (change) => {
    depth = Math.max(0, depth + change);
    root.classList.toggle("dragging", depth > 0);
  };
  const holdsFiles = (event) => [...event.dataTransfer.types].includes("Files");
  root.addEventListener("dragenter", (event) => holdsFiles(event) && over(1));
  root.addEventListener("dragleave", (event) => holdsFiles(event) && over(-1));
  root.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  root.addEventListener("drop", (event) => {
    over(-depth);
    if (!holdsFiles(event)) return;
    event.preventDefault(); // or the browser leaves the page for the picture
    take([...event.dataTransfer.files]);
  });
}

function pasteButton(take) {
  const button = document.getElementById("paste");
  if (!navigator.clipboard?.read) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      const files = [];
      for (const item of await navigator.clipboard.read()) {
        const kind = item.types.find((type) => type.startsWith("image/"));
        if (kind) files.push(new File([await item.getType(kind)], `pasted.${kind.slice(6)}`, { type: kind }));
      }
      take(files, "There is no picture on the clipboard.");
    } catch {
      take([], "The browser does not let this page read the clipboard. Press Ctrl+V (on a Mac \u2318V) instead.");
    }
  });
}
