"""Small catalogues on disk, and the params that go with them."""

from __future__ import annotations

from pathlib import Path

from packshot.params import Params, load_params
from packshot.sources.folder import Folder
from tests.images.files import jpeg, png, product

PARAMS = Path(__file__).parents[1] / "params.yaml"


def small_params(**changes: dict[str, object]) -> Params:
    """The tests' params, with a tree of files as the source; changes are fields by section: small_params(ingest={"side": 64})."""
    params = load_params(PARAMS)
    changes["ingest"] = {"source": Folder(kind="folder", path="data/catalog"), **changes.get("ingest", {})}
    sections = {name: getattr(params, name).model_copy(update=update) for name, update in changes.items()}
    return params.model_copy(update=sections)


def write_catalogue(folder: Path, *, categories: tuple[str, ...] = ("hat", "shoe"), photos: int = 60) -> None:
    """`photos` different pictures of each category, PNG and JPEG by turns."""
    for number, category in enumerate(categories):
        (folder / category).mkdir(parents=True, exist_ok=True)
        for index in range(photos):
            pixels = product(1000 * number + index, 40, 48)
            name, content = (f"{index:03d}.jpg", jpeg(pixels)) if index % 2 else (f"{index:03d}.png", png(pixels))
            (folder / category / name).write_bytes(content)
