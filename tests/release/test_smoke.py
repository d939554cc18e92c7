"""The smoke test against the real service: it follows a promotion and a rollback without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from packshot.errors import Unavailable
from packshot.release.demo import service
from packshot.release.rollback import rollback
from packshot.release.smoke import smoke
from tests.release.conftest import Shop
from tests.release.test_release import release

ROOT = Path(__file__).parents[2]


@pytest.mark.servers
def test_a_running_service_follows_promotion_and_rollback(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    first = release(shop, 1)
    with service(shop.layout) as url:
        assert smoke(shop.layout, url) == first
        second = release(shop, 2, psnr=21.0)
        assert smoke(shop.layout, url) == second
        back = rollback(shop.layout, by="bob", reason="the mugs melt")
        assert smoke(shop.layout, url) == back
        assert back.sha256 == first.sha256
        second.write(shop.layout.live)  # by hand: its epoch is past, so the service stays where the ledger is
        with pytest.raises(Unavailable, match="does not follow"):
            smoke(shop.layout, url, seconds=1.5)
