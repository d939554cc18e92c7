"""Files are the same bytes for the same pixels, lossless where they say so, and every one says that it was generated."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from packshot.images.decode import decode
from packshot.serving.encoding import ENCODINGS, encode
from packshot.serving.marks import GENERATED, Mark
from packshot.serving.requests import Format

FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp")
MARK = Mark("packshot", 7, "ab" * 32, 2**63 - 1)


def picture(size: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), dtype=np.uint8)


def read_xmp(content: bytes) -> dict[str, str]:
    """The XMP as Pillow finds it, parsed as XML: attribute names without their namespace."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
    text = packet if isinstance(packet, str) else packet.decode()
    root = ET.fromstring(text[text.index("<x:xmpmeta") : text.index("<?xpacket end")])
    description = next(root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"))
    return {name.rpartition("}")[2]: value for name, value in description.attrib.items()}


@pytest.mark.parametrize("form", FORMATS)
def test_every_picture_says_that_a_model_made_it_and_which(form: Format) -> None:
    assert read_xmp(encode(picture(32), form, MARK)) == {
        "about": "",
        "DigitalSourceType": GENERATED,
        "Model": "packshot",
        "Version": "7",
        "Digest": "ab" * 32,
        "Seed": "9223372036854775807",
    }


@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_says_what_it_was_asked_for_whatever_the_words(form: Format) -> None:
    attributes = {"colour": "a \"<b>&' žluťoučký", "price": 12.5}
    mark = replace(MARK, attributes=attributes)
    assert json.loads(read_xmp(encode(picture(16), form, mark))["Attributes"]) == attributes


def test_a_redrawn_photo_has_no_seed() -> None:
    assert "Seed" not in read_xmp(encode(picture(16), "png", Mark("packshot", 7, "ab" * 32, None)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [16, 32, 64, 256])
def test_a_file_opens_in_pillow_opencv_and_packshots_own_strict_decoder(form: Format, size: int) -> None:
    pixels = picture(size, seed=size)
    content = encode(pixels, form, MARK)
    with Image.open(io.BytesIO(content)) as image:
        by_pillow = np.asarray(image.convert("RGB"))
        assert image.format == form.upper()
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    by_packshot = decode(content, background=(255, 255, 255)).pixels
    if form == "jpeg":
        for again in (by_pillow, by_opencv, by_packshot):
            assert np.abs(again.astype(int) - pixels).mean() < 2
    else:
        for again in (by_pillow, by_opencv, by_packshot):
            np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_pixels_are_the_same_bytes(form: Format) -> None:
    assert encode(picture(64), form, MARK) == encode(picture(64).copy(), form, MARK)


@pytest.mark.parametrize("form", FORMATS)
def test_a_mark_costs_less_than_a_kilobyte(form: Format) -> None:
    encoding = ENCODINGS[form]
    bare = cv2.imencode(encoding.extension, picture(64)[..., ::-1], encoding.settings)[1]
    assert 0 < len(encode(picture(64), form, MARK)) - len(bare) < 1024
