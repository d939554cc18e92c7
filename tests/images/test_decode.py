from __future__ import annotations

import os
import random
import socket
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from packshot.images.decode import MAX_BYTES, PictureError, decode, read_file
from tests.images.files import (
    animated,
    chunk,
    encode,
    gamma_profile,
    grey_cmyk_profile,
    jpeg,
    jpeg_header,
    png,
    png_of,
    product,
    rotated,
    webp,
    webp_header,
)

WHITE = (255, 255, 255)


def pixels_of(content: bytes, suffix: str | None = None, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    return decode(content, background=background, suffix=suffix).pixels


def reason_of(content: bytes, suffix: str | None = None) -> str:
    with pytest.raises(PictureError) as caught:
        decode(content, background=WHITE, suffix=suffix)
    assert caught.value.detail
    return caught.value.reason


# --- what is taken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "suffix"), [(png, ".png"), (png, ".PNG"), (webp, ".webp")])
def test_a_lossless_file_gives_its_pixels(make: Callable[[np.ndarray], bytes], suffix: str) -> None:
    picture = product(3)
    assert np.array_equal(pixels_of(make(picture), suffix), picture)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_every_kind_of_jpeg_is_taken(options: dict[str, object], suffix: str) -> None:
    picture = product(4)
    assert np.abs(pixels_of(jpeg(picture, **options), suffix).astype(int) - picture).mean() < 3


def test_sixteen_bit_grey_keeps_its_levels() -> None:
    ramp = np.arange(0, 65536, 256, dtype=np.uint16)
    content = png_of(256, 1, 16, 0, ramp.astype(">u2").tobytes())
    shown = pixels_of(content)[0, :, 0]
    assert np.array_equal(shown, np.round(ramp / 257).astype(np.uint8))
    assert len(np.unique(shown)) >= 250


def test_sixteen_bit_colour_is_divided_by_257() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    content = png_of(5, 4, 16, 2, values.astype(">u2").tobytes())
    assert np.array_equal(pixels_of(content), np.round(values / 257).astype(np.uint8))


def test_sixteen_bit_transparency_shows_the_background() -> None:
    values = np.zeros((2, 2, 4), dtype=np.uint16)
    values[0, 0] = (65535, 0, 0, 65535)
    shown = pixels_of(png_of(2, 2, 16, 6, values.astype(">u2").tobytes()), background=(10, 200, 30))
    assert shown[0, 0].tolist() == [255, 0, 0]
    assert shown[1, 1].tolist() == [10, 200, 30]


def test_sixteen_bit_grey_with_transparency_is_taken() -> None:
    values = np.array([[[65535, 65535], [30000, 0]]], dtype=np.uint16)
    shown = pixels_of(png_of(2, 1, 16, 4, values.astype(">u2").tobytes()), background=(1, 2, 3))
    assert shown[0].tolist() == [[255, 255, 255], [1, 2, 3]]


def test_hidden_colours_never_show_through_transparency() -> None:
    layers = np.zeros((8, 8, 4), dtype=np.uint8)
    layers[..., 0] = 255
    shown = pixels_of(encode(Image.fromarray(layers), "PNG"), background=(7, 8, 9))
    assert np.array_equal(shown, np.broadcast_to([7, 8, 9], (8, 8, 3)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(product(5)).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(pixels_of(encode(image, "PNG")), expected)


def test_a_palette_with_a_transparent_entry_shows_the_background() -> None:
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "L").convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    shown = pixels_of(encode(image, "PNG", transparency=0), background=(9, 9, 9))
    assert shown.tolist() == [[[9, 9, 9], [0, 0, 255]]]


def test_cmyk_without_a_profile_is_converted() -> None:
    flat = np.full((16, 16, 3), (200, 40, 60), dtype=np.uint8)
    content = encode(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=98)
    assert np.abs(pixels_of(content).astype(int) - flat).max() <= 6


def test_cmyk_goes_through_its_own_profile() -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    plain, tagged = (encode(inks, "JPEG", quality=98, **options) for options in ({}, {"icc_profile": grey_cmyk_profile()}))
    half = round(255 * (1.055 * (((50 + 16) / 116) ** 3) ** (1 / 2.4) - 0.055))  # L = 50 in sRGB
    assert np.abs(pixels_of(plain)[8, 8].astype(int) - [255, 0, 0]).max() <= 3
    assert np.abs(pixels_of(tagged)[8, 8].astype(int) - half).max() <= 3


def test_a_colour_profile_is_applied() -> None:
    flat = np.full((8, 8, 3), 128, dtype=np.uint8)
    plain, tagged = encode(flat, "PNG"), encode(flat, "PNG", icc_profile=gamma_profile(1.0))
    linear = round(255 * (1.055 * (128 / 255) ** (1 / 2.4) - 0.055))
    assert pixels_of(plain)[0, 0].tolist() == [128, 128, 128]
    assert np.abs(pixels_of(tagged).astype(int) - linear).max() <= 2


def test_a_broken_colour_profile_is_passed_over() -> None:
    picture = product(6)
    assert np.array_equal(pixels_of(encode(picture, "PNG", icc_profile=b"not a profile")), picture)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_gives_the_same_upright_picture(orientation: int) -> None:
    picture = product(7, 30, 50)
    assert np.array_equal(pixels_of(rotated(orientation, picture)), picture)


@pytest.mark.parametrize("orientation", [0, 9, 99])
def test_an_unknown_orientation_turns_nothing(orientation: int) -> None:
    picture = product(7, 30, 50)
    assert np.array_equal(pixels_of(rotated(orientation, picture)), picture)


def test_broken_exif_turns_nothing() -> None:
    picture = product(8)
    content = encode(picture, "JPEG", quality=95, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff\x01")
    assert pixels_of(content).shape == picture.shape


def test_what_phones_append_to_a_jpeg_is_taken_and_left_out() -> None:
    content = jpeg()
    expected = pixels_of(content)
    for trailer in (b"\x00" * 40, b"\x00\x00\x00\x18ftypmp42" + b"film" * 9, b"Image_UTC_Data...SEFT", jpeg(product(9))):
        assert np.array_equal(pixels_of(content + trailer), expected)


# --- what is refused ----------------------------------------------------------------------------------------------------

HOSTILE: dict[str, tuple[str, bytes | Callable[[], bytes], str | None]] = {
    "no bytes": ("EMPTY", b"", ".jpg"),
    "one byte of a JPEG": ("TRUNCATED", b"\xff", ".jpg"),
    "the start of a PNG": ("TRUNCATED", b"\x89PNG", ".png"),
    "text": ("NOT_AN_IMAGE", b"hello, this is no picture at all", ".jpg"),
    "HTML": ("NOT_AN_IMAGE", b"<!doctype html><html></html>", ".jpg"),
    "a zip": ("NOT_AN_IMAGE", b"PK\x03\x04" + b"\0" * 60, ".png"),
    "zeros": ("NOT_AN_IMAGE", b"\0" * 500, ".jpg"),
    "GIF": ("FORMAT", lambda: encode(product(), "GIF"), ".gif"),
    "animated GIF named .jpg": ("FORMAT", lambda: animated("GIF"), ".jpg"),
    "BMP": ("FORMAT", lambda: encode(product(), "BMP"), ".bmp"),
    "TIFF": ("FORMAT", lambda: encode(product(), "TIFF"), ".tif"),
    "ICO": ("FORMAT", lambda: encode(product(), "ICO"), ".ico"),
    "HEIC": ("FORMAT", b"\x00\x00\x00\x18ftypheic" + b"\0" * 64, ".jpg"),
    "AVIF": ("FORMAT", b"\x00\x00\x00\x1cftypavif" + b"\0" * 64, ".jpg"),
    "PSD": ("FORMAT", b"8BPS\x00\x01" + b"\0" * 64, ".jpg"),
    "EPS": ("FORMAT", b"%!PS-Adobe-3.0 EPSF-3.0", ".jpg"),
    "FITS": ("FORMAT", b"SIMPLE  =                    T", ".jpg"),
    "SVG": ("FORMAT", b"<svg xmlns='http://www.w3.org/2000/svg'/>", ".png"),
    "a PNG named .jpg": ("EXTENSION", png, ".jpg"),
    "a JPEG named .png": ("EXTENSION", jpeg, ".png"),
    "a WebP named .jpeg": ("EXTENSION", webp, ".jpeg"),
    "a photo without an ending": ("EXTENSION", jpeg, ""),
    "animated PNG": ("ANIMATED", lambda: animated("PNG"), ".png"),
    "animated WebP": ("ANIMATED", lambda: animated("WEBP"), ".webp"),
    "a PNG of 20000 x 20000": ("TOO_LARGE", lambda: png_of(20000, 20000, 8, 2, b""), ".png"),
    "a PNG of 1 x 2000000000": ("TOO_LARGE", lambda: png_of(1, 2_000_000_000, 8, 0, b""), ".png"),
    "a PNG of 4200 x 4200": ("TOO_LARGE", lambda: png_of(4200, 4200, 8, 0, b""), ".png"),
    "a WebP of 16383 x 16383": ("TOO_LARGE", lambda: webp_header(16383, 16383) + b"\0" * 20, ".webp"),
    "a lossless WebP of 9000 x 9000": (
        "TOO_LARGE",
        lambda: (
            b"RIFF"
            + struct.pack("<I", 30)
            + b"WEBPVP8L"
            + struct.pack("<I", 10)
            + b"\x2f"
            + struct.pack("<I", 8999 | 8999 << 14)
            + b"\0" * 13
        ),
        ".webp",
    ),
    "a JPEG of 65500 x 65500": ("TOO_LARGE", lambda: jpeg_header(65500, 65500), ".jpg"),
    "a PNG of no width": ("CORRUPT", lambda: png_of(0, 10, 8, 2, b""), ".png"),
    "a PNG without pixels": ("CORRUPT", lambda: b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), ".png"),
    "a PNG with a wrong checksum": ("CORRUPT", lambda: png().replace(b"IDAT", b"IDAT")[:-8] + b"\0\0\0\0" + png()[-4:], ".png"),
    "a PNG with too few rows": ("TRUNCATED", lambda: png_of(64, 64, 8, 2, b"\0" * (192 * 3)), ".png"),
    "a PNG and a zip": ("TRAILING", lambda: png() + b"PK\x03\x04" + b"\0" * 30, ".png"),
    "a JPEG and a zip": ("TRAILING", lambda: jpeg() + b"PK\x03\x04 attached", ".jpg"),
    "a JPEG and a script": ("TRAILING", lambda: jpeg() + b"<?php echo 1; ?>", ".jpg"),
    "a WebP and a zip": ("TRAILING", lambda: webp() + b"PK\x03\x04 attached", ".webp"),
    "a WebP cut short": ("TRUNCATED", lambda: webp()[:-20], ".webp"),
    "a WebP of an unknown kind": ("CORRUPT", lambda: webp().replace(b"VP8L", b"VP9L"), ".webp"),
    "a JPEG without its end": ("TRUNCATED", lambda: jpeg()[:-2], ".jpg"),
    "a JPEG of headers alone": ("TRUNCATED", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00", ".jpg"),
    "a JPEG without tables": ("CORRUPT", lambda: jpeg_header(16, 16), ".jpg"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_for_its_reason(name: str) -> None:
    reason, content, suffix = HOSTILE[name]
    assert reason_of(content if isinstance(content, bytes) else content(), suffix) == reason


@pytest.mark.parametrize("make", [jpeg, png, webp])
@pytest.mark.parametrize("forgiving", [False, True])
def test_a_file_cut_anywhere_is_refused(make: Callable[[], bytes], forgiving: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", forgiving)
    content = make()
    for part in range(1, 20):
        assert reason_of(content[: len(content) * part // 20]) == "TRUNCATED"


def test_a_flipped_bit_in_a_png_is_caught() -> None:
    content, chances = png(), random.Random(0)
    for _ in range(100):
        broken = bytearray(content)
        broken[chances.randrange(8, len(content))] ^= 1 << chances.randrange(8)
        reason_of(bytes(broken))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_file_is_decoded_or_refused_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([jpeg(), png(), webp()])))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PictureError):
        shown = pixels_of(bytes(content))
        assert shown.dtype == np.uint8
        assert shown.ndim == 3


def test_metadata_does_not_outlive_decoding() -> None:
    from packshot.images.sheet import encode_png

    content = rotated(6, product())
    assert b"taken at home" in content
    assert b"taken at home" not in encode_png(pixels_of(content))


# --- files --------------------------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(PictureError) as caught:
        read_file(path)
    return caught.value.reason


def test_links_pipes_sockets_and_folders_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "real.jpg").write_bytes(jpeg())
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "s.jpg"))
        found = {name: refusal(tmp_path / f"{name}.jpg") for name in ("link", "loop", "folder", "pipe", "s", "absent")}
    assert found == {
        "link": "SYMLINK",
        "loop": "SYMLINK",
        "folder": "SPECIAL_FILE",
        "pipe": "SPECIAL_FILE",
        "s": "SPECIAL_FILE",
        "absent": "UNREADABLE",
    }


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert refusal(tmp_path / "huge.jpg") == "TOO_LARGE"


def test_compressed_text_cannot_blow_up_memory() -> None:
    bomb = chunk(b"zTXt", b"comment\0\0" + zlib.compress(b"a" * 200_000_000, 9))
    assert reason_of(png_of(1, 1, 8, 0, b"\0", extra=bomb)) == "BUDGET"
