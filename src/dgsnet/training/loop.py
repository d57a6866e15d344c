"""One training run, from data to model folder: both stages, restartable after `kill -9`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from dgsnet import __version__
from dgsnet.artifacts import model_folder
from dgsnet.artifacts.ood_file import save_ood
from dgsnet.core.cache_folder import cache_dir
from dgsnet.core.errors import TrainingError
from dgsnet.data.caption_leak import LEAK, caption_only_auc
from dgsnet.data.dataset import Dataset, load_dataset
from dgsnet.model import backbone_match, methods
from dgsnet.model.backbone import Backbone
from dgsnet.model.methods import Method, Stage
from dgsnet.model.recipe import Recipe, StageRecipe
from dgsnet.model.text_branch import TextBranch, text_branch
from dgsnet.training.batches import Batches, epoch_views
from dgsnet.training.checkpoint import Position, load_optimizer, load_position, load_weights, save_checkpoint
from dgsnet.training.extract_features import fit_ood
from dgsnet.training.log import STAGE_NAMES, TrainingLog, TrainingProgress, describe
from dgsnet.training.views import FrozenFeatures, Views

_STANDARDISATION_IMAGES = 256  # training images whose frozen features set mean and scale of the features of the blocks


def train(data: str | Path, out: Path, recipe: Recipe, *, resume: bool = False, console: Console | None = None) -> Path:
    """Train a method on labelled images and write a model folder.

    Args:
        data: folder or manifest (`dgsnet.data.dataset`).
        out: the model folder; log and checkpoints go to `out/training`.
        recipe: every setting.
        resume: go on from the last checkpoint in `out`. The loss curve is that of a run that was never interrupted.
        console: where messages and progress go; stderr by default.

    Returns:
        `out`.

    Raises:
        TrainingError: nothing to train on, `out` holds another run, finished or not, or a loss is not finite.
        ModelFolderError: `out` holds a model whose configuration cannot be read.
    """
    return _Run(data, out, recipe, resume, console or Console(stderr=True)).run()


def train_and_validation(dataset: Dataset, recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Return the images to train on and those held out, if any: by the data's own splits where it names them, else by whole groups."""
    nothing = replace(dataset, samples=())
    splits = {sample.split for sample in dataset if sample.split}
    if splits:
        training = dataset.with_split(recipe.data.train_split)
        held_out = dataset.with_split(recipe.data.validation_split) if recipe.data.validation_split in splits else nothing
    elif recipe.data.held_out == 0:
        training, held_out = dataset, nothing
    else:
        training, held_out = dataset.split_by_group(recipe.data.held_out, recipe.seed)
    if recipe.data.limit is not None and recipe.data.limit < len(training):
        training = training.balanced_subset(recipe.data.limit, recipe.seed)
    return training, held_out


class _Run:
    def __init__(self, data: str | Path, out: Path, recipe: Recipe, resume: bool, console: Console) -> None:
        self.out, self.recipe, self.console = out, recipe, console
        dataset = load_dataset(data, caption_column=recipe.data.caption_column)
        for line in dataset.left_out.lines():
            self.console.print("[yellow]left out:[/]", escape(line), soft_wrap=True)
        self.training, _ = train_and_validation(dataset, recipe)
        self.labels = self.training.labels()
        counts = {label: int((self.labels == label).sum()) for label in (0, 1)}
        if min(counts.values()) == 0:
            raise TrainingError(
                f"{data} has {counts[0]} real and {counts[1]} generated images in split {recipe.data.train_split!r}: training needs both"
            )
        self.data_record = {"fingerprint": self.training.fingerprint(), "n_real": counts[0], "n_fake": counts[1], "layout": dataset.layout}
        identity = f"{recipe.model_dump_json()} {self.data_record['fingerprint']}"
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        self.checkpoint = out / "training" / "checkpoint.safetensors"
        self.reported: set[int] = set()
        self.steps_before = 0
        self.log = TrainingLog(out / "training" / "log.jsonl")
        self.position = self._find_position(resume)
        # Only now: an accelerator makes its folder at once, and a refused run must leave nothing behind.
        self.accelerator = Accelerator(
            mixed_precision=recipe.mixed_precision,
            cpu=not torch.accelerator.is_available(),  # without it, torchrun on a machine that has only CPUs trains each process for itself
            log_with="tensorboard",
            project_dir=out / "training",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a stage trains some of the parameters
        )

    def _find_position(self, resume: bool) -> Position | None:
        if not resume and self.out.exists() and any(self.out.iterdir()):
            raise TrainingError(f"{self.out} is not empty: go on with --resume, or choose another folder")
        if model_folder.is_complete(self.out):
            finished = model_folder.load_config(self.out)
            same_settings = finished.recipe == self.recipe.model_dump(mode="json")
            if not same_settings or finished.data.get("fingerprint") != self.data_record["fingerprint"]:
                raise TrainingError(f"{self.out} belongs to a run with other settings or data: choose another folder")
        if not self.checkpoint.exists():
            return None
        position = load_position(self.checkpoint)
        if position.run != self.fingerprint:
            raise TrainingError(f"{self.checkpoint} belongs to a run with other settings or data: choose another folder")
        return position

    def run(self) -> Path:
        if model_folder.is_complete(self.out):
            self.console.print(f"{self.out} is finished; nothing to do")
            return self.out
        main = self.accelerator.is_main_process
        captions = self._report_captions()
        backbone = Backbone.load(self.recipe.backbone).to(self.accelerator.device)
        method = methods.create(self.recipe, backbone).to(self.accelerator.device)
        with TrainingProgress(console=self.console, disable=not main) as progress:
            frozen, text = self._prepare(method, progress)
            stage, step = (self.position.stage, self.position.step) if self.position else (None, 0)
            self.log.rewind(stage, step, method.stages)
            batches = Batches(Views(self.training, self.recipe), self.labels, self.recipe, frozen, text.features)
            for each in method.stages:
                self._run_stage(method, each, batches, progress)
            ood = fit_ood(method, self.training, self.recipe.seed, progress) if main else None
        if main:
            if ood is not None:
                save_ood(self.out, ood)
            record = self._record(backbone, text, captions)
            model_folder.save(self.out, method, record)
            self.checkpoint.unlink(missing_ok=True)
            self.console.print(f"model folder: {self.out}")
        return self.out

    def _report_captions(self) -> float | None:
        """Print how well captions alone tell the labels apart, and warn when `harmful` would mean the label itself."""
        samples = self.training.samples
        auc = caption_only_auc([s.caption for s in samples], self.labels, [s.group for s in samples], self.recipe.seed)
        if auc is None:
            self.console.print("captions alone: none to judge (too few captions or groups)")
            return None
        self.console.print(f"captions alone tell real from generated with AUC {auc:.2f} (cross-validated)")
        if auc > LEAK:
            self.console.print(
                f"[yellow]warning:[/] that is above {LEAK}: the captions carry the label, so a 'harmful' direction learnt from them is the "
                "label itself. Caption both labels with one captioner, or set captions.source=none"
            )
        return auc

    def _prepare(self, method: Method, progress: TrainingProgress) -> tuple[FrozenFeatures | None, TextBranch]:
        """Compute the frozen features of all fixed views, and the text branch."""
        views = Views(self.training, self.recipe)
        frozen = FrozenFeatures.cached(views, method.backbone)
        fixed = self.recipe.fixed_views
        if fixed is not None:
            if self.recipe.probe.solver == "ridge":
                wanted = [(index, number) for number in range(fixed) for index in range(len(self.training))]
            else:
                epochs = range(min(fixed, max(self._settings(stage).epochs for stage in method.stages)))
                wanted = [view for epoch in epochs for view in sorted(set(epoch_views(views, self.labels, self.recipe, epoch)))]
            frozen.prepare(wanted, progress)
            self._report_failures(frozen.failed)
        if method.recipe.blocks:
            count = min(_STANDARDISATION_IMAGES, len(self.training))
            some = [(int(index), 0) for index in np.linspace(0, len(self.training) - 1, count).round()]
            frozen.prepare(some, progress)
            features = frozen[some]
            method.standardise_blocks(features[features.isfinite().all(dim=1)])
        text = TextBranch(None, {"source": "none", "why": f"method {method.name} has no text branch"})
        if method.wants_text:

            def image_features(indices: NDArray[np.int64]) -> NDArray[np.float32]:
                first_views = [(int(index), 0) for index in indices]
                frozen.prepare(first_views, progress)
                return frozen[first_views][:, : method.backbone.joint_width].numpy()

            captions = [sample.caption for sample in self.training]
            cache_file = cache_dir() / "features" / "captions.sqlite"
            text = text_branch(captions, image_features, method.backbone, self.recipe.captions, cache_file)
            state = "suppression is off: " + text.source["why"] if text.features is None else f"features from {text.source}"
            self.console.print(f"text branch: {state}")
            if text.features is not None:
                method.see_captions(text.features)
        return (frozen if fixed is not None else None), text

    def _run_stage(self, method: Method, stage: Stage, batches: Batches, progress: TrainingProgress) -> None:
        settings, accelerator = self._settings(stage), self.accelerator
        trained = method.enter(stage)
        if stage == "probe" and self.recipe.probe.solver == "ridge":
            self._solve_probe(method, batches)
        total = batches.steps(settings, accelerator.num_processes) if trained else 0
        done = self._resume(method, stage, total)
        if not trained:
            return
        optimizer = torch.optim.Adam(trained, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay)
        if 0 < done < total:
            load_optimizer(self.checkpoint, optimizer)
        model, prepared = accelerator.prepare(method, optimizer)
        if done < total:
            self._start_trackers()
        task = progress.add_task(STAGE_NAMES[stage], total=total, completed=done)
        with_pixels = method.needs_pixels(stage) or batches.frozen is None
        step = done
        for epoch, loaded in batches.run(settings, with_pixels, done, accelerator.process_index, accelerator.num_processes):
            self._report_failures(loaded.failed)
            set_seed(_step_seed(self.recipe.seed, stage, step, accelerator.process_index))
            sums: dict[str, float] = {}
            parts = list(batches.parts(loaded, settings))
            for number, part in enumerate(parts, 1):
                # Processes average their gradients once a step, with the last part.
                with nullcontext() if number == len(parts) else accelerator.no_sync(model):
                    with accelerator.autocast():
                        losses = model(part.to(accelerator.device))
                    accelerator.backward(losses.total)
                _add(sums, "loss", losses.total, 1)
                for name, value in losses.terms.items():
                    _add(sums, f"loss_{name}", value, 1)
                for name, value in losses.observed.items():
                    _add(sums, name, value, part.share)
            prepared.step()
            prepared.zero_grad()
            step += 1
            self._record_step(stage, epoch, step, sums, progress, task)
            if accelerator.is_main_process and (step % self.recipe.checkpoint_every == 0 or step == total):
                save_checkpoint(self.checkpoint, Position(stage, step, self.fingerprint), model_folder.trained_state(method), optimizer)
        self.steps_before += total
        progress.remove_task(task)
        progress.figures = ""

    def _solve_probe(self, method: Method, batches: Batches) -> None:
        """Solve the probe in closed form, from every fixed view there is. An interrupted run solves it again."""
        assert batches.frozen is not None  # noqa: S101 - the recipe says that views are fixed
        fixed = self.recipe.fixed_views or 1
        views = [(index, number) for number in range(fixed) for index in range(len(self.training)) if index not in batches.frozen.failed]
        features = batches.frozen[views]
        finite = features.isfinite().all(dim=1)
        labels = self.labels[np.array([index for index, _ in views])]
        method.solve(features[finite], labels[finite.numpy()])

    def _resume(self, method: Method, stage: Stage, total: int) -> int:
        """Count the steps of `stage` that are done, of `total`; load the checkpoint's weights when it is of this stage or a later one."""
        if self.position is None:
            return 0
        order = method.stages
        if order.index(stage) > order.index(self.position.stage):
            return 0
        model_folder.load_trained_state(method, load_weights(self.checkpoint), self.checkpoint)
        return self.position.step if stage == self.position.stage else total

    def _record_step(self, stage: Stage, epoch: int, step: int, sums: dict[str, float], progress: TrainingProgress, task: Any) -> None:
        if sums and not math.isfinite(sums["loss"]):
            raise TrainingError(f"the loss is {sums['loss']} at step {step} of stage {stage!r}: lower {stage}.lr; see {self.log.file}")
        if self.accelerator.is_main_process:
            row = {"stage": stage, "epoch": epoch, "step": step} | sums
            self.log.write(row)
            self.accelerator.log({f"{stage}/{name}": value for name, value in sums.items()}, step=self.steps_before + step)
            progress.figures = describe(row)
            progress.update(task, completed=step)

    def _start_trackers(self) -> None:
        """Log to TensorBoard from now on, counting steps over all stages: what it has beyond the checkpoint is dropped."""
        if not self.accelerator.trackers:
            purge = self.steps_before + self.position.step + 1 if self.position else None
            self.accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": purge}})

    def _settings(self, stage: Stage) -> StageRecipe:
        return cast(StageRecipe, getattr(self.recipe, stage))

    def _report_failures(self, failed: dict[int, str]) -> None:
        """Print, once per image, why it is left out."""
        for index in sorted(failed.keys() - self.reported):
            self.console.print("[yellow]left out:[/]", escape(failed[index]), soft_wrap=True)
        self.reported |= failed.keys()

    def _record(self, backbone: Backbone, text: TextBranch, captions: float | None) -> dict[str, Any]:
        packages = ("torch", "transformers", "peft", "accelerate", "numpy", "pillow")
        return {
            "backbone": backbone_match.describe(backbone),
            "data": self.data_record,
            "captions": text.source | {"caption_only_auc": captions},
            "versions": {"dgsnet": __version__} | {name: importlib.metadata.version(name) for name in packages},
        }


def _step_seed(seed: int, stage: str, step: int, rank: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{stage}:{step}:{rank}".encode()).digest()[:4], "big")


def _add(sums: dict[str, float], name: str, value: torch.Tensor, weight: float) -> None:
    sums[name] = sums.get(name, 0.0) + weight * float(value.detach())
