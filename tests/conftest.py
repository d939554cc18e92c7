"""What every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_name, _value)

CLOTHING = Path(__file__).parents[2] / "shared" / "catalogs" / "clothing"


@pytest.fixture(scope="session")
def clothing() -> Path:
    """3,409 real product photos in ten categories, where they are."""
    if not CLOTHING.is_dir():
        pytest.skip("the clothing photographs are not beside the project")
    return CLOTHING
