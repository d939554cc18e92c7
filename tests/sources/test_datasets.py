from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, FashionMNIST

from packshot.errors import DataRejected, Unavailable
from packshot.images.decode import Recipe
from packshot.images.labelled import load_labelled
from packshot.records import BadPhoto
from packshot.sources.base import Photo
from packshot.sources.datasets import Torchvision
from packshot.sources.intake import Intake, take

CHANCES = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever asks for the network meets a closed port."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def write_idx(root: Path, split: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    """FashionMNIST's files (the format of MNIST: a magic number, sizes, bytes)."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for other in ("train", "t10k"):
        for kind, values in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", labels)):
            values = values if other == split else values[:1]
            head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            (folder / f"{other}-{kind}").write_bytes(head + values.tobytes())


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, labels: list[int]) -> None:
    """CIFAR10's files, and torchvision's list of checksums with theirs: those of the real ones cannot be met by others."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    planes = pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)
    files = {"test_batch": {"data": planes[:1], "labels": labels[:1]}}
    for number in range(5):
        files[f"data_batch_{number + 1}"] = {"data": planes[number::5], "labels": labels[number::5]}
    sums = {}
    for name, content in {**files, "batches.meta": {"label_names": [f"class {index}" for index in range(10)]}}.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in sorted(files) if name != "test_batch"])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})


def photos(source: Torchvision, root: Path) -> list[Photo]:
    items = list(source.photos(root))
    assert not any(isinstance(item, BadPhoto) for item in items)
    return [item for item in items if isinstance(item, Photo)]


def drawn(photo: Photo) -> np.ndarray:
    assert callable(photo.content)
    return pickle.loads(pickle.dumps(photo.content))()


def test_fashion_mnist_is_read_from_its_own_files(tmp_path: Path) -> None:
    pixels = CHANCES.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    write_idx(tmp_path / "sets", "train", pixels, labels)
    source = Torchvision(kind="torchvision", name="FashionMNIST", path="sets")
    found = photos(source, tmp_path)
    assert [photo.category for photo in found] == [FashionMNIST.classes[label] for label in labels]
    assert [photo.name for photo in found][:2] == ["T-shirt/top/train-000000.png", "Trouser/train-000001.png"]
    for photo, grey in zip(found, pixels, strict=True):
        assert np.array_equal(drawn(photo), np.stack([grey] * 3, axis=2))
    few = photos(source.model_copy(update={"count": 5}), tmp_path)
    assert [photo.name for photo in few] == [photo.name for photo in found[:5]]
    assert source.describe() == "torchvision FashionMNIST, train"


def test_the_test_split_has_names_of_its_own(tmp_path: Path) -> None:
    write_idx(tmp_path, "t10k", CHANCES.integers(0, 256, (3, 28, 28), dtype=np.uint8), np.zeros(3, np.uint8))
    source = Torchvision(kind="torchvision", name="FashionMNIST", path=".", split="test")
    assert [photo.name for photo in photos(source, tmp_path)] == [f"T-shirt/top/test-{index:06d}.png" for index in range(3)]


def test_cifar_is_read_in_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = CHANCES.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    write_cifar(tmp_path, monkeypatch, pixels, list(range(10)))
    found = photos(Torchvision(kind="torchvision", name="CIFAR10", path="."), tmp_path)
    order = [index for number in range(5) for index in range(number, 10, 5)]
    assert [photo.category for photo in found] == [f"class {index}" for index in order]
    for photo, index in zip(found, order, strict=True):
        assert np.array_equal(drawn(photo), pixels[index])


def test_what_intake_finds_is_what_was_announced(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", CHANCES.integers(0, 256, (2, 28, 28), dtype=np.uint8), np.zeros(2, np.uint8))
    for photo in photos(Torchvision(kind="torchvision", name="FashionMNIST", path="."), tmp_path):
        taken = take(photo, Recipe(32, "#ffffff"))
        assert isinstance(taken, Intake)
        assert taken.sha256 == photo.sha256


def test_without_files_and_network_it_is_said_what_to_do(tmp_path: Path) -> None:
    for name in ("FashionMNIST", "CIFAR10", "SVHN", "STL10"):
        with pytest.raises(Unavailable, match=rf"{name} is not whole.*run it once where there is a network") as caught:
            list(Torchvision(kind="torchvision", name=name, path="sets").photos(tmp_path))
        assert caught.value.exit_code == 20


def test_files_whose_checksums_are_wrong_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, np.zeros((10, 32, 32, 3), np.uint8), [0] * 10)
    victim = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    proof = tmp_path / "proof"
    victim.write_bytes(b"cos\nsystem\n(S'touch " + str(proof).encode() + b"'\ntR.")
    with pytest.raises(Unavailable, match="CIFAR10 is not whole"):
        load_labelled("CIFAR10", tmp_path, "train")
    assert not proof.exists()


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03", b"words", gzip.compress(b"x")])
def test_damaged_files_are_told(tmp_path: Path, content: bytes) -> None:
    write_idx(tmp_path, "train", np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8))
    (tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises((DataRejected, Unavailable), match="FashionMNIST"):
        load_labelled("FashionMNIST", tmp_path, "train")


def test_a_label_without_a_class_is_told(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", np.zeros((2, 28, 28), np.uint8), np.array([0, 11], np.uint8))
    with pytest.raises(DataRejected, match="labels of 10 classes"):
        load_labelled("FashionMNIST", tmp_path, "train")
