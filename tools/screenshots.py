"""Screenshots of the page of `dgsnet serve`, on photographs that scikit-image carries: docs/screenshots/.

    dgsnet serve --port 8000 &
    python -m tools.screenshots http://127.0.0.1:8000 --out docs/screenshots

Needs Chromium and the extras `dev` and `demo`. Look at each before you commit it.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import skimage.data
import typer
from PIL import Image, PngImagePlugin
from playwright.sync_api import FilePayload, Page, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
SCALE = 1.5  # device pixels a CSS pixel, so that text on the phone is sharp; a desktop's are scaled down again
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
LARGEST = 290_000  # bytes of a screenshot, for which grey levels are stored as one, `STEPS` of them: a photograph as PNG is large
STEPS = (1, 2, 4, 6, 8)
TALLEST = {"desktop": 1130, "dark": 1130, "phone": 1300}  # CSS pixels of a screenshot; what stands below is the same in all states
PATIENCE = 15 * 60_000  # milliseconds, for a heatmap on a busy machine


def main(url: str, out: Annotated[Path, typer.Option()], only: str = "") -> None:
    """Take all of them, or those of one state: empty, result, batch, error."""
    out.mkdir(parents=True, exist_ok=True)
    states = {"empty": _empty, "result": _result, "batch": _batch, "error": _error}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=ARGUMENTS)
        for state, steps in states.items():
            if state.startswith(only):
                page = browser.new_page(viewport=DESKTOP, device_scale_factor=SCALE, reduced_motion="reduce")
                page.set_default_timeout(PATIENCE)
                page.goto(url)
                page.locator("#intake").wait_for()
                steps(page)
                for kind, size, scheme in (("desktop", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")):
                    if kind == "dark" and state != "result":
                        continue
                    page.set_viewport_size(size)
                    page.emulate_media(color_scheme=scheme)
                    page.mouse.move(0, 0)
                    page.evaluate("document.activeElement.blur()")
                    page.wait_for_timeout(300)
                    _store(page.screenshot(full_page=True), kind, out / f"{state}-{kind}.png")
                page.close()


def _store(content: bytes, kind: str, target: Path) -> None:
    taken = Image.open(io.BytesIO(content)).convert("RGB")
    taken = taken.crop((0, 0, taken.width, min(taken.height, round(SCALE * TALLEST[kind]))))
    if kind != "phone":
        taken = taken.resize((round(taken.width / SCALE), round(taken.height / SCALE)), Image.Resampling.LANCZOS)
    for step in STEPS:
        levels = [min(255, (value + step // 2) // step * step) for value in range(256)]
        taken.point(levels * 3).save(target, optimize=True)
        if target.stat().st_size <= LARGEST:
            break
    typer.echo(f"{target}: {taken.width}x{taken.height}, {target.stat().st_size:,} bytes")


def _empty(page: Page) -> None:
    pass


def _result(page: Page) -> None:
    page.set_input_files("#files", [_file("astronaut.jpg", "astronaut", quality=93, exif=_camera())])
    page.get_by_role("button", name="Show heatmap").click()
    page.locator(".slider").wait_for()


def _batch(page: Page) -> None:
    page.set_input_files("#files", [*_pictures(), _broken()])
    page.locator("#progress").wait_for(state="hidden")
    page.wait_for_timeout(300)  # thumbnails


def _error(page: Page) -> None:
    page.set_input_files("#files", [_broken()])
    page.get_by_text("Not scored", exact=True).wait_for()


def _pictures() -> list[FilePayload]:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cup of coffee on a wooden table, Steps: 30, Sampler: Euler a")
    return [
        _file("astronaut.jpg", "astronaut", quality=93, exif=_camera()),
        _file("coffee.png", "coffee", "PNG", pnginfo=text),
        _file("chelsea, forwarded.jpg", "chelsea", quality=20),
        _file("rocket.jpg", "rocket", quality=93),
        _file("page.png", "page", "PNG"),
    ]


def _file(name: str, which: str, kind: str = "JPEG", **options: Any) -> FilePayload:
    stream = io.BytesIO()
    Image.fromarray(getattr(skimage.data, which)()).convert("RGB").save(stream, kind, **options)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": stream.getvalue()}


def _broken() -> FilePayload:
    whole = _file("holiday.jpg", "rocket")
    return {**whole, "buffer": whole["buffer"][:20_000]}


def _camera() -> Image.Exif:
    exif = Image.Exif()
    exif[271], exif[272] = "NIKON CORPORATION", "NIKON D3S"
    return exif


if __name__ == "__main__":
    typer.run(main)
