"""One moment of a world through one camera: colours and exact depth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidepth_core.camera import Camera
from sidepth_core.data.synthetic.arrays import column, pick, put, where_true
from sidepth_core.data.synthetic.ground import Ground, Patch, ground_colour, ground_depth, ground_shade, locate, water
from sidepth_core.data.synthetic.hits import facets
from sidepth_core.data.synthetic.path import Segment
from sidepth_core.data.synthetic.rays import Rays, camera_rays
from sidepth_core.data.synthetic.shapes import FACES, Shapes
from sidepth_core.data.synthetic.sky import Sky, sky_colour
from sidepth_core.data.synthetic.textures import MaterialTable, albedo
from sidepth_core.data.synthetic.trace import Pairs, Solids, cast, shadow_view, trace, view

Array = npt.NDArray[np.float64]
SUB_PIXELS = ((0.34, 0.12), (-0.28, 0.23), (-0.06, -0.35))
"""Where a pixel on an edge is sampled besides its centre (a turned triangle around it), in pixels."""
EDGE_CONTRAST = 0.05
"""Pixels whose neighbour shows another surface, this much brighter or darker (0..1), are sampled again."""
WATER_FRESNEL = 0.02
"""Share of light that water mirrors at right angles."""
WET_DARKENING = 0.45
"""How much darker soaked ground is."""


class Light(NamedTuple):
    """The light of a world; colours are linear.

    Attributes:
        sun: Unit vector to the sun, world.
        direct: Colour of the light from the sun.
        ambient: Colour of the light from everywhere, on a face that looks up; half of it on one that looks down.
        softness: How long the way through a solid must be for full shade, metres.
        haze: Share of the light that a metre of air replaces by the sky's horizon colour.
        exposure: Factor on everything before the picture is toned.
        wet: Mean share of paved ground that water covers, 0..1.
    """

    sun: tuple[float, float, float]
    direct: tuple[float, float, float]
    ambient: tuple[float, float, float]
    softness: float
    haze: float
    exposure: float
    wet: float = 0.0


class Moment(NamedTuple):
    """Everything that can be seen at one time from around one place.

    Attributes:
        shapes: The solids.
        segments: The stretch of the line that the ground follows.
        ground: Its look.
        patches: What else covers it.
        table: Materials of all of them.
        light: The light.
        sky: What is beyond.
    """

    shapes: Shapes
    segments: list[Segment]
    ground: Ground
    patches: list[Patch]
    table: MaterialTable
    light: Light
    sky: Sky


class Rendering(NamedTuple):
    """A picture (3, H, W) in 0..1 as a display shows it, and depth along Z (H, W) in metres, inf in the sky."""

    image: Tensor
    depth_m: Tensor


class _Samples(NamedTuple):
    """P rays and what they meet; `solid` is -1 for ground and sky."""

    x: Tensor
    y: Tensor
    depth_m: Tensor
    solid: Tensor
    shade: Tensor

    def picked(self, index: Tensor) -> _Samples:
        return _Samples(*(pick(values, index) for values in self))


class _Scene(NamedTuple):
    """A moment as one camera sees it."""

    moment: Moment
    solids: Solids
    T_world_camera: Array
    rays: Rays


def render(
    moment: Moment, T_world_camera: Array, camera: Camera, device: torch.device, *, antialias: bool = True
) -> Rendering:
    """Render a moment through a camera.

    Args:
        moment: What there is to see.
        T_world_camera: (4, 4), optical frame to world.
        camera: The camera, distorted or not.
        device: Where to compute.
        antialias: Sample the pixels on edges four times. Depth is that of the pixel's centre all the same.
    """
    rays = camera_rays(camera, device)
    sun = np.asarray(moment.light.sun)
    solids = view(moment.shapes, T_world_camera, sun, rays)
    floor = ground_depth(rays.x, rays.y, T_world_camera)
    hits = trace(solids, rays, floor)
    on_ground = torch.where(hits.solid < 0, hits.depth_m, torch.inf)
    shadows = shadow_view(moment.shapes, T_world_camera, sun, rays)
    shade = ground_shade(shadows, rays, on_ground, float(T_world_camera[2, 3]), moment.light.softness)
    scene = _Scene(moment, solids, T_world_camera, rays)
    samples = _Samples(rays.x, rays.y, hits.depth_m, hits.solid, shade)
    image, surface = _shade(scene, samples)
    edges = where_true(_edges(surface, image, rays) & antialias)
    if len(edges):
        put(image, edges, _supersample(scene, samples, hits.pairs, image, edges))
    image = image * rays.valid
    depth = torch.where(rays.valid, hits.depth_m, torch.nan)
    return Rendering(image.reshape(3, rays.height, rays.width), depth.reshape(rays.height, rays.width))


def _shade(scene: _Scene, samples: _Samples) -> tuple[Tensor, Tensor]:
    """Return the toned colour (3, P) and a number (P,) that differs between surfaces."""
    colour = torch.empty(3, len(samples.x), device=samples.x.device)
    surface = torch.full_like(samples.solid, -2)
    on_sky = torch.isinf(samples.depth_m)
    sky, ground = where_true(on_sky), where_true((samples.solid < 0) & ~on_sky)
    put(colour, sky, _sky(scene, samples.picked(sky)))
    put(colour, ground, _ground(scene, samples.picked(ground)))
    surface.index_fill_(0, ground, -1)
    solid = where_true(samples.solid >= 0)
    lit, faces = _solids(scene, samples.picked(solid))
    put(colour, solid, lit)
    put(surface, solid, faces)
    # A shoulder instead of clipping, then the display's square-root tone curve.
    return torch.sqrt_(1 - torch.exp_(colour * -scene.moment.light.exposure)), surface


def _sky(scene: _Scene, samples: _Samples) -> Tensor:
    moment, step = scene.moment, max(scene.rays.step)
    return sky_colour(moment.sky, moment.light.sun, samples.x, samples.y, scene.T_world_camera, step)


def _ground(scene: _Scene, samples: _Samples) -> Tensor:
    moment, light = scene.moment, scene.moment.light
    segments = None if moment.ground.aligned else moment.segments
    place = locate(segments, samples.x, samples.y, samples.depth_m, scene.T_world_camera, scene.rays)
    direct, ambient = column(light.direct, samples.x), column(light.ambient, samples.x)
    # In the shade a part of the sky is hidden too.
    fall = direct * (light.sun[2] * (1 - samples.shade)) + ambient * (1 - 0.35 * samples.shade)
    lit = ground_colour(moment.ground, moment.patches, moment.table, place) * fall
    if light.wet:
        lit = _mirrored(scene, samples, lit, water(moment.ground, place, light.wet))
    return _hazed(moment, lit, samples.depth_m)


def _mirrored(scene: _Scene, samples: _Samples, colour: Tensor, film: Tensor) -> Tensor:
    """Return the colour (3, P) of ground under a film of water: darker, and a mirror of the sky where seen flatly.

    Only the sky is mirrored. The share of light is Schlick's approximation (1994) of Fresnel's for water.
    """
    mirror = scene.T_world_camera.copy()
    mirror[2, :3] *= -1
    up = samples.x * float(mirror[2, 0]) + samples.y * float(mirror[2, 1]) + float(mirror[2, 2])
    cosine = up / torch.sqrt(samples.x.square() + samples.y.square() + 1)
    share = (WATER_FRESNEL + (1 - WATER_FRESNEL) * (1 - cosine).clamp(0, 1).pow(5)) * film
    light = scene.moment.light
    sky = sky_colour(scene.moment.sky, light.sun, samples.x, samples.y, mirror, max(scene.rays.step))
    return torch.lerp(colour * (1 - WET_DARKENING * film), sky, share)


def _solids(scene: _Scene, samples: _Samples) -> tuple[Tensor, Tensor]:
    """Return the colour (3, P) of solids and a number (P,) for each of their faces."""
    light = scene.moment.light
    facet = facets(scene.solids, samples.solid, samples.x, samples.y, samples.depth_m, scene.rays.step)
    look = albedo(scene.moment.table, facet.surface)
    direct, ambient = column(light.direct, samples.x), column(light.ambient, samples.x)
    # Less light reaches what is close to the ground.
    contact = 1 - 0.4 * torch.exp(facet.above_m * -3)
    fall = ambient * ((0.75 + 0.25 * facet.up) * contact) + direct * facet.sun.clamp(0)
    lit = look.colour * look.grain * torch.lerp(fall, torch.ones_like(fall), look.glow)
    return _hazed(scene.moment, lit, samples.depth_m), samples.solid * FACES + facet.face


def _hazed(moment: Moment, colour: Tensor, depth_m: Tensor) -> Tensor:
    return torch.lerp(column(moment.sky.horizon, colour), colour, torch.exp(depth_m * -moment.light.haze))


def _edges(surface: Tensor, image: Tensor, rays: Rays) -> Tensor:
    surface = surface.reshape(rays.height, rays.width)
    bright = image.mean(dim=0).reshape(rays.height, rays.width)
    edge = torch.zeros_like(surface, dtype=torch.bool)
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        apart = surface[first] != surface[second]
        apart &= (bright[first] - bright[second]).abs() > EDGE_CONTRAST
        edge[first] |= apart
        edge[second] |= apart
    return edge.reshape(-1)


def _supersample(scene: _Scene, samples: _Samples, pairs: list[Pairs], image: Tensor, edges: Tensor) -> Tensor:
    """Return the mean colour (3, E) of the edge pixels over their centre and SUB_PIXELS."""
    count, parts = len(edges), len(SUB_PIXELS)
    offsets = torch.tensor(SUB_PIXELS, device=edges.device) * torch.tensor(scene.rays.step, device=edges.device)
    x = (pick(samples.x, edges)[:, None] + offsets[:, 0]).view(-1)
    y = (pick(samples.y, edges)[:, None] + offsets[:, 1]).view(-1)
    depth = ground_depth(x, y, scene.T_world_camera)
    winner = torch.full_like(depth, -1, dtype=torch.int64)
    cast(scene.solids, _pairs_on_edges(scene, samples, pairs, edges, parts), x, y, depth, winner)
    sub = _Samples(x, y, depth, winner, pick(samples.shade, edges).repeat_interleave(parts))
    colour, _ = _shade(scene, sub)
    return (colour.view(3, count, parts).sum(dim=2) + pick(image, edges)) / (parts + 1)


def _pairs_on_edges(scene: _Scene, samples: _Samples, pairs: list[Pairs], edges: Tensor, parts: int) -> Pairs:
    """Return the pairs of those solids that may show in an edge pixel with each of its `parts` samples."""
    slot = torch.full_like(samples.solid, -1)
    put(slot, edges, torch.arange(len(edges), device=edges.device))
    # Nothing behind the farthest of a pixel's neighbours can show in it.
    around = _farthest_neighbour(samples.depth_m.view(scene.rays.height, scene.rays.width)).view(-1)
    nobody = torch.empty(0, dtype=torch.int64, device=edges.device)
    kept = [Pairs(nobody, nobody)]
    for batch in pairs:
        on_edge = pick(slot, batch.pixel)
        keep = where_true(on_edge >= 0)
        solid, pixel, on_edge = pick(batch.solid, keep), pick(batch.pixel, keep), pick(on_edge, keep)
        keep = where_true(pick(scene.solids.nearest_m, solid) <= pick(around, pixel))
        kept.append(Pairs(pick(solid, keep), pick(on_edge, keep)))
    solid, on_edge = (torch.cat(values) for values in zip(*kept, strict=True))
    part = torch.arange(parts, device=edges.device)
    return Pairs(solid.repeat_interleave(parts), (on_edge[:, None] * parts + part).view(-1))


def _farthest_neighbour(depth_m: Tensor) -> Tensor:
    wide = depth_m.clone()
    wide[:, 1:] = torch.maximum(wide[:, 1:], depth_m[:, :-1])
    wide[:, :-1] = torch.maximum(wide[:, :-1], depth_m[:, 1:])
    tall = wide.clone()
    tall[1:] = torch.maximum(tall[1:], wide[:-1])
    tall[:-1] = torch.maximum(tall[:-1], wide[1:])
    return tall
