"""The studio: the seamless background, the shadow, the camera and its sensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from packshot.sources.rendering.canvas import Canvas, Field, Light

OVERSAMPLING = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything about one photograph that is not the product: where the light stands, how the camera is held."""

    light: Light
    mirror: bool
    degrees: float
    fill: float
    """The share of the picture's longer way that the product takes."""
    shift: tuple[float, float]
    keystone: tuple[float, float]
    """How much narrower the top is than the bottom, and the left than the right."""
    ground: float
    """The background's brightness."""
    tint: tuple[float, float, float]
    exposure: float
    softness: float
    """The shadow's."""
    noise: float
    """The sensor's standard deviation, in grey levels."""


def arrange(rng: np.random.Generator, *, from_left: bool, mirror: bool, standing: bool) -> Scene:
    """Draw a photograph's circumstances; the light stands on the side from which the product is seen."""
    fill, sway = rng.uniform(0.68, 0.88), 1.2 if standing else 4.0
    room = 0.6 * (0.95 - fill)
    side = -1.0 if from_left != mirror else 1.0
    angle = rng.uniform(math.radians(20), math.radians(65))
    warmth = rng.normal(0.0, 0.006)
    return Scene(
        light=Light(side * math.cos(angle), -math.sin(angle), float(rng.uniform(0.75, 1.2))),
        mirror=mirror,
        degrees=float(np.clip(rng.normal(0.0, sway), -2.0 * sway, 2.0 * sway)),
        fill=float(fill),
        shift=(float(rng.uniform(-room, room)), float(rng.uniform(-room, room))),
        keystone=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.06, 0.06))),
        ground=float(rng.uniform(0.955, 0.985)),
        tint=(1.0 + warmth, 1.0, 1.0 - warmth),
        exposure=float(rng.uniform(0.95, 1.04)),
        softness=float(rng.uniform(0.8, 1.4)),
        noise=float(rng.uniform(0.5, 1.6)),
    )


def photograph(
    canvas: Canvas, scene: Scene, rng: np.random.Generator, size: int, standing: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Take the picture: pixels (H, W, 3), and how much of each pixel the product covers, (H, W), both uint8."""
    camera = _camera(scene, canvas)
    big = (canvas.side, canvas.side)
    seen = cv2.warpPerspective(canvas.layers, camera, big, flags=cv2.INTER_LINEAR)
    seen = cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)
    coverage = np.asarray(seen[..., 3], np.float32)

    shadow = _standing_shadow(canvas, scene, camera, coverage) if standing else _flat_shadow(scene, coverage)
    picture = _background(scene, size, standing) * (1.0 - shadow)[..., None]
    picture = picture * (1.0 - coverage)[..., None] + seen[..., :3] * np.float32(scene.exposure)
    grain = rng.standard_normal((size, size, 3), np.float32) * np.float32(scene.noise)
    pixels = np.clip(picture * np.array(scene.tint, np.float32) * 255.0 + grain, 0.0, 255.0)
    return np.rint(pixels).astype(np.uint8), np.rint(coverage * 255.0).astype(np.uint8)


def _camera(scene: Scene, canvas: Canvas) -> NDArray[np.float64]:
    """The homography from the canvas to the picture, both in pixels of the canvas: turns, centres and brings near."""
    side = canvas.side
    left, top, wide, high = cv2.boundingRect(np.asarray(canvas.layers[..., 3] > 0.02, np.uint8))
    turn, flip = math.radians(scene.degrees), -1.0 if scene.mirror else 1.0
    c, s = math.cos(turn), math.sin(turn)
    about = 2.0 / max(wide, high)
    x, y = left + (wide - 1) / 2, top + (high - 1) / 2
    centred = np.array([[about, 0.0, -about * x], [0.0, about, -about * y], [0.0, 0.0, 1.0]])
    posed = np.array([[flip * c, -s, 0.0], [flip * s, c, 0.0], [flip * scene.keystone[1], -scene.keystone[0], 1.0]]) @ centred
    corners = posed @ np.array([[left, left, left + wide, left + wide], [top, top + high, top, top + high], [1.0, 1.0, 1.0, 1.0]])
    low, far = (corners[:2] / corners[2]).min(1), (corners[:2] / corners[2]).max(1)
    near = side * scene.fill / float((far - low).max())
    middle = (low + far) / 2.0
    framed = np.array([[near, 0.0, 0.0], [0.0, near, 0.0], [0.0, 0.0, 1.0]])
    framed[:2, 2] = side / 2.0 - 0.5 + side / 2.0 * np.array(scene.shift) - near * middle
    return np.asarray(framed @ posed, np.float64)


def _background(scene: Scene, size: int, standing: bool) -> Field:
    y = np.linspace(-1.0, 1.0, size, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, size, dtype=np.float32)[None, :]
    side = -1.0 if scene.light.x * (-1.0 if scene.mirror else 1.0) < 0 else 1.0
    level = scene.ground - 0.010 * (x * x + y * y) + 0.008 * side * x
    if standing:
        level = level - 0.018 / (1.0 + np.exp(-(y - 0.35) * 7.0))
    return np.asarray(level[..., None], np.float32)


def _blur(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE), np.float32)


def _away(scene: Scene) -> float:
    """To which side of the picture shadows fall: 1 is right."""
    return -math.copysign(1.0, scene.light.x) * (-1.0 if scene.mirror else 1.0)


def _moved(field: Field, matrix: Sequence[Sequence[float]]) -> Field:
    """The field under an affine map of its pixels, (2, 3)."""
    return np.asarray(cv2.warpAffine(field, np.array(matrix), field.shape[::-1]), np.float32)


def _flat_shadow(scene: Scene, coverage: Field) -> Field:
    """A garment's shadow on the backdrop close behind it."""
    size = len(coverage)
    small = np.asarray(cv2.resize(coverage, (size // 2, size // 2), interpolation=cv2.INTER_AREA), np.float32)
    drop, away = 0.016 * size, _away(scene)
    near = _moved(small, [[1.0, 0.0, away * drop * 0.35], [0.0, 1.0, drop * 0.4]])
    far = _moved(small, [[1.0, 0.0, away * drop], [0.0, 1.0, drop * 1.4]])
    soft = 0.16 * _blur(near, 0.007 * size * scene.softness) + 0.12 * _blur(far, 0.022 * size * scene.softness)
    return np.asarray(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _standing_shadow(canvas: Canvas, scene: Scene, camera: NDArray[np.float64], coverage: Field) -> Field:
    """The dark line of contact, the soft pool around it, and a faint cast on the ground behind."""
    size = len(coverage)
    half = (size // 2, size // 2)
    shrink = np.diag([0.5 / OVERSAMPLING, 0.5 / OVERSAMPLING, 1.0])
    touch = cv2.warpPerspective(canvas.footprint, shrink @ camera, half, flags=cv2.INTER_AREA).astype(np.float32) / np.float32(
        255
    )
    ground = float(np.flatnonzero(touch.any(1))[-1]) if touch.any() else size * 0.45
    away = _away(scene)
    small = np.asarray(cv2.resize(coverage, half, interpolation=cv2.INTER_AREA), np.float32)
    pool = _moved(touch, [[1.0, 0.0, away * 0.02 * size], [0.0, 1.0, 0.006 * size]])
    cast = _moved(small, [[1.0, -away * 0.165, away * 0.165 * ground], [0.0, 0.26, 0.74 * ground]])
    soft = 0.50 * _blur(touch, 0.007 * size) + 0.32 * _blur(pool, 0.024 * size * scene.softness)
    soft = soft + 0.12 * _blur(cast, 0.022 * size * scene.softness)
    return np.asarray(np.clip(cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR), 0.0, 0.75), np.float32)
