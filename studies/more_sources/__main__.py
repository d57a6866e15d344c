"""More photo sources and more generators than the corpus has: their worth, and the shipped head that is fitted with them.

    python -m studies.more_sources crops --repositories DIR --out MORE          256x256 crops and MORE/manifest.csv, as the corpus was made
    python -m studies.more_sources features --data CORPUS corpus                runs/more_sources/corpus: features of every image
    python -m studies.more_sources features --data MORE more                    the same of the new images
    python -m studies.more_sources features --data D NAME --of changed          the same of copies that were compressed and scaled
    python -m studies.more_sources features --data D NAME --of frozen           the same of CLIP as it was
    python -m studies.more_sources choose --corpus CORPUS --more MORE           results/choices.{json,md}
    python -m studies.more_sources steady --corpus CORPUS --more MORE           results/steady.{json,md}
    python -m studies.more_sources curves --corpus CORPUS --more MORE           results/curves.{json,md,png}
    python -m studies.more_sources towers --corpus CORPUS --more MORE           results/towers.{json,md}
    python -m studies.more_sources parts --corpus CORPUS --more MORE            results/parts.{json,md}
    python -m studies.more_sources model_families --corpus CORPUS --more MORE   results/model_families.{json,md}
    python -m studies.more_sources fit --corpus CORPUS --more MORE              runs/dgsnet_b16/more/dgs: the model with a head from both

`more_sources.csv` lists the files: public repositories, each with the commit; DIR holds them as git repositories (with or without a work
tree) OWNER/NAME, as `python -m tools.clone_sources DIR` brings them. The licences are mixed and mostly unstated, so the images themselves
are not ours to hand on.

None of them is of a generator or of a photo source that the corpus tests on. Of a generator whose family has another version there,
`related` is 1 (FLUX.2 and Kontext, GPT Image 2, Midjourney 5, StyleGAN of faces, ...). `batch` tells when a file was added: 1, 2,
3 (faces), 4 (newer generators, and photographs that look arranged) or 5 (many more generators, a few pictures of each).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from dgsnet.artifacts import model_folder
from dgsnet.evaluation.predictions import PREDICTIONS
from dgsnet.inference.detector import Detector
from dgsnet.reports import reliability_diagram
from dgsnet.training import refit_head
from studies.common.image_list import BATCHES
from studies.common.left_out import PENALTY
from studies.common.model_families import by_family
from studies.common.paths import MODELS
from studies.common.training_images import Kind, training_images
from studies.more_sources import steadiness, tables
from studies.more_sources.crops import crops
from studies.more_sources.features import features

MODEL = MODELS / "more" / "dgs"


def fit(corpus: Path, more: Path) -> None:
    """Give the tower of `dgsnet-b16` a head from both collections, calibrated on photo sources and model families left out.

    It scores large pictures by their quadrants as well, which `studies/large_pictures` measures.
    """
    images, detector = training_images(corpus, more), Detector.from_pretrained("dgsnet-b16", provider="torch")
    preprocessing = detector.config.preprocessing.model_copy(update={"multi_crop": True})
    detector.method.recipe = detector.method.recipe.model_copy(update={"preprocessing": preprocessing})
    refit_head.refit_to(detector, by_family(images), images.read, MODEL, PENALTY)
    reliability_diagram.write(MODEL, model_folder.load_config(MODEL).calibration, MODEL / refit_head.LEFT_OUT / PREDICTIONS)


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    crops_parser = commands.add_parser("crops")
    crops_parser.add_argument("--repositories", type=Path, required=True)
    crops_parser.add_argument("--out", type=Path, required=True)
    crops_parser.add_argument("--batches", choices=BATCHES, default=BATCHES[-1], help=f"{BATCHES[-1]} are all")
    features_parser = commands.add_parser("features")
    features_parser.add_argument("--data", type=Path, required=True)
    features_parser.add_argument("name", choices=("corpus", "more", "reconstructions"))
    features_parser.add_argument("--of", choices=get_args(Kind), default="tuned", help="the tower, or what is done to the images")
    of_tables = (tables.choose, steadiness.steady, tables.curves, tables.towers, tables.parts, tables.model_families)
    both = {function.__name__: function for function in (*of_tables, fit)}
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


if __name__ == "__main__":
    main()
