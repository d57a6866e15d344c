"""More photo sources and more generators than the corpus has: what they are worth, and the shipped head that is fitted with them.

    python experiments/more_sources.py crops --repositories DIR --out MORE      256x256 crops and MORE/manifest.csv, as the corpus was made
    python experiments/more_sources.py features --data CORPUS corpus            runs/more_sources/corpus: what the head reads of every image
    python experiments/more_sources.py features --data MORE more                the same of the new images
    python experiments/more_sources.py features --data D NAME --of changed      the same of copies that were compressed and scaled
    python experiments/more_sources.py features --data D NAME --of frozen       the same of CLIP as it was
    python experiments/more_sources.py choose --corpus CORPUS --more MORE       results/more_sources/choices.{json,md}
    python experiments/more_sources.py steady --corpus CORPUS --more MORE       results/more_sources/steady.{json,md}
    python experiments/more_sources.py curves --corpus CORPUS --more MORE       results/more_sources/curves.{json,md,png}
    python experiments/more_sources.py towers --corpus CORPUS --more MORE       results/more_sources/towers.{json,md}
    python experiments/more_sources.py parts --corpus CORPUS --more MORE        results/more_sources/parts.{json,md}
    python experiments/more_sources.py lines --corpus CORPUS --more MORE        results/more_sources/lines.{json,md}
    python experiments/more_sources.py fit --corpus CORPUS --more MORE          runs/dgsnet-b16/more/dgs: the model with a head from both

`more_sources.csv` lists the files: public repositories, each with the commit, DIR holds them as git repositories (with or without a work
tree) OWNER/NAME. The licences are mixed and mostly unstated, so the images themselves are not ours to hand on.

None of them is of a generator or of a photo source that the corpus tests on. Of a generator whose maker or line has another version there,
`kin` is 1 (FLUX.2 and Kontext, GPT Image 2, Midjourney 5, StyleGAN of faces, ...). `batch` tells when a file was added: 1, 2, 3 (faces),
4 (newer generators, and photographs that look arranged) or 5 (many more generators, a few pictures of each).
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from curves import mean_auroc
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from sklearn.metrics import roc_auc_score

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.core.errors import DecodeError
from dgsnet.core.files import replacing, sha256_bytes, write_json, write_text
from dgsnet.core.format import interval
from dgsnet.data.dataset import Dataset, load_dataset
from dgsnet.evaluation import calibration_fit, metrics
from dgsnet.evaluation.predictions import PREDICTIONS
from dgsnet.images.augment import Pixels
from dgsnet.images.decode import DecodePolicy, decode
from dgsnet.images.perturb import suite
from dgsnet.images.preprocess import SCORING_SEED, Preprocessing
from dgsnet.inference.detector import Detector
from dgsnet.model.methods.ridge import ridge_probe
from dgsnet.reports import reliability_diagram, tables
from dgsnet.training import refit_head

Kind = Literal["tuned", "frozen", "changed"]
HERE = Path(__file__).parent
LISTED, FEATURES = HERE / "more_sources.csv", HERE.parent / "runs" / "more_sources"
RESULTS, MODEL = HERE.parent / "results" / "more_sources", HERE.parent / "runs" / "dgsnet-b16" / "more" / "dgs"
SIDE, SMALLEST, QUALITY = 256, 224, 95
"""Of a crop, pixels; a picture less wide or high than `SMALLEST` is left out, one between the two keeps its size; JPEG quality."""
POLICY = DecodePolicy(formats=("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "MPO"))
LOOK_TWICE = 320
"""Short side, pixels, from which half of the pictures are scaled down before they are cropped."""
LOWEST = 0.15
"""Of the factor they are scaled by."""
SOURCE = 40
"""Images of a source, at most."""
TOGETHER = 4
"""Images that pass the tower together. Another number changes the last bits."""
PENALTY = 0.1
"""Of the ridge, chosen by `choose`."""
CHANGED = 4
"""Images of a source of which is measured how far everyday perturbations move their features."""
STEADINESS = (0, 1, 3, 10, 30, 100, 300)
"""How much more than training on the changed copies would."""
FOLDS, DRAWS, COUNTS = 5, 8, (1, 2, 5, 10, 20, 50, 100)
LINES = {
    "Google": "imagen|gemini|nano ?banana",
    "OpenAI": "gpt-|gpt image|dall-e 3",
    "DALL-E mini": "dalle?.?mini|dall-e m|mindall|min\\(",
    "Midjourney": "midjourney",
    "FLUX": "flux|chroma|flex\\.|^uno$",
    "PixArt": "pixart",
    "Leonardo": "leonardo",
    "Hunyuan": "hunyuan",
    "latent diffusion": "ldm|glid3",
    "SDXL": "xl|ssd-1b|segmind|segmoe-4x|koala|pony|tempest|hidiffusion|rich-text",
    "Stable Diffusion 3": "stable.?diffusion.3",
    "Stable Diffusion": "stable diffusion|^sd|/sdxs|dreamshaper|realistic vision|juggernaut|blipdiffusion|latent consistency|multidiff",
    "StyleGAN": "stylegan|generated\\.photos",
    "BigGAN": "biggan|big sleep",
    "guided diffusion": "disco|clip-guided",
    "Muse": "muse|meissonic|styledrop",
    "Krea": "krea",
    "ERNIE": "ernie",
    "MAI": "mai-image",
    "VQGAN": "vqgan",
    "pix2pix": "pix2pix",
    "Bria": "bria",
    "Kandinsky": "kandinsky",
    "Playground": "playground",
    "Qwen": "qwen",
    "Z-Image": "z-image",
    "Seedream": "seedream",
    "Ideogram": "ideogram",
    "Grok": "grok",
    "Kolors": "kolors",
    "Lumina": "lumina",
    "SANA": "sana",
    "Cosmos": "cosmos",
    "Wan": "wan",
    "HiDream": "hidream",
    "OmniGen": "omnigen",
    "AuraFlow": "auraflow",
    "CogView": "cogview",
    "Cascade": "cascade",
    "Firefly": "firefly",
}
"""Makers' lines of generators, and what of a generator's name, brackets left out, tells of them; the first that is found counts."""
BATCHES = ("1", "12", "123", "1234", "12345")
"""As the list has grown."""

Floats, Labels, Strings = NDArray[np.float64], NDArray[np.int64], NDArray[np.str_]


def listed() -> list[dict[str, str]]:
    """The rows of `more_sources.csv`, at most `SOURCE` of a source, chosen by the hash of their content."""
    with LISTED.open(encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: (row["label"], row["source"], row["sha256"]))
    taken: dict[str, int] = {}
    kept = []
    for row in rows:
        taken[row["source"]] = taken.get(row["source"], 0) + 1
        if taken[row["source"]] <= SOURCE:
            kept.append(row)
    return kept


def crops(repositories: Path, out: Path, batches: str) -> None:
    """One crop of every file listed in these batches, by the corpus' own pipeline, and a manifest of them."""
    written = []
    for row in track([row for row in listed() if row["batch"] in batches], "crops"):
        target = Path(row["source"]) / f"{row['sha256'][:12]}.jpg"
        if not (out / target).exists():  # named by content: one that is there is whole, and the right one
            data = content(repositories / row["repo"], row["commit"], row["path"])
            if sha256_bytes(data) != row["sha256"]:
                raise SystemExit(f"{row['repo']}: {row['path']} is not the file that was listed: check out {row['commit']}")
            try:
                pixels = _crop(decode(data, POLICY).pixels, row["sha256"])
            except DecodeError as error:
                print(f"left out: {row['repo']}: {row['path']}: {error}")
                continue
            (out / target).parent.mkdir(parents=True, exist_ok=True)
            with replacing(out / target) as aside:
                Image.fromarray(pixels).save(aside, "JPEG", quality=QUALITY, subsampling=0)
        written.append(
            {"path": target.as_posix(), "label": row["label"], "split": "train", "source": row["source"], "generator": row["generator"]}
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, list(written[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(written)
    write_text(out / "manifest.csv", text.getvalue())


def content(repository: Path, commit: str, path: str) -> bytes:
    """A file of a repository, as it was at a commit."""
    return subprocess.run(["git", "-C", str(repository), "show", f"{commit}:{path}"], check=True, capture_output=True).stdout


def _crop(pixels: NDArray[np.uint8], sha256: str) -> NDArray[np.uint8]:
    """A random 256x256 part, half of the larger pictures scaled down before; a function of the picture's content alone."""
    draw, image = np.random.default_rng(int(sha256[:12], 16)), Image.fromarray(pixels)
    short = min(image.size)
    if short < SMALLEST:
        raise DecodeError(f"{image.width}x{image.height} pixels are too few")
    side = min(short, SIDE)
    if short > LOOK_TWICE and draw.random() < 0.5:
        factor = draw.uniform(max(side / short, LOWEST), 1.0)
        image = image.resize((max(side, round(image.width * factor)), max(side, round(image.height * factor))), Image.Resampling.LANCZOS)
    left, top = (int(draw.integers(0, length - side + 1)) for length in image.size)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def features(data: Path, name: str, kind: Kind) -> None:
    """What the shipped model's head reads of the images of a data set: one file a source and split, those that are there are kept.

    `read` (N * copies, D) float32, the copies of an image side by side: the embedding, and block 5's mean patch token, standardised as the
    model does; `path` (N,).

    `tuned` is the tower of `dgsnet-b16`, `frozen` the same without its adapter, and `changed` what the tuned tower says of a few training
    images of each source under half of the perturbations of the suite `everyday`, by turns, one after the other.
    """
    dataset, (reader, look) = load_dataset(data), _reader(kind)
    parts = sorted({(sample.split, sample.source) for sample in dataset if kind != "changed" or sample.split == "train"})
    for split, source in track(parts, "sources"):
        file = features_folder(name, kind) / f"{split}-{source}.npz"
        if file.exists():
            continue
        samples = [sample for sample in dataset if (sample.split, sample.source) == (split, source)]
        if kind == "changed":
            samples = samples[:CHANGED]
        views = [look(image, SCORING_SEED) for at, sample in enumerate(samples) for image in _images(dataset.read(sample), at, kind)]
        read = np.concatenate([reader(np.stack(views[at : at + TOGETHER])) for at in range(0, len(views), TOGETHER)])
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as aside, aside.open("wb") as stream:
            np.savez(stream, read=read.astype(np.float32), path=[sample.path for sample in samples], data=dataset.fingerprint())


def _reader(kind: Kind) -> tuple[Callable[[NDArray[np.float32]], NDArray[Any]], Preprocessing]:
    """From views (B, 3, S, S) to what the head reads (B, D); and what makes the views of a picture.

    The fine-tuned tower runs in the engine that scores, half as fast again as torch; CLIP as it was has torch alone.
    """
    if kind != "frozen":
        detector = Detector.from_pretrained("dgsnet-b16")
        return lambda views: detector.runtime.run(views)[0], detector.config.preprocessing
    detector = Detector.from_pretrained("dgsnet-b16", provider="torch")

    @torch.inference_mode()
    def of_frozen(views: NDArray[np.float32]) -> NDArray[Any]:
        with detector.method.backbone.vision.disable_adapter():
            return detector.method.embed(torch.from_numpy(views)).numpy()

    return of_frozen, detector.config.preprocessing


def features_folder(name: str, kind: Kind) -> Path:
    """Where `features` writes."""
    return FEATURES / (name if kind == "tuned" else f"{name}-{kind}")


def _images(data: bytes, number: int, kind: Kind) -> list[Pixels]:
    image = decode(data)
    if kind != "changed":
        return [image.pixels]
    return [perturbation.seen(image.pixels, image.sha256) for perturbation in suite("everyday")[number % 2 :: 2]]


@dataclass(frozen=True)
class Known:
    """What is known of the training images of both collections, in one order."""

    dataset: Dataset
    read: Floats
    """(N, D), what the shipped model's head reads of each: the embedding, and block 5's mean patch token, standardised as it does."""
    labels: Labels
    sources: Strings
    new: NDArray[np.bool_]
    """(N,), whether an image is one of `more_sources.csv`."""
    never_asked: NDArray[np.bool_] | None = None
    """(N,), images that serve for training in every fold."""

    def of_batches(self, batches: str) -> NDArray[np.bool_]:
        """(N,), the new images of some batches, each a digit."""
        return np.logical_or.reduce([self.listed_as("batch", batch) for batch in batches])

    def listed_as(self, column: str, value: str) -> NDArray[np.bool_]:
        """(N,), the images for which `more_sources.csv` has this value; none of the corpus."""
        those = {f"more/{row['source']}/{row['sha256'][:12]}.jpg" for row in listed() if row[column] == value}
        return np.array([sample.path in those for sample in self.dataset])


def known(corpus: Path, more: Path, split: str = "train") -> Known:
    """The features of the split of the corpus, and of all new images where it is `train`."""
    folder = FEATURES / "data"
    folder.mkdir(parents=True, exist_ok=True)
    samples, read, new = [], [], []
    for name, data in (("corpus", corpus), ("more", more)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(data.absolute(), target_is_directory=True)
        if name == "more" and split != "train":
            continue
        dataset = load_dataset(data).with_split(split)
        samples += [replace(sample, path=f"{name}/{sample.path}") for sample in dataset]
        read.append(features_of(name, dataset))
        new += [name == "more"] * len(dataset)
    sources = np.array([sample.source for sample in samples])
    together = Dataset(folder, tuple(samples), "manifest")
    return Known(together, np.concatenate(read), together.labels(), sources, np.array(new))


def features_of(name: str, dataset: Dataset, kind: Kind = "tuned") -> Floats:
    """What the shipped model's head reads of every image, (N, D), from the files that `features` wrote under that name."""
    stored = {path: read[0] for path, read in _stored(name, kind)}
    return np.stack([stored[sample.path] for sample in dataset])


def line(generator: str) -> str:
    """The maker's line that a generator is of: its own, where `LINES` has none."""
    named = generator.split(" (", maxsplit=1)[0].lower()
    return next((name for name, pattern in LINES.items() if re.search(pattern, named)), generator)


def by_line(images: Known) -> Dataset:
    """The images, each generated one with its maker's line as generator, so that calibration leaves out whole lines."""
    named = {f"more/{row['source']}/{row['sha256'][:12]}.jpg": row["generator"] for row in listed()}
    of_line = (replace(one, generator=line(named.get(one.path, one.generator))) if one.label else one for one in images.dataset)
    return replace(images.dataset, samples=tuple(of_line))


def _stored(name: str, kind: Kind) -> Iterator[tuple[str, Floats]]:
    """What the head reads of an image's copies, (copies, D), by path: one copy, where the image was not changed."""
    for file in sorted(features_folder(name, kind).glob("*.npz")):
        with np.load(file) as given:
            read, paths = given["read"].astype(np.float64), given["path"].tolist()
        yield from zip(paths, np.split(read, len(paths)), strict=True)


def choose(corpus: Path, more: Path) -> None:
    """Which images and which penalty do best on photo sources and makers' lines that were left out: five folds of both."""
    known_images = known(corpus, more)
    old = ~known_images.new
    parts = {
        "the corpus": old,
        "and new photo sources": old | (known_images.labels == 0),
        "and new generators": old | (known_images.labels == 1),
        "and both": np.ones_like(old),
        "and both, without kin": ~known_images.listed_as("kin", "1"),
        **{f"and both, of batches {batches}": old | known_images.of_batches(batches) for batches in BATCHES[:-1]},
    }
    tried = [(name, used, PENALTY) for name, used in parts.items()] + [("and both", None, each) for each in (0.01, 0.03, 0.3, 1.0)]
    shown = ("auroc", "of_old", "of_new", "tpr_at_fpr_5", "fpr_worst_tenth")
    rows, found = [], []
    for name, used, penalty in track(tried, "left out"):
        figures = left_out(known_images, used, penalty)
        found.append({"trained on": name, "penalty": penalty} | figures)
        rows.append([name, f"{penalty:g}", *(f"{figures[key]:.3f}" for key in shown)])
    header = {"data": known_images.dataset.fingerprint(), "seed": 0, "folds": FOLDS, "dgsnet": __version__}
    write_json(RESULTS / "choices.json", header | {"choices": found})
    titles = ["trained on", "penalty", "AUROC, mean over generators", "of the corpus", "of the new ones", "found at 5 % false alarms"]
    titles.append("false alarms then, worst tenth of photo sources")
    write_text(RESULTS / "choices.md", tables.markdown(titles, rows))


def left_out(images: Known, used: NDArray[np.bool_] | None, penalty: float, shifts: Shifts | None = None) -> dict[str, Any]:
    """Generators against photo sources that were both left out, by a head from those of `used` (N,; None: all) that were not.

    Of a source with pictures of several makers' lines, such as a collection of many models, the head may have seen the others.
    """
    fold, rates, false_alarms = folds(images), [], []
    of_folds: dict[str, list[float]] = {}  # a source of several lines is asked about in several
    for number in range(FOLDS):
        asked = fold == number
        taken = ~asked if used is None else used & ~asked
        weight, bias = steady_probe(images.read[taken], images.labels[taken], penalty, shifts and shifts.among(taken))
        scores, labels, sources = images.read[asked] @ weight + bias, images.labels[asked], images.sources[asked]
        for name in np.unique(sources[labels == 1]):
            one = (labels == 0) | (sources == name)
            of_folds.setdefault(str(name), []).append(float(roc_auc_score(labels[one], scores[one])))
        rates.append(found_at_5_percent(labels, scores))
        called = scores > np.quantile(scores[labels == 0], 0.95)
        false_alarms += [float(np.mean(called[sources == name])) for name in np.unique(sources[labels == 0])]
    of_new, aurocs = set(images.sources[images.new]), {name: float(np.mean(each)) for name, each in of_folds.items()}
    return {
        "auroc": float(np.mean(list(aurocs.values()))),
        "of_old": float(np.mean([each for name, each in aurocs.items() if name not in of_new])),
        "of_new": float(np.mean([each for name, each in aurocs.items() if name in of_new])),
        "tpr_at_fpr_5": float(np.mean(rates)),
        "fpr_worst_tenth": float(np.mean(sorted(false_alarms)[-len(false_alarms) // 10 :])),
        "by_generator": aurocs,
    }


def found_at_5_percent(labels: Labels, scores: Floats) -> float:
    """Share of the generated images above the threshold that 5 % of the photographs are above."""
    return float(np.mean(scores[labels == 1] > np.quantile(scores[labels == 0], 0.95)))


def folds(images: Known) -> Labels:
    """(N,), the fold of an image: photo sources, and makers' lines of generators, are dealt out in an order drawn once."""
    draws, fold = np.random.default_rng(0), np.full(len(images.labels), -1)
    origins = np.where(images.labels == 1, [sample.generator for sample in by_line(images)], images.sources)
    asked = np.ones(len(fold), bool) if images.never_asked is None else ~images.never_asked
    for label in (0, 1):
        names = draws.permutation(np.unique(origins[asked & (images.labels == label)]))
        for place, name in enumerate(names):
            fold[asked & (origins == name) & (images.labels == label)] = place % FOLDS
    return fold


@dataclass(frozen=True)
class Shifts:
    """By how much what the head reads of an image moves when the image is compressed or scaled."""

    of: Labels
    """(M,), the image's number in the data set."""
    by: Floats
    """(M, D)."""

    def among(self, images: NDArray[np.bool_]) -> Floats:
        """Those of some images (N,) of the data set."""
        return self.by[images[self.of]]

    def times(self, steadiness: float) -> Shifts:
        """Those whose term in `steady_probe` weighs so many times as much."""
        return replace(self, by=np.sqrt(steadiness) * self.by)


def steady_probe(features: Floats, labels: Labels, penalty: float, shifts: Floats | None) -> tuple[Floats, float]:
    """`ridge_probe` with a further term, the mean over shifts d (M, D) of (d.v)^2: to first order what training on the changed copies adds.

    penalty |v|^2 plus that term is penalty |u|^2 for v = A u, A the inverse root of 1 + D'D / (M penalty).
    """
    if shifts is None:
        return ridge_probe(features, labels, penalty)
    root = np.linalg.cholesky(np.eye(features.shape[1]) + shifts.T @ shifts / (len(shifts) * penalty))
    weight, bias = ridge_probe(np.linalg.solve(root, features.T).T, labels, penalty)
    return np.linalg.solve(root.T, weight), bias


def steady(corpus: Path, more: Path) -> None:
    """How much steadiness to ask of the head: what it does to sources and generators left out, and to verdicts of their changed copies."""
    images = known(corpus, more)
    shifts, labels, found, rows = shifts_of(images), images.labels, [], []
    fold = folds(images)
    for asked in track(STEADINESS, "steadiness"):
        given = shifts.times(asked) if asked else None
        logits, moved = np.empty(len(labels)), np.empty(len(shifts.of))
        for number in range(FOLDS):
            new = fold == number
            weight, bias = steady_probe(images.read[~new], labels[~new], PENALTY, given and given.among(~new))
            logits[new] = images.read[new] @ weight + bias
            copies = new[shifts.of]
            moved[copies] = logits[shifts.of[copies]] + shifts.by[copies] @ weight
        fitted = calibration_fit.fit(logits, labels, sources=images.sources.tolist())
        scores, after = (np.array([fitted.score(one) for one in each.tolist()]) for each in (logits, moved))
        cut = calibration_fit.thresholds(scores, labels, equal_sources=images.sources.tolist())
        before, then = (np.digitize(each, [cut.real, cut.generated]) for each in (scores[shifts.of], after))
        figures = {
            "auroc": left_out(images, None, PENALTY, given)["auroc"],
            "changed_verdicts": float(np.mean(before != then)),
            "opposite_verdicts": float(np.mean(abs(before - then) == 2)),
            "found": float(np.mean(scores[labels == 1] >= cut.generated)),
            "inconclusive": float(np.mean((scores >= cut.real) & (scores < cut.generated))),
        }
        found.append({"steadiness": asked} | figures)
        rows.append([f"{asked:g}", *(f"{figure:.3f}" for figure in figures.values())])
    header = {"data": images.dataset.fingerprint(), "seed": 0, "folds": FOLDS, "copies": len(shifts.of), "dgsnet": __version__}
    write_json(RESULTS / "steady.json", header | {"steadiness": found})
    titles = ["steadiness", "AUROC, mean over generators", "verdicts that change", "to the opposite", "found", "inconclusive"]
    write_text(RESULTS / "steady.md", tables.markdown(titles, rows))


def shifts_of(images: Known) -> Shifts:
    """Of the images that `features --of changed` read: by how much what the head reads of them moved, copy by copy."""
    place = {sample.path: number for number, sample in enumerate(images.dataset)}
    of, by = [], []
    for name in ("corpus", "more"):
        for path, read in _stored(name, "changed"):
            number = place[f"{name}/{path}"]
            of += [number] * len(read)
            by.append(read - images.read[number])
    return Shifts(np.array(of), np.concatenate(by))


def curves(corpus: Path, more: Path) -> None:
    """The head with more and more photo sources, and with more and more generators, on the corpus' `test`. Nothing was chosen by it."""
    images, unseen = known(corpus, more), known(corpus, more, "test")
    truth, generators = unseen.labels, np.array([sample.generator for sample in unseen.dataset])
    draws, found, rows = np.random.default_rng(0), [], []
    names = {label: np.unique(images.sources[images.labels == label]) for label in (0, 1)}
    for label, title in ((0, "photo sources"), (1, "generators")):
        for count in [each for each in COUNTS if each < len(names[label])] + [len(names[label])]:
            aurocs, shares = [], []
            for _ in range(DRAWS if count < len(names[label]) else 1):
                some = draws.permutation(names[label])[:count]
                taken = (images.labels != label) | np.isin(images.sources, some)
                weight, bias = ridge_probe(images.read[taken], images.labels[taken], PENALTY)
                logits = unseen.read @ weight + bias
                aurocs.append(mean_auroc(truth, logits, generators))
                shares.append(found_at_5_percent(truth, logits))
            found.append({"more of": title, "count": count, "auroc": aurocs, "found_at_5_percent": shares})
            rows.append([title, str(count), *(f"{how(each):.3f}" for each in (aurocs, shares) for how in (np.mean, np.std))])
    header = {"data": [images.dataset.fingerprint(), unseen.dataset.fingerprint()], "seed": 0, "draws": DRAWS, "dgsnet": __version__}
    write_json(RESULTS / "curves.json", header | {"curves": found})
    write_text(
        RESULTS / "curves.md",
        tables.markdown([*("more of", "count", "mean AUROC on test", "spread over draws"), "found at 5 % false alarms", "spread"], rows),
    )
    _plot(found)


def _plot(found: list[dict[str, Any]]) -> None:
    picture = Figure(figsize=(7, 3.4), layout="constrained")
    for axes, title in zip(picture.subplots(1, 2, sharey=True), ("photo sources", "generators"), strict=True):
        points = [point for point in found if point["more of"] == title]
        means, spreads = ([how(point["auroc"]) for point in points] for how in (np.mean, np.std))
        axes.errorbar([point["count"] for point in points], means, yerr=spreads, fmt="o-", capsize=3, markersize=4, linewidth=1)
        axes.set_title(f"training {title}", loc="left", fontsize=10)
        axes.set_xscale("log")
        counts = [point["count"] for point in points]
        axes.set_xticks(counts, [str(count) if count == counts[-1] or count * 1.7 < counts[-1] else "" for count in counts])
        axes.minorticks_off()
    picture.axes[0].set_ylabel("mean AUROC on test")
    with replacing(RESULTS / "curves.png") as aside:
        picture.savefig(aside, format="png", dpi=150)


def towers(corpus: Path, more: Path) -> None:
    """A head from the new images alone, which no tower has seen, on the fine-tuned tower and on CLIP as it was: what it says of `test`."""
    new, test = load_dataset(more).with_split("train"), load_dataset(corpus).with_split("test")
    labels, generators = test.labels(), [sample.generator for sample in test]
    kinds: tuple[Kind, ...] = ("tuned", "frozen")
    scores = {}
    for kind in kinds:
        weight, bias = ridge_probe(features_of("more", new, kind), new.labels(), PENALTY)
        scores[kind] = 1 / (1 + np.exp(-(features_of("corpus", test, kind) @ weight + bias)))
    means = {kind: vars(metrics.macro_average(labels, scores[kind], generators)["auroc"]) for kind in kinds}
    difference = vars(metrics.paired_macro_difference(labels, scores["tuned"], scores["frozen"], generators)["auroc"])
    header = {"trained_on": new.fingerprint(), "images": len(new), "test": test.fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "towers.json", header | {"auroc": means, "tuned_minus_frozen": difference})
    rows = [[kind, interval(means[kind], 3)] for kind in kinds] + [["tuned minus frozen, paired", interval(difference, 3, sign=True)]]
    write_text(RESULTS / "towers.md", tables.markdown(["tower", "AUROC, mean over 14 generators of test"], rows))


def parts(corpus: Path, more: Path) -> None:
    """What each part of the images is worth on `test`: heads of the shipped tower, compared in pairs with the one from all."""
    images, test = known(corpus, more), load_dataset(corpus).with_split("test")
    read, labels, generators = features_of("corpus", test), test.labels(), [sample.generator for sample in test]
    kin, old = images.listed_as("kin", "1"), ~images.new
    grown = {f"batches {batches}": old | images.of_batches(batches) for batches in reversed(BATCHES[:-1])}
    used = {"all": np.ones_like(old), "without kin": ~kin, **grown, "the corpus": old}
    scores, found, rows = {}, [], []
    for title, taken in used.items():
        weight, bias = ridge_probe(images.read[taken], images.labels[taken], PENALTY)
        scores[title] = 1 / (1 + np.exp(-(read @ weight + bias)))
        sources = [len(np.unique(images.sources[taken & (images.labels == label)])) for label in (0, 1)]
        auroc = vars(metrics.macro_average(labels, scores[title], generators)["auroc"])
        minus = vars(metrics.paired_macro_difference(labels, scores[title], scores["all"], generators)["auroc"])
        found.append({"from": title, "images": int(taken.sum()), "sources": sources, "auroc": auroc, "minus_all": minus})
        rows.append([title, str(taken.sum()), *map(str, sources), interval(auroc, 3), interval(minus, 3, sign=True)])
    header = {"data": images.dataset.fingerprint(), "test": test.fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "parts.json", header | {"parts": found})
    titles = ["head from", "images", "photo sources", "generated sources", "AUROC, mean over generators of test", "minus all, paired"]
    write_text(RESULTS / "parts.md", tables.markdown(titles, rows))


def lines(corpus: Path, more: Path) -> None:
    """What it does to the calibration, asked about `test`, to leave out sources one by one or makers' whole lines. The head is the same."""
    images, unseen = known(corpus, more), known(corpus, more, "test")
    weight, bias = ridge_probe(images.read, images.labels, PENALTY)
    logits, real, sources = unseen.read @ weight + bias, unseen.labels == 0, images.sources.tolist()
    found, rows = [], []
    for title, dataset in (("sources one by one", images.dataset), ("makers' whole lines", by_line(images))):
        left = refit_head.left_out_logits(images.read, dataset, PENALTY)
        if left is None:
            raise SystemExit("both labels need two sources at least")
        fitted = calibration_fit.fit(left, images.labels, sources=sources)
        cut = calibration_fit.thresholds([fitted.score(one) for one in left.tolist()], images.labels, equal_sources=sources)
        scores = np.array([fitted.score(one) for one in logits.tolist()])
        report = metrics.estimate(unseen.labels, scores, threshold=cut.generated).as_dict()
        figures = {
            "ece": report["ece"],
            "balanced_acc": report["balanced_acc"],
            "found": float(np.mean(scores[~real] >= cut.generated)),
            "photographs_called_generated": float(np.mean(scores[real] >= cut.generated)),
            "generated_called_real": float(np.mean(scores[~real] < cut.real)),
            "photographs_inconclusive": float(np.mean((scores[real] >= cut.real) & (scores[real] < cut.generated))),
        }
        found.append({"left out": title} | figures)
        shares = [f"{figures[key]:.3f}" for key in list(figures)[2:]]
        rows.append([title, interval(figures["ece"], 3), interval(figures["balanced_acc"], 3), *shares])
    header = {"data": images.dataset.fingerprint(), "test": unseen.dataset.fingerprint(), "seed": 0, "dgsnet": __version__}
    write_json(RESULTS / "lines.json", header | {"calibrated": found})
    titles = ["left out", "ECE on test", "balanced accuracy", "found", "photographs called generated", "generated images called real"]
    write_text(RESULTS / "lines.md", tables.markdown([*titles, "photographs inconclusive"], rows))


def fit(corpus: Path, more: Path) -> None:
    """The tower of `dgsnet-b16` with a head from both collections, calibrated on photo sources and makers' lines of generators left out.

    It scores large pictures by their quadrants as well: `large_pictures.py` says what that is worth.
    """
    images, detector = known(corpus, more), Detector.from_pretrained("dgsnet-b16", provider="torch")
    look = detector.config.preprocessing.model_copy(update={"multi_crop": True})
    detector.method.recipe = detector.method.recipe.model_copy(update={"preprocessing": look})
    refit_head.refit_to(detector, by_line(images), images.read, MODEL, PENALTY)
    reliability_diagram.write(MODEL, model_folder.load_config(MODEL).calibration, MODEL / refit_head.LEFT_OUT / PREDICTIONS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    crops_parser = commands.add_parser("crops")
    crops_parser.add_argument("--repositories", type=Path, required=True)
    crops_parser.add_argument("--out", type=Path, required=True)
    crops_parser.add_argument("--batches", choices=BATCHES, default=BATCHES[-1], help=f"{BATCHES[-1]} are all")
    features_parser = commands.add_parser("features")
    features_parser.add_argument("--data", type=Path, required=True)
    features_parser.add_argument("name", choices=("corpus", "more", "twins"))
    features_parser.add_argument("--of", choices=get_args(Kind), default="tuned", help="the tower, or what is done to the images")
    both = {"choose": choose, "steady": steady, "curves": curves, "towers": towers, "parts": parts, "lines": lines, "fit": fit}
    for command in both:
        of_both = commands.add_parser(command)
        of_both.add_argument("--corpus", type=Path, required=True)
        of_both.add_argument("--more", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "crops":
        crops(arguments.repositories, arguments.out, arguments.batches)
    elif arguments.command == "features":
        features(arguments.data, arguments.name, arguments.of)
    else:
        both[arguments.command](arguments.corpus, arguments.more)
