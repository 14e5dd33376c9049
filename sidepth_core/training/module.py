"""DepthTraining: the one training loop's body, as Lightning calls it."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from sidepth_core.augment import AugmentedBatch, apply, draw, plain
from sidepth_core.camera import Camera
from sidepth_core.checkpoint import load_info
from sidepth_core.data.clips import Batch, middle_only
from sidepth_core.errors import ConfigError
from sidepth_core.losses import minimum_reprojection
from sidepth_core.models import size_of_shape
from sidepth_core.training.collapse import CollapseSigns, collapse_signs
from sidepth_core.training.held_scale import HeldScale, unmeasured_clips
from sidepth_core.training.networks import Average, Networks, starting_networks
from sidepth_core.training.objective import Outcome, evaluate
from sidepth_core.training.settings import Recipe
from sidepth_core.training.split import Source

CAMERA_RATE = 3e-3
"""Step size of the logarithm of a learned focal length: from webcam to telephoto in a few hundred steps."""

SCALE_RATE = 1e-2
"""Step size of the logarithm of a foundation model's scale: tenfold in a few hundred steps."""

SCORES = ('val/photometric', 'val/abs_rel', 'val/abs_rel_unscaled', 'val/speed', 'val/two_view_depth')
"""What is measured on validation clips: view synthesis error, AbsRel median-scaled and in metres, metres of motion, and
|log| of the factor to triangulated depth, up to one for each image."""


def seed_of(*numbers: int | str) -> int:
    """Return a seed that is a pure function of the numbers, and unlike that of their neighbours."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], 'little')


class DepthTraining(L.LightningModule):
    """Learns depth and pose from clips.

    Whatever is random in a step is a function of (seed, step), drawn for all processes and cut to this one's share: a
    resumed run goes on bit for bit, and two processes, or two batches added up, see what one of twice the size would.

    Attributes:
        networks: What is trained.
        average: Its running average: what is validated and saved.
        last_signs: Signs of collapse of the last step, for collapse detection.
        held_scale: What the scale is held at; None where it is measured, or not held.
    """

    def __init__(self, recipe: Recipe, networks: Networks) -> None:
        super().__init__()
        self.recipe = recipe
        self.networks = networks
        self.average = Average(networks, recipe.optimiser.ema_decay)
        self.last_signs: CollapseSigns | None = None
        self.held_scale: HeldScale | None = None
        self._start: tuple[Networks, ...] = ()  # in a tuple, so that Lightning neither saves nor trains it
        self._teacher_has_shift = bool(recipe.objective.teacher) and load_info(recipe.objective.teacher).has_shift
        self._uncalibrated: Source | None = None
        self._scores = torch.zeros(2, len(SCORES))
        self.train()  # a loaded checkpoint is in evaluation mode, and Lightning leaves modes as they are

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Learn the camera only where a source has none."""
        self._uncalibrated = next((s for s in self.trainer.datamodule.sources if not s.camera_known), None)
        self.networks.camera.requires_grad_(requires_grad=self._uncalibrated is not None)
        self.networks.pose_net.requires_grad_(requires_grad=self.recipe.objective.train_pose)
        if self._uncalibrated is not None:
            if not self.recipe.objective.train_pose:
                raise ConfigError(f'{self._uncalibrated.name}: camera=learned needs objective.train_pose true')
            (height, width), recorded = self._uncalibrated.size, self._uncalibrated.recorded
            squeeze = (height / width) / (recorded[0] / recorded[1])
            self.networks.camera.squeeze = self.average.networks.camera.squeeze = squeeze

    def on_fit_start(self) -> None:
        """Load the starting weights once more, where they hold something."""
        objective = self.recipe.objective
        if objective.holds:
            self._start = (starting_networks(self.recipe).to(self.device),)
        if not objective.hold_scale:
            return
        clips = unmeasured_clips(self.trainer.datamodule.sources)
        if clips is not None:
            self.held_scale = HeldScale(
                self._start[0], clips.to(self.device), self.size, self.recipe.augment, self.recipe.precision
            )

    @property
    def learned_camera(self) -> Camera | None:
        """The camera that was learned, of the recording's own images; None where all are calibrated."""
        source = self._uncalibrated
        return None if source is None else self.average.networks.camera.as_recorded(source.size, source.recorded)

    @property
    def size(self) -> tuple[int, int]:
        """Training height and width, pixels."""
        return self.networks.info.image_height, self.networks.info.image_width

    def train(self, mode: bool = True) -> DepthTraining:
        """Enter training mode, with batch normalisation frozen where the recipe says so."""
        super().train(mode)
        if self.recipe.model.freeze_batch_norm:
            for layer in self.networks.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - the base of all of them
                    layer.eval()
        return self

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch: all of a step's, or one of those whose gradients are added up."""
        step, batches = self.global_step, self.recipe.optimiser.accumulate
        part = index % batches
        torch.manual_seed(seed_of(self.recipe.seed, step * batches + part, self.global_rank))  # dropout
        supervised = step < self.recipe.objective.supervised_steps
        view = self.augmented(middle_only(batch) if supervised else batch, step, part)
        outcome = evaluate(
            self.networks,
            view,
            self.recipe.objective,
            average=self.average.networks,
            start=self._start[0] if self._start else None,
            teacher_has_shift=self._teacher_has_shift,
            supervised=supervised,
            precision=self.recipe.precision,
        )
        loss = outcome.terms.total(self.recipe.objective.weights)
        if part == batches - 1 and (step + 1) % self.recipe.watch.log_every == 0:
            self._log_step(loss, outcome, view.K_target)
        return loss

    def augmented(self, batch: Batch, step: int, part: int = 0) -> AugmentedBatch:
        """Return this process's share of the step's augmentation, applied to its batch.

        Args:
            batch: The clips.
            step: The step they belong to.
            part: Which of the step's batches they are, where several are added up.
        """
        count, world = len(batch.images), self.trainer.world_size
        generator = torch.Generator().manual_seed(seed_of(self.recipe.seed, step))
        drawn = draw(count * world * self.recipe.optimiser.accumulate, self.recipe.augment, generator)
        first = (part * world + self.global_rank) * count
        settings, size = self.recipe.augment, self.size
        if settings.shapes:  # the same for all processes, which a step waits for
            shape = settings.shapes[seed_of(self.recipe.seed, step, 'shape') % len(settings.shapes)]
            size = size_of_shape(size[0] * size[1], shape)
        return apply(
            self.with_camera(batch),
            drawn.share(slice(first, first + count)),
            size,
            self.networks.pose_net.size,
            zoom_sources=settings.zoom_sources,
            square=bool(settings.shapes),
        )

    def plain(self, batch: Batch) -> AugmentedBatch:
        """Return clips as they are validated and shown: at the network's size, nothing varied."""
        square, pose_size = bool(self.recipe.augment.shapes), self.networks.pose_net.size
        return plain(self.with_camera(batch), self.size, pose_size, square=square)

    def with_camera(self, batch: Batch) -> Batch:
        """Return the batch with the learned camera where a clip has none."""
        height, width = batch.images.shape[-2:]
        return batch._replace(intrinsics=self.networks.camera.fill(batch.intrinsics, (height, width)))

    def _log_step(self, loss: Tensor, outcome: Outcome, K: Tensor) -> None:
        """Hand the numbers of this step to the loggers, and the signs of collapse to its detection."""
        self.last_signs = signs = collapse_signs(loss, outcome, K)
        terms = {f'train/{name}': term.item() for name, term in outcome.terms._asdict().items() if term is not None}
        collapse = {f'collapse/{name}': value for name, value in signs._asdict().items() if name != 'loss'}
        rate = self.trainer.optimizers[0].param_groups[0]['lr']
        values = {'train/loss': signs.loss, **terms, **collapse, 'train/learning_rate': rate}
        if camera := self.learned_camera:
            values['camera/field_of_view_deg'] = camera.field_of_view_deg[0]
        known = {name: value for name, value in values.items() if not math.isnan(value) or name == 'train/loss'}
        for logger in self.loggers:
            logger.log_metrics(known, self.global_step)
        self.log('loss', signs.loss, prog_bar=True, logger=False)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Make the step, and let the average follow it."""
        step = self.global_step
        super().optimizer_step(*args, **kwargs)
        self.average.follow(self.networks, step)

    def on_validation_epoch_start(self) -> None:
        """Begin to add up scores."""
        self._scores = torch.zeros(2, len(SCORES), dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Score the averaged networks on clips as they are."""
        networks = self.average.networks
        view = self.plain(batch)
        objective, precision = self.recipe.objective, self.recipe.precision
        outcome = evaluate(
            networks, view, objective, teacher_has_shift=self._teacher_has_shift, precision=precision
        )
        # Without the auto-mask: it would reward a network for explaining nothing.
        photometric = minimum_reprojection(view.target, outcome.warped).loss
        known_depth = depth_scores(outcome.depth_m, view.depth_m) or (None, None)
        # These terms are zero, not unknown, where nobody measured distance and nothing was triangulated.
        speed = outcome.terms.speed if bool(view.distance_m.isfinite().any()) else None
        triangulated = outcome.terms.two_view_depth if bool(view.two_view_depth.isfinite().any()) else None
        for column, value in enumerate((photometric, *known_depth, speed, triangulated)):
            if value is not None:
                self._scores[:, column] += len(batch.images) * torch.stack([value.double(), torch.ones_like(value)])

    def on_validation_epoch_end(self) -> None:
        """Log the mean scores over all processes' clips; what no clip knows is left out."""
        sums, counts = self.trainer.strategy.reduce(self._scores, reduce_op='sum')
        known = {name: total / count for name, total, count in zip(SCORES, sums, counts, strict=True) if count}
        self.log_dict({name: value.float() for name, value in known.items()}, sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Adam, and the schedule that is a function of the step alone."""
        settings, steps = self.recipe.optimiser, self.recipe.steps
        networks, rate, decay = self.networks, settings.learning_rate, settings.weight_decay
        depth_net = networks.depth_net
        groups: list[dict[str, Any]] = [
            {'params': depth_net.decoder_parameters, 'lr': rate, 'weight_decay': decay},
            {'params': depth_net.encoder_parameters, 'lr': settings.encoder_rate * rate, 'weight_decay': decay},
            {'params': list(networks.pose_net.parameters()), 'lr': settings.pose_rate * rate, 'weight_decay': decay},
        ]
        if scale := depth_net.scale_parameters:
            groups.append({'params': scale, 'lr': SCALE_RATE})
        if self._uncalibrated is not None:
            groups.append({'params': list(networks.camera.parameters()), 'lr': CAMERA_RATE})
        optimiser = torch.optim.Adam(groups, fused=True)  # one pass over the weights, not a dozen
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: settings.rate_factor(step, steps))
        return {'optimizer': optimiser, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}


def depth_scores(depth_m: Tensor, known_m: Tensor, farthest_m: float = 80.0) -> tuple[Tensor, Tensor] | None:
    """Return mean AbsRel of (B, 1, H, W) depth, medians aligned, and as it is; None where no depth is known."""
    aligned, unscaled = [], []
    for depth, known in zip(depth_m, known_m, strict=True):
        valid = (known > 0) & (known < farthest_m)
        if valid.any():
            predicted, truth = depth[valid], known[valid]
            aligned.append((predicted * (truth.median() / predicted.median()) / truth - 1).abs().mean())
            unscaled.append((predicted / truth - 1).abs().mean())
    return (torch.stack(aligned).mean(), torch.stack(unscaled).mean()) if aligned else None
