"""Augmentation of training slices on the device: jitted, one key per slice, labels with images.

All geometry is one map from the pixels of the result to places in the slice, read once: bilinearly
in the image, by nearest neighbour in the mask. The edge truth is not moved but taken from the moved
mask, so it stays that mask's morphological gradient. Intensity is changed on grey values in 0..1;
after it the slice is prepared again as `preprocess` prepares it.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from cosup_jax.data import mixing
from cosup_jax.data.equalise import BINS, equalise

_NODES = 6  # of the coarse grid of an elastic deformation, along each side
_PIECES = 8  # of the random grey curve
_MIN_STD = 1e-6


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far slices are changed; 0 switches a change off, and by default all are.

    A range ±x is drawn from uniformly, separately for every slice and step.

    Attributes:
      probability: share of slices whose geometry is changed, and, drawn anew, whose intensity is;
        flips and `cutmix` have shares of their own.
      flip_horizontal: share of slices in which left and right change places.
      flip_vertical: share of slices in which front and back change places.
      rotation: ± degrees about the centre.
      scale: the slice is magnified by a factor whose logarithm is within ±scale.
      stretch: height to width changes by a factor whose logarithm is within ±stretch.
      shift: ± share of the side, along each side.
      elastic: standard deviation of a smooth random displacement, as a share of the side.
      equalise: share of slices whose histogram is equalised, as a whole or tile by tile and with
        any limit (`equalise.equalise`), as published sets were in which grey is no longer HU.
      match: share of slices that take the histogram of another slice of the batch, as a whole or
        in part (`mixing.match`).
      window: a narrower window: up to this share of the grey range becomes white, and up to a
        quarter of it black.
      contrast: factor of the distance to mid-grey, its logarithm within ±contrast. What leaves
        0..1 is clipped, here and below, as a narrower window does.
      brightness: ± share of the grey range that is added.
      gamma: exponent, its logarithm within ±gamma.
      curve: a monotone grey curve of straight pieces, the logarithm of whose slopes has this
        standard deviation; it takes windowed slices to what equalisation makes of them.
      noise: Gaussian noise of a standard deviation up to this share of the grey range.
      blur: Gaussian blur of a standard deviation up to this many pixels.
      cutmix: share of slices of which a box is that of another slice of the batch, image and mask.

    Raises:
      ValueError: a share is outside 0..1, or anything is negative; the field is named.
    """

    probability: float = 1.0
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    equalise: float = 0.0
    match: float = 0.0
    window: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    gamma: float = 0.0
    curve: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        shares = (
            *("probability", "flip_horizontal", "flip_vertical", "shift", "elastic"),
            *("equalise", "match", "window", "cutmix"),
        )
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= (1 if name in shares else math.inf):
                wanted = "a share from 0 to 1" if name in shares else "a number that is not below 0"
                raise ValueError(f"augment.{name} is {value}, expected {wanted}")

    @property
    def moves(self) -> bool:
        """Whether anything changes the geometry."""
        names = (
            *("flip_horizontal", "flip_vertical", "rotation", "scale", "stretch", "shift"),
            "elastic",
        )
        return any(getattr(self, name) for name in names)

    @property
    def recolours(self) -> bool:
        """Whether anything changes the intensity."""
        names = (
            *("equalise", "match", "window", "contrast", "brightness", "gamma", "curve", "noise"),
            "blur",
        )
        return any(getattr(self, name) for name in names)

    @property
    def changes(self) -> bool:
        """Whether anything is changed."""
        return self.moves or self.recolours or self.cutmix > 0


def augment(
    keys: jax.Array,
    image: jax.Array,
    mask: jax.Array,
    settings: Augmentation,
    *,
    scaling: str = "z_score",
    size: tuple[int, int] | None = None,
) -> dict[str, jax.Array]:
    """Changes every slice of a batch at random, and its mask with it.

    A slice's result depends on its key alone, not on its place in the batch; with `match` or
    `cutmix` it depends on its partner too (`mixing.partners`). What is drawn for one change tells
    nothing of another: `fold_in(key, i)` is `split(key)[i]`, so a key has children of one kind.

    Args:
      keys: (B,) random keys.
      image: (B, H, W, 1) float32 slices, prepared with `scaling`.
      mask: (B, H, W, 1) uint8, 0 or 1.
      settings: how far.
      scaling: `z_score` or `unit`, see `preprocess.Preprocessing`; the result is scaled so again.
      size: (height, width) of the result; None keeps (H, W).

    Returns:
      `image` (B, h, w, 1) float32, `mask` and its `edge` (B, h, w, 1) uint8. What was outside the
      slice is as dark as its darkest pixel and not infected.
    """
    h, w = size or image.shape[1:3]
    x, m = image[..., 0], mask[..., 0]
    geometry, intensity, boxing = jnp.moveaxis(
        jax.vmap(lambda k: jax.random.split(k, 3))(keys), 1, 0
    )

    def move(key: jax.Array, x: jax.Array, m: jax.Array) -> tuple[jax.Array, jax.Array]:
        places = _places(key, x.shape, (h, w), settings)
        # A slice reaches half a pixel beyond its outermost pixels' centres.
        places = [
            jnp.where((p >= -0.5) & (p <= n - 0.5), jnp.clip(p, 0, n - 1), p)
            for p, n in zip(places, x.shape, strict=True)
        ]
        darkest = jnp.min(x)
        x = map_coordinates(x - darkest, places, order=1, mode="constant") + darkest
        return x, map_coordinates(m, places, order=0, mode="constant")

    def cut(key: jax.Array) -> jax.Array:
        chance, place = jax.random.split(key)
        return _chance(chance, settings.cutmix) & mixing.box(place, (h, w))

    if settings.moves or x.shape[1:] != (h, w):
        x, m = jax.vmap(move)(geometry, x, m)
    if settings.recolours:
        if scaling == "z_score":
            x = jax.vmap(_unit)(x)
        recolour = functools.partial(_recolour, s=settings)
        x = jax.vmap(recolour)(intensity, x, mixing.partners(x))
    if scaling == "z_score":
        x = jax.vmap(z_score)(x)
    if settings.cutmix:
        boxes = jax.vmap(cut)(boxing)
        x = jnp.where(boxes, mixing.partners(x), x)
        m = jnp.where(boxes, mixing.partners(m), m)
    m = m[..., None]
    return {"image": x[..., None], "mask": m, "edge": edges(m)}


def _places(
    key: jax.Array, shape: tuple[int, ...], size: tuple[int, ...], s: Augmentation
) -> list[jax.Array]:
    """Returns where in a slice of `shape` each pixel of a result of `size` is read: two (h, w)."""
    keys = jax.random.split(key, 8)
    on = _chance(keys[0], s.probability).astype(jnp.float32)
    # Centres of the result's pixels in pixels of the slice, from its middle.
    y, x = (
        ((jnp.arange(n) + 0.5) * (old / n) - old / 2) for n, old in zip(size, shape, strict=True)
    )
    y = y * jnp.where(_chance(keys[1], s.flip_vertical), -1, 1)
    x = x * jnp.where(_chance(keys[2], s.flip_horizontal), -1, 1)
    stretch = jnp.exp(on * _within(keys[7], s.stretch / 2))
    y, x = y / stretch, x * stretch
    angle = on * _within(keys[3], math.radians(s.rotation))
    shrink = jnp.exp(-on * _within(keys[4], s.scale))
    shift = on * _within(keys[5], s.shift, (2,))
    cos, sin = jnp.cos(angle) * shrink, jnp.sin(angle) * shrink
    turned = (
        (y * cos)[:, None] - (x * sin)[None, :],
        (y * sin)[:, None] + (x * cos)[None, :],
    )
    places = [t + shift[i] * shape[i] + (shape[i] - 1) / 2 for i, t in enumerate(turned)]
    if s.elastic:
        nodes = on * s.elastic * jax.random.normal(keys[6], (2, _NODES, _NODES))
        smooth = jax.image.resize(nodes, (2, *size), "cubic")
        places = [p + smooth[i] * shape[i] for i, p in enumerate(places)]
    return places


def _recolour(key: jax.Array, x: jax.Array, other: jax.Array, s: Augmentation) -> jax.Array:
    """Returns an (h, w) slice of grey values 0..1 with others; `other` is its partner."""
    on_key, *keys = jax.random.split(key, 11)
    old = x
    if s.match:
        chance, share = jax.random.split(keys[7])
        matched = mixing.match(x, other, jax.random.uniform(share))
        x = jnp.where(_chance(chance, s.match), matched, x)
    if s.blur:
        x = _blurred(x, jax.random.uniform(keys[0], maxval=s.blur), math.ceil(2 * s.blur))
    if s.equalise:
        chance, limit, local = jax.random.split(keys[8], 3)
        limit = jnp.exp(jax.random.uniform(limit, maxval=math.log(BINS)))
        equal = equalise(x, limit, jax.random.uniform(local))
        x = jnp.where(_chance(chance, s.equalise), equal, x)
    if s.window:
        white, black = s.window * jax.random.uniform(keys[9], (2,))
        x = jnp.clip((x - black / 4) / jnp.maximum(1 - white - black / 4, 1e-3), 0, 1)
    factor = jnp.exp(_within(keys[1], s.contrast))
    x = jnp.clip((x - 0.5) * factor + 0.5 + _within(keys[2], s.brightness), 0, 1)
    if s.gamma:
        x = x ** jnp.exp(_within(keys[3], s.gamma))
    if s.curve:
        slopes = jnp.exp(s.curve * jax.random.normal(keys[4], (_PIECES,)))
        steps = slopes / jnp.sum(slopes)
        x = jnp.stack([steps[i] * jnp.clip(_PIECES * x - i, 0, 1) for i in range(_PIECES)]).sum(0)
    if s.noise:
        deviation = jax.random.uniform(keys[5], maxval=s.noise)
        x = jnp.clip(x + deviation * jax.random.normal(keys[6], x.shape), 0, 1)
    return jnp.where(_chance(on_key, s.probability), x, old)


def _unit(x: jax.Array) -> jax.Array:
    """Stretches an (h, w) slice to 0..1."""
    darkest, range_ = jnp.min(x), jnp.ptp(x)
    return (x - darkest) / jnp.where(range_ > 0, range_, 1)


def _blurred(x: jax.Array, deviation: jax.Array, radius: int) -> jax.Array:
    """Returns (h, w) after a Gaussian blur; beyond the border the border's pixels go on."""
    offsets = jnp.arange(-radius, radius + 1)
    kernel = jnp.exp(-0.5 * (offsets / jnp.maximum(deviation, 1e-3)) ** 2)
    kernel /= jnp.sum(kernel)
    for axis in (0, 1):
        n = x.shape[axis]
        padded = jnp.pad(x, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], "edge")
        taps = (jax.lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(len(kernel)))
        x = jnp.stack([weight * tap for weight, tap in zip(kernel, taps, strict=True)]).sum(0)
    return x


def _chance(key: jax.Array, share: float) -> jax.Array:
    """Draws only where there is a choice: a draw is long to compile."""
    return jax.random.uniform(key) < share if 0 < share < 1 else jnp.array(share == 1)


def _within(key: jax.Array, limit: float, shape: tuple[int, ...] = ()) -> jax.Array:
    if limit == 0:
        return jnp.zeros(shape)
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def z_score(image: jax.Array) -> jax.Array:
    """Does for one slice (H, W) on the device what `preprocess.z_score` does on the host."""
    centred = image - jnp.mean(image)
    std = jnp.std(centred)
    flat = std <= _MIN_STD * jnp.maximum(1, jnp.max(jnp.abs(image)))
    return jnp.where(flat, 0, centred / jnp.where(flat, 1, std))


def edges(mask: jax.Array) -> jax.Array:
    """Does for masks (B, H, W, 1) on the device what `preprocess.edges` does on the host.

    Returns:
      (B, H, W, 1) uint8, the dilation minus the erosion by the cross of four neighbours.
    """
    inside = (mask > 0).astype(jnp.uint8)
    padded = jnp.pad(inside, [(0, 0), (1, 1), (1, 1), (0, 0)], "edge")
    near = [padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]]
    grown, shrunk = inside, inside
    for neighbour in near:
        grown, shrunk = jnp.maximum(grown, neighbour), jnp.minimum(shrunk, neighbour)
    return grown - shrunk
