"""Decoding and fitting a photo at ingest, against Pillow at the same pixels; writes benchmarks/decode.md.

    python benchmarks/decode.py [--photos FOLDER] [--count N] [--rounds N]

Without FOLDER the built-in catalogue is drawn and saved as JPEG. One thread, CPU seconds; every round runs every variant over all
photos, one variant after the other, and the ratio is the median of the rounds' ratios. Larger photos are the same, enlarged.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from packshot.images.decode import decode
from packshot.images.resize import fit_within
from packshot.images.sheet import encode_png
from packshot.sources.synthetic import Synthetic

Pixels = NDArray[np.uint8]

SIDE = 128
WHITE = (255, 255, 255)
LARGER = ((600, 800), (800, 1067), (1500, 2000))
PROGRESSIVE = 40


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--photos", type=Path, help="JPEGs, in folders or not")
    options.add_argument("--count", type=int, default=280, help="photos at most, evenly taken")
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()
    cv2.setNumThreads(1)
    photos = {"the built-in catalogue": draw(chosen.count)}
    if chosen.photos:
        photos["photos of a folder"] = read(chosen.photos, chosen.count)
    lines = ["# Decoding a photo", "", machine(), "", *decoding(photos, chosen.rounds), "", *storing(photos, chosen.rounds), ""]
    text = "\n".join(lines)
    print(text)
    Path(__file__).with_suffix(".md").write_text(text)


def machine() -> str:
    return (
        f"One thread of {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, Pillow {PIL.__version__}, "
        f"OpenCV {cv2.__version__}, NumPy {np.__version__}."
    )


def draw(count: int) -> list[bytes]:
    source = Synthetic(kind="synthetic", path="src/packshot/sources/rendering", count=count, seed=7, size=256)
    return [to_jpeg(Image.fromarray(photo.content()).crop((32, 0, 224, 256))) for photo in source.photos(Path.cwd())]


def read(folder: Path, count: int) -> list[bytes]:
    files = sorted(folder.rglob("*.jpg"))
    return [file.read_bytes() for file in files[:: max(1, len(files) // count)]][:count]


def to_jpeg(image: Image.Image, *, progressive: bool = False) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=90, progressive=progressive)
    return sink.getvalue()


def enlarge(content: bytes, width: int, height: int, *, progressive: bool = False) -> bytes:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return to_jpeg(image.resize((width, height), Image.Resampling.BICUBIC), progressive=progressive)


# --- decoding ---------------------------------------------------------------------------------------------------------------


def pillow(content: bytes) -> Pixels:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def packshot(content: bytes) -> Pixels:
    return fit_within(decode(content, background=WHITE, suffix=".jpg").pixels, SIDE)


def decoding(photos: dict[str, list[bytes]], rounds: int) -> list[str]:
    lines = [
        f"To at most {SIDE} x {SIDE}, bicubic, antialiased; packshot's time includes every check of the file's structure.",
        "",
        "| photos | size | kB each | Pillow, ms | packshot, ms | ratio | PSNR, dB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, group in photos.items():
        kinds = [("as they are", group)]
        for width, height in LARGER:
            some = group[:: max(1, len(group) * width * height // (280 * 192 * 256))][:60]
            kinds.append((f"{width} x {height}", [enlarge(content, width, height) for content in some]))
        kinds.append(
            ("192 x 256, progressive", [enlarge(content, 192, 256, progressive=True) for content in group[:PROGRESSIVE]])
        )
        for size, some in kinds:
            (slow, fast), ratios = race([pillow, packshot], some, rounds)
            error = np.mean([np.mean(np.square(pillow(one).astype(float) - packshot(one))) for one in some])
            psnr = f"{10 * np.log10(255**2 / error):.1f}" if error else "same"
            ratio = f"{statistics.median(ratios[1]):.2f}"
            weight = np.mean([len(one) for one in some]) / 1000
            lines.append(f"| {name} | {size} | {weight:.0f} | {slow:.3f} | {fast:.3f} | {ratio} | {psnr} |")
            print(lines[-1], flush=True)
    return lines


def race(variants: list[Callable[[bytes], object]], photos: list[bytes], rounds: int) -> tuple[list[float], list[list[float]]]:
    """Milliseconds a photo of each variant's best round, and per round how many times as fast as the first each was."""
    for variant in variants:
        for content in photos:
            variant(content)
    spent: list[list[float]] = [[] for _ in variants]
    for _ in range(rounds):
        for variant, times in zip(variants, spent, strict=True):
            start = time.process_time()
            for content in photos:
                variant(content)
            times.append((time.process_time() - start) / len(photos) * 1000)
    return [min(times) for times in spent], [[a / b for a, b in zip(spent[0], times, strict=True)] for times in spent]


# --- storing ----------------------------------------------------------------------------------------------------------------


def with_opencv(strategy: int, row_filter: int, level: int = 1) -> Callable[[bytes], bytes]:
    flags = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_STRATEGY, strategy, cv2.IMWRITE_PNG_FILTER, row_filter]

    def encode(pixels: bytes) -> bytes:
        return bytes(cv2.imencode(".png", cv2.cvtColor(_as_picture(pixels), cv2.COLOR_RGB2BGR), flags)[1])

    return encode


def with_pillow(level: int) -> Callable[[bytes], bytes]:
    def encode(pixels: bytes) -> bytes:
        sink = io.BytesIO()
        Image.fromarray(_as_picture(pixels)).save(sink, "PNG", compress_level=level)
        return sink.getvalue()

    return encode


def _as_picture(pixels: bytes) -> Pixels:
    height, width = int.from_bytes(pixels[:2], "big"), int.from_bytes(pixels[2:4], "big")
    return np.frombuffer(pixels, np.uint8, offset=4).reshape(height, width, 3)


def storing(photos: dict[str, list[bytes]], rounds: int) -> list[str]:
    variants: dict[str, Callable[[bytes], bytes]] = {
        "packshot: Up, Huffman": lambda pixels: encode_png(_as_picture(pixels)),
        "OpenCV, Sub, runs (its default)": with_opencv(cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER_SUB),
        "OpenCV, Up, runs": with_opencv(cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER_UP),
        "OpenCV, Paeth, runs": with_opencv(cv2.IMWRITE_PNG_STRATEGY_RLE, cv2.IMWRITE_PNG_FILTER_PAETH),
        "OpenCV, Paeth, Huffman": with_opencv(cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY, cv2.IMWRITE_PNG_FILTER_PAETH),
        "OpenCV, Up, level 1": with_opencv(cv2.IMWRITE_PNG_STRATEGY_DEFAULT, cv2.IMWRITE_PNG_FILTER_UP),
        "OpenCV, Paeth, level 6": with_opencv(cv2.IMWRITE_PNG_STRATEGY_DEFAULT, cv2.IMWRITE_PNG_FILTER_PAETH, 6),
        "Pillow, level 1": with_pillow(1),
        "Pillow, level 6": with_pillow(6),
    }
    lines = [
        f"The stored photo as PNG, {SIDE} pixels a side, lossless.",
        "",
        "| photos | encoder | kB each | ms | times as fast as packshot's |",
        "|---|---|---:|---:|---:|",
    ]
    for name, group in photos.items():
        fitted = [packshot(content) for content in group[::3]]
        packed = [np.array(one.shape[:2], ">u2").tobytes() + one.tobytes() for one in fitted]
        best, ratios = race(list(variants.values()), packed, rounds)
        for (encoder, encode), spent, ratio in zip(variants.items(), best, ratios, strict=True):
            weight = np.mean([len(encode(one)) for one in packed]) / 1000
            lines.append(f"| {name} | {encoder} | {weight:.1f} | {spent:.3f} | {statistics.median(ratio):.2f} |")
            print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
