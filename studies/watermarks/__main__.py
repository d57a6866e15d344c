"""How often is a mark seen where there is none, and how often does one survive what sites do to pictures?

    python -m studies.watermarks unmarked --data CORPUS --repositories FOLDER [--minutes 30]
    python -m studies.watermarks survival --data CORPUS --repositories FOLDER [--pictures 100]
    python -m studies.watermarks tables

`unmarked` appends the strength of every message in every crop to `runs/watermarks/unmarked.csv` and goes on where it stopped; `survival`
does the same with marked pictures, `survival.csv`. `tables` writes `results/*.json` from both, and from these the tables of
docs/watermarks.md.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from dgsnet.core.files import write_json, write_text
from dgsnet.watermarks import dwt_dct, stealth
from studies.common.paths import ROOT, RUNS
from studies.watermarks import treatments
from studies.watermarks.photographs import middle, photographs, unmarked
from studies.watermarks.writing import hide, write, write_as_program

RESULTS, WORK = Path(__file__).parent / "results", RUNS / "watermarks"
DOCUMENT = ROOT / "docs" / "watermarks.md"
UNMARKED, SURVIVAL = "unmarked.csv", "survival.csv"
MESSAGES = [message.name for message in dwt_dct.MESSAGES]
SHIFTED = [np.stack([np.roll(message.bits, step) for step in range(len(message.bits))]) for message in dwt_dct.MESSAGES]
"""Each message as (n, n): as it is, and begun at every other bit. A crop by 8 pixels shifts what is read by one, so these are messages that
a photograph holds as seldom, and n times as many tries to take it for marked."""
SIDE = 512
"""Of a picture that is marked."""
TEXT = b"a cat on a mat, soft light\nNegative prompt: blurry\nSteps: 28, Sampler: Euler a, CFG scale: 5, Seed: 1234567890, Size: 512x512"

Pixels = NDArray[np.uint8]


def read_unmarked(corpus: Path, repositories: Path, minutes: float) -> None:
    """Read crops of one photograph after the other until time is up."""
    begun = _done(WORK / UNMARKED)
    end = time.monotonic() + 60 * minutes
    columns = ["photograph", "source", "done", "width", "height", *MESSAGES, *(f"{name}_shifted" for name in MESSAGES), "stealth"]
    for photograph in photographs(corpus, repositories):
        if time.monotonic() > end:
            return
        if photograph.name in begun:
            continue
        rows = []
        for what, pixels in unmarked(photograph):
            if pixels.shape[0] * pixels.shape[1] >= 256 * 256:
                found = strengths(pixels)
                facts = [photograph.name, photograph.source, what, pixels.shape[1], pixels.shape[0]]
                rows.append([*facts, *found[0].round(3), *found[1].round(3), len(stealth.read(pixels))])
        _append(WORK / UNMARKED, columns, rows)


def strengths(pixels: Pixels) -> NDArray[np.float64]:
    """Return the strength of each message, by the reading that gives it most, and that of the strongest of its shifts: (2, messages)."""
    found = np.full((2, len(SHIFTED)), -np.inf)
    for answers in dwt_dct.block_answers(pixels):
        for number, shifted in enumerate(SHIFTED):
            of_all = dwt_dct.strength(dwt_dct.votes(answers, len(shifted)), shifted)
            found[:, number] = np.maximum(found[:, number], [of_all[0], of_all.max()])
    return found


def read_marked(corpus: Path, repositories: Path, pictures: int) -> None:
    """Mark pictures, one of a source, treat them and read them again."""
    begun, taken = _done(WORK / SURVIVAL), set[str]()
    columns = ["photograph", "mark", "treatment", "strength", "agree"]
    for photograph in photographs(corpus, repositories):
        if len(taken) == pictures:
            return
        if photograph.source in taken or (whole := photograph.pixels()) is None or min(whole.shape[:2]) < SIDE:
            continue
        taken.add(photograph.source)
        if photograph.name not in begun:
            pixels = middle(whole, SIDE, SIDE)
            _append(WORK / SURVIVAL, columns, [[photograph.name, *row] for row in _survivals(pixels)])


def _survivals(pixels: Pixels) -> Iterator[list[Any]]:
    for mark, pixels_of in _writers().items():
        marked = pixels_of(pixels)
        for name, treated in treatments.of_pixels(marked):
            reading = next(one for one in dwt_dct.read(treated) if one.message.name == mark.removesuffix("_rgb"))
            yield [mark, name, round(reading.strength, 3), reading.agree]
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    for mark, hidden in {
        "stealth, alpha channel": np.concatenate([pixels, hide(opaque, b"stealth_pngcomp", TEXT)], axis=2),
        "stealth, colours": hide(pixels, b"stealth_rgbcomp", TEXT),
    }.items():
        for name, treated in treatments.of_pixels(hidden):
            alpha = np.ascontiguousarray(treated[:, :, 3]) if treated.shape[2] == 4 else None
            found = any(one.text == TEXT.decode() for one in stealth.read(np.ascontiguousarray(treated[:, :, :3]), alpha))
            yield [mark, name, dwt_dct.THRESHOLD if found else 0.0, 0]


def _writers() -> dict[str, Callable[[Pixels], Pixels]]:
    writers: dict[str, Callable[[Pixels], Pixels]] = {
        message.name: partial(write_as_program, message=message) for message in dwt_dct.MESSAGES
    }
    writers["sdxl_rgb"] = lambda pixels: write(pixels, dwt_dct.MESSAGES[0], floats=True, rgb=True)
    return writers


def _done(file: Path) -> set[str]:
    if not file.exists():
        return set()
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["photograph"] for row in csv.DictReader(stream)}


def _append(file: Path, columns: list[str], rows: list[list[Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([columns, *rows] if new else rows)


def _rows(name: str) -> list[dict[str, str]]:
    with (WORK / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _share(count: int, of: int) -> dict[str, float | int]:
    """Return a share with its exact 95 % interval (Clopper and Pearson)."""
    interval = binomtest(count, of).proportion_ci(0.95, "exact")
    return {"count": count, "of": of, "value": count / of, "low": float(interval.low), "high": float(interval.high)}


def tables() -> None:
    """Write the results, and the tables of the document."""
    rows = _rows(UNMARKED)
    strongest = {name: np.array([float(row[name]) for row in rows]) for name in MESSAGES}
    shifted = {name: np.array([float(row[f"{name}_shifted"]) for row in rows]) for name in MESSAGES}
    photographed = np.unique([row["photograph"] for row in rows], return_inverse=True)[1]
    alarms = np.any([values >= dwt_dct.THRESHOLD for values in strongest.values()], axis=0)
    found = {
        "threshold": dwt_dct.THRESHOLD,
        "crops": len(rows),
        "photographs": int(photographed.max()) + 1,
        "sources": len({row["source"] for row in rows}),
        "any_message": _share(int(alarms.sum()), len(rows)),
        "any_message_in_a_photograph": _share(len(set(photographed[alarms].tolist())), int(photographed.max()) + 1),
        "settings_in_colours": _share(sum(row["stealth"] != "0" for row in rows), len(rows)),
        "messages": {
            message.name: {
                "highest": float(strongest[message.name].max()),
                "alarms": int((strongest[message.name] >= dwt_dct.THRESHOLD).sum()),
                "shifted": {
                    "tries": len(rows) * len(message.bits),
                    "highest": float(shifted[message.name].max()),
                    "crops_with_an_alarm": int((shifted[message.name] >= dwt_dct.THRESHOLD).sum()),
                },
            }
            for message in dwt_dct.MESSAGES
        },
    }
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "unmarked.json", found)
    survived: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(SURVIVAL):
        survived[row["mark"]][row["treatment"]].append(float(row["strength"]))
    shares = {
        mark: {
            name: _share(sum(value >= dwt_dct.THRESHOLD for value in values), len(values)) | {"median_strength": float(np.median(values))}
            for name, values in by_name.items()
        }
        for mark, by_name in survived.items()
    }
    write_json(RESULTS / "survival.json", shares)
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, block in (("unmarked", _unmarked_table(found)), ("survival", _survival_table(shares))):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        text = text[: text.index(begin) + len(begin)] + block + "\n" + text[text.index(end) :]
    write_text(DOCUMENT, text)


def _unmarked_table(found: dict[str, Any]) -> str:
    of_crops, of_photographs = found["any_message"], found["any_message_in_a_photograph"]
    lines = [
        f"Of {found['crops']:,} crops of {found['photographs']:,} unmarked photographs of {found['sources']} sources, {of_crops['count']} "
        f"were taken for marked (95 %: at most {of_crops['high']:.5f} of the crops, {of_photographs['high']:.4f} of the photographs); "
        f"hidden settings were seen in {found['settings_in_colours']['count']}.",
        "",
        "| message | highest strength in a crop | tries with the message begun at each bit | highest | crops in which one of them passes |",
        "|---|---|---|---|---|",
    ]
    for name, one in found["messages"].items():
        moved = one["shifted"]
        lines.append(f"| {name} | {one['highest']:.1f} | {moved['tries']:,} | {moved['highest']:.1f} | {moved['crops_with_an_alarm']} |")
    return "\n".join(lines)


def _survival_table(shares: dict[str, dict[str, Any]]) -> str:
    lines = ["| | " + " | ".join(shares) + " |", "|---|" + "---|" * len(shares)]
    for name in next(iter(shares.values())):
        cells = [f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})" for one in (of_mark[name] for of_mark in shares.values())]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("unmarked", "survival", "tables"))
    parser.add_argument("--data", type=Path, help="corpus of images")
    parser.add_argument("--repositories", type=Path, help="folder of the repositories that are listed, OWNER/NAME")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--pictures", type=int, default=100)
    given = parser.parse_args()
    if given.step == "tables":
        tables()
    elif given.data is None or given.repositories is None:
        parser.error(f"{given.step} needs --data and --repositories")
    elif given.step == "unmarked":
        read_unmarked(given.data, given.repositories, given.minutes)
    else:
        read_marked(given.data, given.repositories, given.pictures)


if __name__ == "__main__":
    main()
