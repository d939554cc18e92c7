"""The registry on a real server: the same acts over HTTP, and bytes that somebody changed there."""

from __future__ import annotations

import urllib.request

import pytest

from packshot.adapters.registry import Registry
from packshot.errors import IntegrityError, Unavailable
from packshot.records import Live
from packshot.release.promote import promote
from packshot.release.register import register
from packshot.release.review import review
from packshot.release.rollback import rollback
from packshot.release.status import status
from tests.adapters.conftest import Server
from tests.release.conftest import Shop


@pytest.mark.servers
def test_a_release_over_http_trusts_digests_and_outlives_the_server(
    shop: Shop, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    server.start()
    params = shop.params()
    shop.train(1)
    first = register(params, shop.layout)
    assert register(params, shop.layout) == first
    review(params, shop.layout, by="ada")
    promote(params, shop.layout, by="ada")
    shop.train(2, psnr=21.0)
    second = register(params, shop.layout)
    review(params, shop.layout, by="ada")

    candidate = Registry(shop.layout, "packshot").at("candidate")
    assert candidate is not None
    client = Registry(shop.layout, "packshot").tracking.connect()
    place = client.get_logged_model(candidate.source.removeprefix("models:/")).artifact_location
    address = f"{server.uri}/api/2.0/mlflow-artifacts/artifacts/{place.removeprefix('mlflow-artifacts:/')}/weights.safetensors"
    with urllib.request.urlopen(address) as answer:
        weights = answer.read()
    urllib.request.urlopen(urllib.request.Request(address, data=weights[:-1] + b"!", method="PUT")).close()
    with pytest.raises(IntegrityError, match=r"weights\.safetensors in the registry"):
        promote(params, shop.layout, by="eve")
    assert Live.read(shop.layout.live).version == first.version
    urllib.request.urlopen(urllib.request.Request(address, data=weights, method="PUT")).close()
    assert promote(params, shop.layout, by="ada").version == second.version
    assert status(shop.layout).alias == second.version

    server.kill()
    with pytest.raises(Unavailable):
        register(params, shop.layout)
    assert rollback(shop.layout, by="bob", reason="the mugs melt").version == first.version
    assert Live.read(shop.layout.live).version == first.version
