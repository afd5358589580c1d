"""What the tasks of video share: clips decoded, and brought to one size, rate and length."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from seqbench import files
from seqbench.errors import InputError
from seqbench.prepared import SPLITS, Array, Prepared, release, unpack
from seqbench.records import Control, Positive, Record, Share, Spec
from seqbench.tasks import Base
from seqbench.tasks._common import bad_member, logistic, majority
from seqbench.tasks._pretrained import resnet18

IMAGENET = (0.449 * 255, 0.226 * 255)
"""Mean and deviation of the pixels that the usual pretrained encoders have seen, over the three colours."""
LONGEST = 120
"""Seconds of a clip: more is a film, and would not fit into memory."""
LEAST = 2
"""Frames of a clip, or nothing in it can move."""
GRID = 8
"""Cells a side of the picture that the control without motion sees."""

Features = Callable[[Mapping[str, Array], int], Array]
"""Of one clip of a split, by its row."""


class VideoSettings(Record):
    """How clips are looked at, all alike, and by which encoder."""

    size: Annotated[int, Field(ge=16, le=512)] = 64
    """Pixels of a side: the whole frame, squeezed to a square."""
    rate: Positive = 8.0
    """Frames a second."""
    seconds: Positive = 1.5
    """Of the middle of a clip, at most."""
    colour: bool = True
    background: Literal["kept", "removed"] = "kept"
    """Removed: of each frame, half of what sets it apart from the mean of the clip's, around a grey of 128."""
    encoder: Literal["small", "resnet18"] = "small"
    weights: str | None = None
    """A .safetensors file with the weights of a ResNet-18, named as usual; they are trained on."""
    dropout: Share = 0.0


# ---------------------------------------------------------------- clips


class Clip(NamedTuple):
    """A clip as a model sees it."""

    frames: Array
    """(frames, channels, size, size) uint8"""
    damaged: int
    """Frames of the file that the decoder could only mend."""


def decode(file: IO[bytes], settings: VideoSettings) -> Clip:
    """The middle of a clip, at one rate and size. ValueError says why it cannot be had.

    At each tick the frame that a player would show; the whole of it, whatever its form, squeezed to a square by
    averaging over areas. The scaler is told to be exact, so that its bytes do not depend on the processor.
    """
    import av  # here, because training has no use for it

    frames = list[Array]()
    damaged = 0
    try:
        with av.open(file, "r", metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError("no video in it")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            graph = _resampler(stream, settings)
            for frame in container.decode(stream):
                damaged += frame.is_corrupt
                graph.push(frame)
                frames += _pulled(graph)
                if len(frames) > LONGEST * settings.rate:
                    raise ValueError(f"it lasts over {LONGEST} seconds")
            graph.push(None)
            frames += _pulled(graph)
    except av.FFmpegError as error:
        raise ValueError(f"it cannot be decoded ({error.strerror or type(error).__name__})") from None
    if len(frames) < LEAST:
        raise ValueError(f"{len(frames)} frames at {settings.rate:g} a second, {LEAST} are needed")
    count = min(longest(settings), len(frames))
    first = (len(frames) - count) // 2
    found = np.stack(frames[first : first + count])
    found = found.transpose(0, 3, 1, 2) if settings.colour else found[:, None]
    return Clip(apart(found) if settings.background == "removed" else found, damaged)


def apart(frames: Array) -> Array:
    """Frames (frames, channels, height, width) uint8 without what stands still in them, as `VideoSettings` says."""
    total = frames.sum(axis=0, dtype=np.int64)
    # Whole numbers, so that the bytes are the same on every machine: 128 + (frame - total / frames) / 2, rounded.
    doubled = 2 * len(frames)
    half: Array = (len(frames) * frames.astype(np.int64) - total + doubled // 2) // doubled
    return (128 + half).astype(np.uint8)


def longest(settings: VideoSettings) -> int:
    """Frames of a clip that is long enough."""
    return max(round(settings.seconds * settings.rate), LEAST)


def _resampler(stream: Any, settings: VideoSettings) -> Any:
    """A chain of filters: frames of any rate and size in, frames of one rate and size out."""
    from av.filter import Graph

    graph = Graph()
    size, kind = settings.size, "rgb24" if settings.colour else "gray"
    chain = (
        graph.add_buffer(template=stream),
        graph.add("fps", f"{settings.rate}:round=up"),  # "near" would take the last frame before the next tick
        graph.add("scale", f"{size}:{size}:flags=area+accurate_rnd+bitexact"),
        graph.add("format", kind),
        graph.add("buffersink"),
    )
    graph.link_nodes(*chain).configure()
    return graph


def _pulled(graph: Any) -> Iterator[Array]:
    """The frames that are ready: (size, size, 3) or (size, size)."""
    while True:
        try:
            yield graph.pull().to_ndarray()
        except (BlockingIOError, EOFError):
            return


# ---------------------------------------------------------------- the tasks


class Clips(Base):
    """x (clips, frames, channels, size, size) uint8, lengths where they differ; y (clips,) int64; read both ways."""

    FAMILY = "video"
    settings: VideoSettings

    @property
    def frame(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return 3 if self.settings.colour else 1, self.settings.size, self.settings.size

    def own_files(self) -> tuple[Path, ...]:
        """The weights, where there are some."""
        return (Path(self.settings.weights),) if self.settings.weights else ()

    def spec(self, arrays: Mapping[str, Array]) -> Spec:
        """Frames in, one class out; pixels at mean 0 and deviation 1 of the training split, or of ImageNet's."""
        natural = self.settings.weights and self.settings.background == "kept"
        shift, scale = IMAGENET if natural else _pixels(arrays)
        return Spec(
            inputs="values",
            input_size=int(np.prod(self.frame)),
            frontend="frames",
            frame=self.frame,
            encoder=self.settings.encoder,
            outputs="classes",
            output_size=len(unpack(arrays["labels"])) if "labels" in arrays else len(self.LABELS),
            length=longest(self.settings),
            metric="accuracy",
            direction="max",
            selection="cross_entropy",
            causal=False,
            pooling="mean",
            dropout=self.settings.dropout,
            shift=shift,
            scale=scale,
            ceiling=1.0,
        )

    def weights(self) -> dict[str, Array]:
        """Prepared arrays of a pretrained encoder; none without."""
        settings = self.settings
        if not settings.weights:
            return {}
        if settings.encoder != "resnet18":
            fix = "say encoder: resnet18, or leave weights out"
            raise InputError("weights are for a ResNet-18", f"weights = {settings.weights}", fix)
        return resnet18(Path(settings.weights), self.frame[0])

    def fill(self, content: bytes, archive: Path, name: str, x: Array) -> Clip:
        """Decode a member of an archive into x (longest, channels, size, size). DataError names it."""
        try:
            clip = decode(io.BytesIO(content), self.settings)
        except ValueError as error:
            raise bad_member(str(error), archive, name) from None
        x[: len(clip.frames)] = clip.frames
        release(x)
        return clip

    def encode(self, item: str, data: Prepared) -> Array:
        """A person's clip: (frames, channels, size, size)."""
        try:
            with files.existing(item).open("rb") as file:
                clip = decode(file, self.settings)
        except ValueError as error:
            raise InputError(str(error), item, "give a short video file that plays") from None
        if clip.damaged:
            raise InputError(f"{clip.damaged} frames are damaged", item, "copy it again, or give another")
        return clip.frames

    def controls(self, data: Prepared) -> tuple[Control, ...]:
        """Majority class, and what `compared` says."""
        train, test = data.split("train"), data.split("test")
        return majority(self, train["y"], test["y"], data.spec), *self.compared(train, test, data.spec)

    def compared(self, train: Mapping[str, Array], test: Mapping[str, Array], spec: Spec) -> tuple[Control, ...]:
        """How much the pictures change; and, where it is there, what stands still in them."""
        motion = linear("motion", self, train, test, spec, _motion)
        if self.settings.background == "removed":
            return (motion,)
        return motion, linear("mean picture", self, train, test, spec, _picture)


def linear(
    of: str, task: Base, train: Mapping[str, Array], test: Mapping[str, Array], spec: Spec, features: Features
) -> Control:
    """Logistic regression on features of each clip, at mean 0 and deviation 1 of the training split."""
    known, asked = (np.stack([features(split, row) for row in range(len(split["y"]))]) for split in (train, test))
    mean, deviation = known.mean(0), np.maximum(known.std(0), 1e-9)
    both = ((known - mean) / deviation, train["y"]), ((asked - mean) / deviation, test["y"])
    return logistic(f"logistic regression on the {of}", task, *both, spec, penalty=1.0)


def trimmed(arrays: dict[str, Array], length: int) -> dict[str, Array]:
    """Without lengths, where every clip has all its frames."""
    lengths = [f"{split}.lengths" for split in SPLITS]
    whole = all((arrays[name] == length).all() for name in lengths)
    return {name: values for name, values in arrays.items() if not (whole and name in lengths)}


def _clip(split: Mapping[str, Array], row: int) -> Array:
    """(frames, channels, size, size) float64 from 0 to 1"""
    length = split["lengths"][row] if "lengths" in split else split["x"].shape[1]
    found: Array = split["x"][row, :length] / 255.0
    return found


def _motion(split: Mapping[str, Array], row: int) -> Array:
    """Of the change from frame to frame: mean, largest, deviation over time, deviation over places; share of places."""
    change = np.abs(np.diff(_clip(split, row), axis=0)).mean(axis=1)
    each = change.mean(axis=(1, 2))
    return np.array([each.mean(), each.max(), each.std(), change.mean(axis=0).std(), (change > 0.1).mean()])


def _picture(split: Mapping[str, Array], row: int) -> Array:
    """The mean over time, and over cells of a grid."""
    mean = _clip(split, row).mean(axis=0)
    cells = (np.arange(mean.shape[1]) * GRID) // mean.shape[1]
    starts = np.searchsorted(cells, np.arange(GRID))
    sums: Array = np.add.reduceat(np.add.reduceat(mean, starts, axis=1), starts, axis=2)
    sizes = np.bincount(cells)
    return (sums / np.outer(sizes, sizes)).ravel()


def _pixels(arrays: Mapping[str, Array]) -> tuple[float, float]:
    """Mean and deviation of the pixels of real training frames, clip by clip: a split may be larger than memory."""
    x, lengths = arrays["train.x"], arrays.get("train.lengths")
    count, total, squares = 0, 0.0, 0.0
    for row, clip in enumerate(x):
        pixels = clip[: x.shape[1] if lengths is None else lengths[row]].astype(np.float64)
        count, total, squares = count + pixels.size, total + float(pixels.sum()), squares + float((pixels**2).sum())
        release(x)
    mean = total / count
    return mean, max(float(np.sqrt(max(squares / count - mean**2, 0.0))), 1e-6)
