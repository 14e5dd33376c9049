"""The recipe: every choice of a training run, with its unit, as frozen dataclasses.

A recipe file under training/ is these fields in YAML; `sidepth train --help` lists them with the same sentences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sidepth_core.augment import AugmentSettings
from sidepth_core.checkpoint import LARGEST_SIDE, CheckpointInfo
from sidepth_core.data.prepare import FrameSelection
from sidepth_core.errors import ConfigError
from sidepth_core.losses import LossWeights
from sidepth_core.models import STRIDE
from sidepth_core.models.depth_decoder import check_channels

LARGEST_BATCH = 4096
"""Clips of a step; far more than any memory holds."""
MOST_WORKERS = 256
"""Processes that read clips."""


def refuse(what: str, faults: list[str]) -> None:
    """Raise a ConfigError that names every fault; return when there is none."""
    if faults:
        raise ConfigError(f'{what} cannot be used: {"; ".join(faults)}')


@dataclass(frozen=True)
class DataSettings:
    """What is learned from, and what is kept back.

    Attributes:
        sources: The recordings, a text each: a rosbag2, a video, a folder of images, KITTI, a prepared cache, or
            synthetic:street?seed=3&frames=300. Options follow a question mark: camera=FILE (or camera=learned where
            nobody calibrated it), split=eigen_zhou, and weight=2 to be drawn twice as often as the others.
        cache: Folder of the prepared caches, shared by runs; empty keeps them in the run's own folder.
        validation_share: Last part of each recording's clips on which `best` is chosen, 0..0.5.
        test_share: Part after that, kept from training and selection alike, for the table at the end, 0..0.5.
        validation_clips: At most this many clips are validated on, evenly spread.
        workers: Processes that read clips beside training; 0 reads in the training process.
        max_hole_share: Second round of training: leave out clips in which hole_checkpoint tears infinite-depth holes
            into more than this share of the image, 0..1.
        hole_checkpoint: The first round's checkpoint; empty leaves no clip out.
        margin: Size of the cached images over the training size, for zooms without loss.
        clip_frames: Frames in a clip, odd; the middle one is the target.
        stride: Frames of the recording from one frame of a clip to the next; 0 chooses it so that motion is like
            KITTI's.
        codec: How images are cached: 'raw' at memory speed, 'jpeg' in a tenth of the space, 'auto' raw up to 8 GiB.
        frame_selection: Which images are not fit to learn from.

    Raises:
        ConfigError: If a value cannot work.
    """

    sources: tuple[str, ...] = ()
    cache: str = ''
    validation_share: float = 0.1
    test_share: float = 0.0
    validation_clips: int = 64
    workers: int = 1
    max_hole_share: float = 0.02
    hole_checkpoint: str = ''
    margin: float = 1.3
    clip_frames: int = 3
    stride: int = 0
    codec: Literal['auto', 'raw', 'jpeg'] = 'auto'
    frame_selection: FrameSelection = field(default_factory=FrameSelection)

    def __post_init__(self) -> None:
        """Refuse what cannot be split."""
        faults = [
            f'{name} {value!r} is not in 0..0.5'
            for name, value in (('validation_share', self.validation_share), ('test_share', self.test_share))
            if not 0 <= value <= 0.5
        ]
        if self.validation_share == 0:
            faults.append('validation_share 0 leaves nothing to choose `best` on')
        if self.validation_clips < 1:
            faults.append(f'validation_clips {self.validation_clips!r} is not positive')
        if not 0 <= self.workers <= MOST_WORKERS:
            faults.append(f'workers {self.workers!r} is not in 0..{MOST_WORKERS}')
        if not 0 <= self.max_hole_share <= 1:
            faults.append(f'max_hole_share {self.max_hole_share!r} is not in 0..1')
        refuse('data', faults)


@dataclass(frozen=True)
class ModelSettings:
    """The networks. With a checkpoint to start from, what is null here is taken from it.

    Attributes:
        backbone: Encoder of the depth network: hrnet18, which is DaB-Net's, or a name of timm's, such as
            tf_efficientnet_lite0 (1, 2), mobilenetv4_conv_small, resnet18 or fastvit_t8; null is hrnet18.
        width: Width that the depth network is trained at, pixels, a multiple of 32; null is 640, or with a checkpoint
            its area in the shape of the first recording's camera.
        height: Height, pixels, a multiple of 32; null is 192, or likewise.
        pose_backbone: Encoder of the pose network, a name of timm's; null is resnet18.tv_in1k, as published;
            tf_efficientnet_lite0 has a quarter of its weights.
        pose_width: Width at which the pose network looks at frames, pixels; null is 640.
        pose_height: Height, pixels; null is 192.
        decoder_channels: Channels of the decoder's maps at strides 1, 2, 4, 8 and 16; null is [16, 32, 64, 128, 256],
            as published. With 0 at stride 1 disparity of full size is laid out from stride 2, which is faster.
        attention: Whether the decoder has dynamic cross-attention; null is true.
        smooth_attention: Whether what it gathers is raised to the finest map bilinearly, so that depth has no steps at
            the borders of squares of 8 and 16 pixels; null is false, as published, or as the checkpoint has it.
        pretrained: What encoders start from: 'none' (random weights), 'hub' (the ImageNet weights that timm names for
            both, downloaded once), or a file of weights for the depth network's (.safetensors, .pth, .bin). A
            checkpoint has weights of its own.
        tune: What of the depth network learns: 'whole', 'decoder' (all but its encoder), or 'adapters' (low-rank ones
            in the encoder of a network of `transformers`; the checkpoint then holds only them).
        adapter_rank: Rank of the adapters.
        learned_scale: Scale and shift of inverse depth that a network of `transformers` learns whatever `tune` says:
            one pair for the whole 'run', or changed for each 'image' by the layout of its own map.
        pretrained_licence: Licence of those weights; it is noted in the checkpoint.
        min_depth_m: Nearest depth that can be said, metres.
        max_depth_m: Farthest depth, metres.
        zoom_convention: 'invariant' (a zoomed view has the same depth, the paper) or 'canonical' (depth is learned as
            if every camera had focal_px, which carries metres from one camera to another); null is 'invariant'.
        focal_px: Focal length of the canonical camera, pixels at the network's input; null takes the checkpoint's, else
            `width`.
        freeze_batch_norm: Keep the statistics of batch normalisation as they are, for fine-tuning on few images.
        recompute: Compute blocks again in the backward pass instead of keeping them: less than half the memory, a third
            more time, the same numbers.

    Raises:
        ConfigError: If a value cannot work.
    """

    backbone: str | None = None
    width: int | None = None
    height: int | None = None
    pose_width: int | None = None
    pose_height: int | None = None
    decoder_channels: tuple[int, ...] | None = None
    attention: bool | None = None
    smooth_attention: bool | None = None
    pose_backbone: str | None = None
    pretrained: bool | str = 'none'
    tune: Literal['whole', 'decoder', 'adapters'] = 'whole'
    adapter_rank: int = 16
    learned_scale: Literal['run', 'image'] = 'run'
    pretrained_licence: str = ''
    min_depth_m: float = 0.1
    max_depth_m: float = 100.0
    zoom_convention: Literal['invariant', 'canonical'] | None = None
    focal_px: float | None = None
    freeze_batch_norm: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        """Refuse what no network can be."""
        if isinstance(self.pretrained, bool):  # as recipes said it before weights could come from a file
            object.__setattr__(self, 'pretrained', 'hub' if self.pretrained else 'none')
        faults = []
        if self.decoder_channels is not None:
            try:
                check_channels(self.decoder_channels)
            except ConfigError as error:
                faults.append(str(error))
        faults += [
            f'{name} {value!r} is not a positive multiple of {STRIDE}'
            for name, value in (('width', self.width), ('height', self.height))
            if value is not None and (value < STRIDE or value % STRIDE)
        ]
        faults += [
            f'{name} {value!r} is beyond {LARGEST_SIDE}, the largest that is run'
            for name in ('width', 'height', 'pose_width', 'pose_height')
            if (value := getattr(self, name)) is not None and value > LARGEST_SIDE
        ]
        if self.adapter_rank < 1:
            faults.append(f'adapter_rank {self.adapter_rank!r} is not positive')
        if self.focal_px is not None and self.zoom_convention != 'canonical':
            faults.append('focal_px is only for zoom_convention: canonical')
        refuse('model', faults)

    def describe(self, start: CheckpointInfo | None) -> CheckpointInfo:
        """Return what the networks of the run are: these settings; where they are null, the starting checkpoint's."""
        base = start or CheckpointInfo(backbone='hrnet18', image_width=640, image_height=192)
        if base.foundation is not None and self.backbone not in {None, base.backbone}:
            raise ConfigError(
                f'model.backbone {self.backbone!r} is none that the checkpoint to start from can take: it is a '
                f'{base.backbone} of transformers. Leave it null'
            )
        width = self.width or base.image_width
        convention = self.zoom_convention or base.zoom_convention
        focal_px = self.focal_px
        if convention == 'canonical' and focal_px is None:
            focal_px = base.focal_px or float(width)
        attention = base.attention if self.attention is None else self.attention
        smooth = base.smooth_attention if self.smooth_attention is None else self.smooth_attention
        return CheckpointInfo(
            backbone=self.backbone or base.backbone,
            decoder_channels=self.decoder_channels or base.decoder_channels,
            attention=attention,
            smooth_attention=attention and smooth,
            pose_backbone=self.pose_backbone or base.pose_backbone,
            pretrained=base.pretrained,
            image_width=width,
            image_height=self.height or base.image_height,
            pose_width=self.pose_width or base.pose_width,
            pose_height=self.pose_height or base.pose_height,
            min_depth_m=start.min_depth_m if start else self.min_depth_m,
            max_depth_m=start.max_depth_m if start else self.max_depth_m,
            zoom_convention=convention,
            focal_px=focal_px,
            licence=base.licence if base.foundation else '',
            foundation=base.foundation,
        )


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is minimised: the weighted sum of these terms. The defaults are the paper's.

    Attributes:
        photometric: Weight of the minimum reprojection error.
        smoothness_first: Weight of first-order edge-aware smoothness.
        smoothness_second: Weight of second-order edge-aware smoothness.
        speed: Weight of | ||t|| - distance |, per metre, wherever odometry is there; it makes depth metric.
        zoom_consistency: Weight of the agreement between zoomed and un-zoomed predictions; one more pass a step.
        depth: Weight of |log depth - log known depth| where depth is known: exact in the synthetic world.
        depth_shape: Weight of the same up to one factor for each image, without the sky.
        depth_gradient: Weight of the difference between steps of log depth and those of known depth, which sharpens
            edges.
        teacher: Checkpoint whose depth is learned from, by the three weights below: hf://ORG/REPO or a folder of a
            foundation model, or one of ours (base). Its maps are made once, when clips are prepared; empty is none.
        teacher_shape: Weight of the difference between inverse depth and the teacher's, in units of its mean absolute
            deviation, once scale (and shift, of a relative foundation model) are aligned image by image.
        teacher_gradient: Weight of the difference between steps of the two from pixel to pixel, which sharpens edges.
        teacher_scale: Weight of |ln| of the factor between depth and a metric teacher's, where nobody measured the
            distance: metres become the teacher's.
        self_distillation: Weight of the agreement with the averaged weights' prediction on the un-zoomed image.
        two_view_pose: Weight of the distance between the pose network's motion and the two-view (epipolar) pose of
            corners tracked in both images. Where it is not 0, views are synthesised with the latter (its length is the
            distance driven, else from predicted depth of these corners), and depth learns nothing where there is none,
            as of an unknown camera.
        pose_source: Whose poses take the place of the pose network's where two_view_pose has a weight: 'two_view' (what
            corners show), 'odometry' (of sources with poses), 'both' (two views, odometry where they show nothing, and
            neither where they contradict each other), or 'network': its own, as if the weight were 0.
        two_view_depth: Weight of |log depth - log triangulated depth|, up to one factor for each image, where dense
            optical flow to the neighbours and two-view poses tell depth, whatever pose_source says. It is found once,
            when clips are prepared.
        train_pose: Train the pose network as well. Where two-view poses take its place, a step without it costs less
            than half: it stays as it was, and clips without a two-view pose teach nothing.
        hold_scale: Weight of |ln| of the factor between depth and what the starting checkpoint says of the same clips,
            where nobody measured the distance: metres stay those of the checkpoint. Where no clip has a distance, what
            is saved has exactly the scale that it says of zooms of the clips.
        hold_sky: Weight of how much nearer than the starting checkpoint has it the sky comes, in ln of depth: views say
            nothing of the sky, and without it clouds of points appear overhead.
        auto_mask: Leave out pixels that an un-warped neighbour explains better: still, or moving along.
        motion_mask: Leave out infinite-depth holes of the averaged weights, which cars moving along tear.
        supervised_steps: First steps that learn from known depth and a teacher only, without warps and pose: three
            times cheaper.

    Raises:
        ConfigError: If a value cannot work.
    """

    photometric: float = 1.0
    smoothness_first: float = 1e-3
    smoothness_second: float = 1e-3
    speed: float = 0.05
    zoom_consistency: float = 0.0
    depth: float = 0.0
    depth_shape: float = 0.0
    depth_gradient: float = 0.0
    teacher: str = ''
    teacher_shape: float = 0.0
    teacher_gradient: float = 0.0
    teacher_scale: float = 0.0
    self_distillation: float = 0.0
    two_view_pose: float = 0.0
    pose_source: Literal['network', 'two_view', 'odometry', 'both'] = 'two_view'
    two_view_depth: float = 0.0
    train_pose: bool = True
    hold_scale: float = 0.0
    hold_sky: float = 0.0
    auto_mask: bool = True
    motion_mask: bool = False
    supervised_steps: int = 0

    def __post_init__(self) -> None:
        """Refuse an objective that rewards errors or is empty."""
        faults = [f'weight {name} {value!r} is negative' for name, value in self.weights._asdict().items() if value < 0]
        if not self.photometric and not self.depth and not self.teacher_shape:
            faults.append('photometric, depth and teacher_shape are all 0: there is nothing to learn from')
        taught = [name for name in ('teacher_shape', 'teacher_gradient', 'teacher_scale') if getattr(self, name)]
        if taught and not self.teacher:
            faults.append(f'{" and ".join(taught)} need a teacher: a checkpoint, a folder or hf://ORG/REPO')
        if self.teacher and not taught:
            faults.append(f'teacher {self.teacher!r} teaches nothing: give teacher_shape a weight')
        if self.supervised_steps and not self.depth and not self.teacher_shape:
            faults.append(f'supervised_steps {self.supervised_steps!r} needs the weight depth or teacher_shape')
        if not self.train_pose and not self.weights.two_view_pose:
            faults.append('train_pose false needs two_view_pose above 0 and another pose_source than network')
        refuse('objective', faults)

    @property
    def holds(self) -> bool:
        """Whether anything of the starting checkpoint is held."""
        return bool(self.hold_scale or self.hold_sky)

    @property
    def weights(self) -> LossWeights:
        """The weights of the terms by name."""
        weights = LossWeights(*(getattr(self, name) for name in LossWeights._fields))
        return weights._replace(two_view_pose=0.0) if self.pose_source == 'network' else weights


@dataclass(frozen=True)
class OptimiserSettings:
    """How the weights move: Adam with warm-up, steps and clipping, as in the paper.

    Attributes:
        learning_rate: Step size after the warm-up.
        encoder_rate: Step size of the depth network's encoder, as a multiple of learning_rate: one that comes with
            pretrained weights has the shorter way to go.
        pose_rate: Step size of the pose network, as a multiple of learning_rate: new to a camera, it has the longer way
            to go.
        batch_size: Clips that a process holds in memory at once.
        accumulate: Batches whose gradients make one step: as if batch_size were so many times larger, in the memory of
            one of them; only batch normalisation sees the difference.
        warmup_steps: Steps over which the rate rises linearly to learning_rate.
        warmup_start: Share of learning_rate that the warm-up starts from, 0..1.
        milestones: Shares of all steps at which the rate is multiplied by `decay`, 0..1.
        decay: Factor at each milestone.
        weight_decay: L2 penalty of the weights, as Adam adds it to the gradient.
        gradient_clip: Largest L2 norm of the gradient.
        ema_decay: Decay of the averaged weights a step, 0..1; they are what is validated and saved.

    Raises:
        ConfigError: If a value cannot work.
    """

    learning_rate: float = 1e-4
    encoder_rate: float = 1.0
    pose_rate: float = 1.0
    batch_size: int = 12
    accumulate: int = 1
    warmup_steps: int = 500
    warmup_start: float = 1 / 3
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.5
    weight_decay: float = 0.0
    gradient_clip: float = 35.0
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        """Refuse what cannot learn."""
        faults = [
            f'{name} {value!r} is not positive'
            for name, value in (
                ('learning_rate', self.learning_rate),
                ('encoder_rate', self.encoder_rate),
                ('pose_rate', self.pose_rate),
                ('batch_size', self.batch_size),
                ('accumulate', self.accumulate),
                ('gradient_clip', self.gradient_clip),
                ('decay', self.decay),
            )
            if not value > 0
        ]
        faults += [
            f'{name} {value!r} is beyond {LARGEST_BATCH}'
            for name, value in (('batch_size', self.batch_size), ('accumulate', self.accumulate))
            if value > LARGEST_BATCH
        ]
        if not 0 <= self.ema_decay < 1:
            faults.append(f'ema_decay {self.ema_decay!r} is not in [0, 1)')
        if not 0 < self.warmup_start <= 1:
            faults.append(f'warmup_start {self.warmup_start!r} is not in (0, 1]')
        if any(not 0 < share < 1 for share in self.milestones):
            faults.append(f'milestones {self.milestones!r} are not shares in (0, 1)')
        refuse('optimiser', faults)

    def rate_factor(self, step: int, steps: int) -> float:
        """Return the factor on learning_rate at a step of a run of `steps` steps."""
        warm = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        passed = sum(step >= share * steps for share in self.milestones)
        return float((self.warmup_start + (1 - self.warmup_start) * warm) * self.decay**passed)


@dataclass(frozen=True)
class WatchSettings:
    """When a run looks at itself, and when it stops.

    Attributes:
        log_every: Steps between lines of metrics.csv and points in TensorBoard.
        validate_every: Steps between validations; `best` is chosen at these.
        figure_every: Steps between figures of a validation clip.
        save_every: Steps between saves of the state that a run resumes from, and of `last`.
        select_by: What `best` has least of on the validation clips: 'photometric' error, 'abs_rel' where depth is
            known, or 'two_view_depth', the term of that name; where the clips do not tell it, photometric error.
        patience: Validations without improvement after which the run stops; 0 never does.
        collapse_checks: Logged steps in a row that must look collapsed before the run is stopped; 0 never does.
        collapse_after: Steps before which nothing is called a collapse: a fresh network starts out constant.
        collapse_hole_share: Share of the image that infinite-depth holes may take, 0..1.

    Raises:
        ConfigError: If a value cannot work.
    """

    log_every: int = 20
    validate_every: int = 1000
    figure_every: int = 1000
    save_every: int = 500
    select_by: Literal['photometric', 'abs_rel', 'two_view_depth'] = 'photometric'
    patience: int = 0
    collapse_checks: int = 10
    collapse_after: int = 500
    collapse_hole_share: float = 0.3

    def __post_init__(self) -> None:
        """Refuse intervals that never come."""
        intervals = ('log_every', 'validate_every', 'figure_every', 'save_every')
        faults = [f'{name} {getattr(self, name)!r} is not positive' for name in intervals if getattr(self, name) < 1]
        if not 0 < self.collapse_hole_share <= 1:
            faults.append(f'collapse_hole_share {self.collapse_hole_share!r} is not in (0, 1]')
        refuse('watch', faults)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run.

    Attributes:
        out: Folder of the run, made if missing: config, environment, metrics, figures, checkpoints `last` and `best`.
        checkpoint: Checkpoint to start from: a folder, hf://..., or 'default' for the one in the package; empty
            starts from scratch.
        steps: Steps of the optimiser in the whole run.
        seed: Seed of everything random; the same seed and machine give the same run.
        device: 'auto', 'cpu', 'cuda', or one GPU of several, 'cuda:1'; under torchrun every process takes its own.
        precision: 'float32', 'bf16' for the networks (geometry and losses stay float32), or 'auto': bf16 where the
            processor multiplies it natively.
        resume: Continue the run in `out` where it was last saved, if it was; else a folder in use is refused.
        licence: Licence of the weights, with what the training data ask for.
        data: What is learned from.
        model: The networks.
        augment: How clips are varied.
        objective: What is minimised.
        optimiser: How the weights move.
        watch: When the run looks at itself.

    Raises:
        ConfigError: If a value cannot work.
    """

    out: str = 'runs/latest'
    checkpoint: str = ''
    steps: int = 100_000
    seed: int = 0
    device: str = 'auto'
    precision: Literal['auto', 'float32', 'bf16'] = 'auto'
    resume: bool = False
    licence: str = ''
    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)

    def __post_init__(self) -> None:
        """Refuse a run of no steps or in no folder."""
        faults = [] if self.out else ['out is empty']
        if not 0 <= self.seed < 2**32:
            faults.append(f'seed {self.seed!r} is not in 0..{2**32 - 1}')
        if self.steps < 1:
            faults.append(f'steps {self.steps!r} is not positive')
        if self.objective.holds and not self.checkpoint:
            faults.append('objective.hold_scale and hold_sky need a checkpoint to start from')
        if self.objective.hold_scale and self.objective.teacher_scale:
            faults.append("objective.hold_scale and teacher_scale pull at one scale, the start's and the teacher's")
        refuse('recipe', faults)

    @property
    def is_supervised(self) -> bool:
        """Whether all steps learn from known depth and a teacher only, so that no pose is learned."""
        return self.objective.supervised_steps >= self.steps

    @property
    def learns_motion(self) -> bool:
        """Whether the pose network learns."""
        return self.objective.train_pose and not self.is_supervised
