"""Tensors written one after the other are the bytes that safetensors itself writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from packshot.models.tensors import DTYPES, write_tensors

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8).filter(
    lambda name: name != "__metadata__"
)
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@given(st.dictionaries(NAMES, st.tuples(SHAPES, st.sampled_from(sorted(DTYPES, key=str))), max_size=6), NAMES)
def test_the_bytes_are_those_of_safetensors(tmp_path_factory, wanted, note: str) -> None:  # type: ignore[no-untyped-def]
    tensors = {name: torch.randint(0, 2, shape).to(dtype) for name, (shape, dtype) in wanted.items()}
    path = tmp_path_factory.getbasetemp() / "tensors.safetensors"
    digest = write_tensors(path, tensors, "packshot", note)
    assert path.read_bytes() == save(tensors, metadata={"packshot": note})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_how_a_tensor_lies_in_memory_changes_nothing(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 3, 3)
    first = write_tensors(tmp_path / "a", {"weight": weight}, "packshot", "")
    second = write_tensors(tmp_path / "b", {"weight": weight.to(memory_format=torch.channels_last)}, "packshot", "")
    assert first == second


def test_a_sealed_file_carries_its_digest_in_its_name(tmp_path: Path) -> None:
    digest = write_tensors(tmp_path / "state-3.safetensors", {"weight": torch.ones(2)}, "packshot", "", seal=True)
    (path,) = tmp_path.iterdir()
    assert path.name == f"state-3-{digest}.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
