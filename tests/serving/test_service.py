"""The service as a shop's developer meets it: a real BentoML server over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from packshot.images.conditions import encode_wish
from packshot.serving.engine import Engine, Wish
from tests.serving.conftest import SLOW, Service, port_is_free, wait_until
from tests.serving.shelf import CATEGORIES, CONDITIONS, DIGEST
from tests.serving.test_encoding import read_xmp

pytestmark = pytest.mark.servers

JSON = {"Content-Type": "application/json"}


def generate(client: httpx.Client, **fields: object) -> httpx.Response:
    return client.post("/generate", json=fields)


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def png(size: tuple[int, int] = (40, 30)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


# --- pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "media_type"), [("png", "image/png"), ("jpeg", "image/jpeg"), ("webp", "image/webp")])
def test_one_picture_is_answered_as_itself(service: Service, form: str, media_type: str) -> None:
    with service.client() as client:
        answer = generate(client, category="dress", seed=5, format=form)
    assert (answer.status_code, answer.headers["content-type"], answer.headers["x-packshot-seed"]) == (200, media_type, "5")
    assert pixels(answer.content).shape == (16, 16, 3)


def test_the_picture_is_the_one_that_the_model_draws(service: Service) -> None:
    engine = Engine.load(service.shelf.record(service.shelf_version(), 1))
    with service.client() as client:
        for category, name in enumerate(CATEGORIES):
            answer = generate(client, category=name, seed=2**63 - 1)
            np.testing.assert_array_equal(pixels(answer.content), engine.draw([Wish(category, 2**63 - 1)])[0])


def test_several_pictures_are_answered_as_json_and_each_can_be_asked_for_alone(service: Service) -> None:
    with service.client() as client:
        answer = generate(client, category="mug", seed=100, count=20)
        body = answer.json()
        assert [image["seed"] for image in body["images"]] == list(range(100, 120))
        assert body["digest"] == answer.headers["x-packshot-digest"]
        for image in body["images"]:
            alone = generate(client, category="mug", seed=image["seed"])
            assert alone.content == base64.b64decode(image["data"])


def test_one_picture_comes_as_json_to_a_caller_that_accepts_json(service: Service) -> None:
    with service.client() as client:
        body = client.post("/generate", json={"category": "mug"}, headers={"Accept": "application/json"}).json()
        (image,) = body["images"]
        assert 0 <= image["seed"] < 2**53
        assert generate(client, category="mug", seed=image["seed"]).content == base64.b64decode(image["data"])


def test_the_same_request_gives_the_same_bytes_alone_and_in_a_crowd(service: Service) -> None:
    wishes = [(CATEGORIES[at % 4], 7000 + at) for at in range(40)]
    with service.client() as client:

        def redraw() -> bytes:
            return client.post("/reconstruct?category=boot", content=png(), headers={"Content-Type": "image/png"}).content

        for version in (2, 1):
            service.promote(version)
            alone, redrawn = [generate(client, category=category, seed=seed).content for category, seed in wishes], redraw()
            with ThreadPoolExecutor(12) as crowd:
                noise = [crowd.submit(generate, client, category="mug", count=9) for _ in range(10)]
                photos = [crowd.submit(redraw) for _ in range(4)]
                together = list(crowd.map(lambda wish: generate(client, category=wish[0], seed=wish[1]).content, wishes * 3))
                assert all(answer.result().status_code == 200 for answer in noise)
                assert [photo.result() for photo in photos] == [redrawn] * 4
            assert together == alone * 3
            assert len(set(alone)) == 40


def test_every_answer_names_the_model(service: Service) -> None:
    live = service.shelf.record(service.shelf_version(), service.epoch)
    with service.client() as client:
        answers = [
            generate(client, category="dress"),
            generate(client, category="nothing"),
            client.get("/"),
            client.get("/describe"),
            client.get("/readyz"),
            client.get("/livez"),
            client.get("/metrics"),
            client.get("/nowhere"),
        ]
    for answer in answers:
        assert answer.headers["x-packshot-model"] == "packshot"
        assert answer.headers["x-packshot-version"] == str(live.version)
        assert answer.headers["x-packshot-digest"] == live.sha256
        assert answer.headers["x-packshot-epoch"] == str(live.epoch)
        assert len(answer.headers["x-request-id"]) == 16


def test_the_service_describes_its_model(service: Service) -> None:
    with service.client() as client:
        card = client.get("/describe").json()
    assert card["categories"] == list(CATEGORIES)
    assert card["epoch"] == service.epoch
    assert (card["dataset"], card["image"]) == (DIGEST, {"size": 16, "channels": 3})
    assert card["scores"][0]["metric"] == "psnr"


def test_the_page_fetches_nothing_from_elsewhere(service: Service) -> None:
    with service.client() as client:
        answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


# --- attributes -----------------------------------------------------------------------------------------------------------


def test_pictures_are_drawn_as_they_are_asked_for_and_say_so(service: Service) -> None:
    service.promote(4)
    try:
        engine = Engine.load(service.shelf.record(4, 1))
        with service.client() as client:
            card = client.get("/describe").json()
            assert [(told["name"], told["values"]) for told in card["conditions"]] == [
                (told.name, list(told.values)) for told in CONDITIONS
            ]
            seen = set()
            for attributes in ({}, {"colour": "navy"}, {"colour": 'red & "white"', "price": 12}, {"colour": "weiß"}):
                answer, again = (generate(client, category="mug", seed=5, attributes=attributes) for _ in range(2))
                assert answer.status_code == 200, answer.text
                assert answer.content == again.content
                told = tuple(encode_wish(CONDITIONS, attributes).tolist())
                np.testing.assert_array_equal(pixels(answer.content), engine.draw([Wish(2, 5, told)])[0])
                mark = read_xmp(answer.content)
                assert json.loads(mark.get("Attributes", "{}")) == attributes
                seen.add(pixels(answer.content).tobytes())
            assert len(seen) == 4
            assert (
                generate(client, category="mug", seed=5).content
                == generate(client, category="mug", seed=5, attributes={}).content
            )
            several = generate(client, category="mug", seed=5, count=3, attributes={"price": 12, "colour": "navy"}).json()
            assert several["attributes"] == {"colour": "navy", "price": 12}
            alone = generate(client, category="mug", seed=6, attributes={"colour": "navy", "price": 12})
            assert alone.content == base64.b64decode(several["images"][1]["data"])
    finally:
        service.promote(1)


def test_what_no_picture_can_be_asked_for_is_refused_with_what_there_is(service: Service) -> None:
    service.promote(4)
    try:
        with service.client() as client:
            for attributes, field, allowed in (
                ({"material": "wool"}, "attributes", ["colour", "price"]),
                ({"colour": "green"}, "attributes.colour", list(CONDITIONS[0].values)),
                ({"colour": 3}, "attributes.colour", list(CONDITIONS[0].values)),
                ({"price": "cheap"}, "attributes.price", ["a number"]),
            ):
                answer = generate(client, category="mug", attributes=attributes)
                body = answer.json()
                assert (answer.status_code, body["field"], body["allowed"]) == (422, field, allowed)
    finally:
        service.promote(1)
    with service.client() as client:
        answer = generate(client, category="mug", attributes={"colour": "navy"})
        assert answer.status_code == 422
        assert "knows none" in answer.json()["detail"]


# --- redrawing ------------------------------------------------------------------------------------------------------------


def test_a_photo_is_redrawn_by_both_families(service: Service) -> None:
    with service.client() as client:
        for version in (2, 1):
            service.promote(version)
            answers = [
                client.post("/reconstruct", params={"category": "boot"}, content=png(), headers={"Content-Type": "image/png"})
                for _ in range(2)
            ]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].content == answers[1].content
            assert pixels(answers[0].content).shape == (16, 16, 3)
            assert "x-packshot-seed" not in answers[0].headers


def bomb() -> bytes:
    """The header of a PNG of 20,000 x 20,000, and no more."""
    header = bytearray(png()[:33])
    header[16:24] = (20_000).to_bytes(4, "big") * 2
    return bytes(header) + png()[33:]


def frames() -> bytes:
    file = io.BytesIO()
    frame = Image.fromarray(pixels(png()))
    frame.save(file, "WEBP", save_all=True, append_images=[frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        png()[:-40],
        png()[:20],
        png() + b"PK\x03\x04zip",
        bomb(),
        frames(),
        b"GIF89a" + bytes(50),
        b"\xff\xd8\xff",
        bytes(4096),
    ],
    ids=["empty", "text", "cut", "header", "polyglot", "bomb", "animated", "gif", "jpeg", "zeros"],
)
@pytest.mark.parametrize("declared", ["image/png", "image/webp"])
def test_a_hostile_photo_is_refused_in_words(service: Service, content: bytes, declared: str) -> None:
    with service.client() as client:
        answer = client.post("/reconstruct", params={"category": "boot"}, content=content, headers={"Content-Type": declared})
    assert answer.status_code == 422
    assert answer.json()["field"] == "body"
    assert "Traceback" not in answer.text


# --- refusals -------------------------------------------------------------------------------------------------------------

GOOD = b'{"category": "mug"}'
REFUSALS: list[tuple[str, str, dict[str, str], bytes, int]] = [
    ("POST", "/generate", JSON, b"{", 400),
    ("POST", "/generate", JSON, b"\xff", 400),
    ("POST", "/generate", JSON, b'{"category": "mug", "category": "mug"}', 400),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": NaN}', 400),
    ("POST", "/generate", JSON, b"[" * 60_000, 400),
    ("POST", "/generate", JSON, b'{"category": "\\ud800"}', 400),
    ("POST", "/generate", JSON, b"", 400),
    ("POST", "/generate", JSON, b"[]", 422),
    ("POST", "/generate", JSON, b"{}", 422),
    ("POST", "/generate", JSON, b'{"category": "boots"}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "count": 0}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "count": 600}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "count": 1000000000}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": -1}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": 9223372036854775808}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": ' + b"9" * 5000 + b"}", 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": true}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": "5"}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": 5.0}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "seed": 1e999}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "format": "gif"}', 422),
    ("POST", "/generate", JSON, b'{"category": "mug", "size": 4}', 422),
    ("POST", "/generate", JSON, b'{"category": "' + b"x" * 70_000 + b'"}', 413),
    ("POST", "/generate", {}, GOOD, 415),
    ("POST", "/generate", {"Content-Type": "text/plain"}, GOOD, 415),
    ("POST", "/generate", {"Content-Type": "application/x-www-form-urlencoded"}, b"category=mug", 415),
    ("POST", "/generate", {"Content-Type": "multipart/form-data"}, GOOD, 415),
    ("POST", "/generate", {"Content-Type": "application/json; charset=utf-16"}, GOOD, 415),
    ("POST", "/generate", {**JSON, "Content-Encoding": "gzip"}, GOOD, 415),
    ("POST", "/generate", {**JSON, "Host": "evil.example"}, GOOD, 421),
    ("POST", "/generate", {**JSON, "Host": "127.0.0.1.evil.example:80"}, GOOD, 421),
    ("POST", "/generate", {**JSON, "Host": "127.0.0.1@evil.example"}, GOOD, 421),
    ("GET", "/metrics", {"Host": "evil.example"}, b"", 421),
    ("GET", "/livez", {"Host": "evil.example"}, b"", 421),
    ("POST", "/generate", {**JSON, "Origin": "https://evil.example"}, GOOD, 403),
    ("POST", "/generate", {**JSON, "Origin": "null"}, GOOD, 403),
    ("GET", "/generate", {}, b"", 405),
    ("PUT", "/reconstruct", {}, b"", 405),
    ("POST", "/describe", JSON, GOOD, 405),
    ("POST", "/livez", JSON, GOOD, 404),
    ("GET", "/docs.json", {}, b"", 404),
    ("GET", "/schema.json", {}, b"", 404),
    ("GET", "/static_content/index.css", {}, b"", 404),
    ("GET", "/generate/", {}, b"", 404),
    ("GET", "/../../etc/passwd", {}, b"", 404),
    ("POST", "/reconstruct?category=mug", JSON, GOOD, 415),
    ("POST", "/reconstruct?category=mug", {"Content-Type": "multipart/form-data"}, GOOD, 415),
    ("POST", "/reconstruct?category=mug", {"Content-Type": "image/svg+xml"}, GOOD, 415),
    ("POST", "/reconstruct", {"Content-Type": "image/png"}, png(), 422),
    ("POST", "/reconstruct?category=boots", {"Content-Type": "image/png"}, png(), 422),
    ("POST", "/reconstruct?category=mug&category=mug", {"Content-Type": "image/png"}, png(), 400),
    ("POST", "/reconstruct?category=mug", {"Content-Type": "image/png"}, bytes(9 * 1024 * 1024), 413),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status"), REFUSALS)
def test_a_bad_request_is_a_problem_in_words(
    service: Service, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    with service.client() as client:
        answer = client.request(method, path, headers=headers, content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"] == "about:blank"
    assert "server" not in answer.headers
    assert len(answer.text) < 1000
    for leak in ("Traceback", "pydantic", "starlette", "bentoml", str(Path.cwd()), "x" * 65):
        assert leak.lower() not in answer.text.lower()
    if status == 405:
        assert answer.headers["allow"]
    if b"boots" in body or "boots" in path:
        assert problem["allowed"] == list(CATEGORIES)


def test_a_name_from_the_list_of_hosts_is_answered_to(service: Service) -> None:
    with service.client() as client:
        for host in ("shop.example", "shop.example:8080", "LOCALHOST", f"127.0.0.1:{service.port}", "[::1]:80"):
            assert generate_as(client, {"Host": host}) == 200
        assert generate_as(client, {"Host": "shop.example", "Origin": "https://shop.example"}) == 200


def generate_as(client: httpx.Client, headers: dict[str, str]) -> int:
    return client.post("/generate", content=GOOD, headers={**JSON, **headers}).status_code


def test_a_body_without_a_declared_length_is_read_within_the_same_bounds(service: Service) -> None:
    with service.client() as client:
        assert client.post("/generate", content=iter([GOOD[:5], GOOD[5:]]), headers=JSON).status_code == 200
        try:
            answer = client.post("/generate", content=(b"x" * 10_000 for _ in range(1000)), headers=JSON)
            assert answer.status_code == 413
        except httpx.WriteError:
            pass  # the service has hung up before the client was done: as good a refusal


def test_a_service_that_was_refused_a_hundred_times_still_draws(service: Service) -> None:
    with service.client() as client:
        for _ in range(100):
            assert client.post("/generate", content=b'{"category": "mug", "count": 65}', headers=JSON).status_code == 422
        assert generate(client, category="mug").status_code == 200


def test_the_log_has_a_line_for_a_request_and_no_line_of_a_callers_own(service: Service) -> None:
    with service.client() as client:
        request_id = client.get("/a%0d%0aFAKE%1b[31m").headers["x-request-id"]
    wait_until(lambda: request_id in service.log.read_text(), "the request is logged")
    (line,) = [line for line in service.log.read_text().splitlines() if request_id in line]
    assert "GET /a%0d%0aFAKE%1b[31m" in line
    assert "404" in line


# --- load and swaps -------------------------------------------------------------------------------------------------------


def test_models_are_swapped_under_load_without_a_failed_or_mixed_answer(service: Service) -> None:
    promised = {}
    for version in (1, 2):
        live = service.shelf.record(version, 1)
        engine = Engine.load(live)
        promised[live.sha256] = {seed: engine.draw([Wish(0, seed)])[0] for seed in range(8)}
    stop = threading.Event()

    def load() -> list[str]:
        faults, epoch = [], 0
        with service.client() as client:
            while not stop.is_set():
                for seed in range(8):
                    answer = generate(client, category=CATEGORIES[0], seed=seed)
                    if answer.status_code != 200:
                        faults.append(f"{answer.status_code} {answer.text}")
                        continue
                    if not np.array_equal(pixels(answer.content), promised[answer.headers["x-packshot-digest"]][seed]):
                        faults.append(f"seed {seed} is not the picture of the model in the header")
                    if (now := int(answer.headers["x-packshot-epoch"])) < epoch:
                        faults.append(f"epoch {now} after {epoch}")
                    epoch = now
        return faults

    with ThreadPoolExecutor(4) as crowd:
        loads = [crowd.submit(load) for _ in range(4)]
        try:
            for swap in range(8):
                service.promote(1 + (swap + 1) % 2)
        finally:
            stop.set()
        assert [future.result(60) for future in loads] == [[], [], [], []]


def test_a_bad_candidate_leaves_the_served_model_and_is_told_about(service: Service) -> None:
    before = service.promote(1)
    failures = service.metric("packshot_swap_failures_total")
    service.epoch += 1
    bad = service.shelf.record(1, service.epoch).model_copy(update={"sha256": "0" * 64})
    bad.write(service.shelf.live)
    with service.client() as client:
        wait_until(lambda: "failed" in client.get("/readyz").json(), "the failure is told")
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert "another version" in answer.json()["failed"]["reason"]
        assert generate(client, category="mug").headers["x-packshot-digest"] == before
        time.sleep(0.6)  # two more looks: a failure is not tried again
        assert service.metric("packshot_swap_failures_total") == failures + 1
        assert service.metric("packshot_candidate_failed") == 1
        service.promote(1)
        assert "failed" not in client.get("/readyz").json()
    assert service.log.read_text().count(f"epoch {bad.epoch}, 000000000000") == 1


def test_a_flood_is_refused_with_a_time_to_come_back_and_health_stays_up(service: Service) -> None:
    service.promote(3)
    try:
        with service.client() as client, ThreadPoolExecutor(14) as crowd:
            flood = [crowd.submit(generate, client, category="mug", count=64, seed=at) for at in range(12)]
            assert client.get("/livez").status_code == 200
            answers = [future.result(120) for future in flood]
            assert {answer.status_code for answer in answers} == {200, 503}
            for answer in answers:
                if answer.status_code == 503:
                    assert int(answer.headers["retry-after"]) >= 1
            assert generate(client, category="mug").status_code == 200
    finally:
        service.promote(1)


def test_work_for_a_client_that_left_is_given_up(service: Service) -> None:
    service.promote(3)
    try:
        before = service.metric('packshot_requests_total{route="generate",status="499"}')
        body = json.dumps({"category": "mug", "count": 64}).encode()
        request = (
            f"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                client.sendall(request.encode() + body)
                wait_until(lambda: service.metric("packshot_queue_pictures") > 0, "the pictures are queued")
        wait_until(
            lambda: service.metric('packshot_requests_total{route="generate",status="499"}') == before + 3,
            "the leaving is noticed",
        )
        wait_until(lambda: service.metric("packshot_queue_pictures") == 0, "the queue is empty", 2)
    finally:
        service.promote(1)


def test_the_worker_keeps_a_constant_number_of_threads(service: Service) -> None:
    (worker,) = psutil.Process(service.process.pid).children()
    with service.client() as client, ThreadPoolExecutor(8) as crowd:

        def burst() -> int:
            list(crowd.map(lambda _: generate(client, category="mug", count=4), range(40)))
            return worker.num_threads()

        first = burst()
        service.promote(2)
        service.promote(1)
        assert burst() <= first + 1
        assert burst() <= first + 1


def test_what_is_counted_is_exposed_without_a_label_of_a_strangers(service: Service) -> None:
    with service.client() as client:
        before = service.metric('packshot_pictures_total{route="generate"}')
        generate(client, category="mug", count=5)
        for at in range(20):
            client.get(f"/stranger-{at}")
        text = client.get("/metrics").text
    assert service.metric('packshot_pictures_total{route="generate"}') == before + 5
    assert service.metric("packshot_model_epoch") == service.epoch
    assert service.metric("packshot_model_version") == 1
    assert 'packshot_request_seconds_bucket{le="+Inf",route="generate"}' in text
    assert "stranger" not in text


# --- beginning and end ----------------------------------------------------------------------------------------------------


def test_a_service_without_a_model_waits_for_one_and_ends_cleanly(own_service: Service) -> None:
    own_service.start()
    own_service.shelf.put(1)
    with own_service.client() as client:
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "no model")
        for answer in (
            generate(client, category="mug"),
            client.get("/describe"),
            client.post("/reconstruct?category=mug", content=png(), headers={"Content-Type": "image/png"}),
        ):
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert answer.headers["retry-after"]
            assert "x-packshot-digest" not in answer.headers
        assert client.get("/").status_code == 200
        own_service.promote(1)
        assert client.get("/readyz").status_code == 200
        assert generate(client, category="mug").status_code == 200
        own_service.shelf.put(3, SLOW)
        own_service.promote(3)
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(generate, client, category="mug", count=64)
            wait_until(lambda: own_service.metric("packshot_queue_pictures") > 0, "the pictures are queued")
            own_service.process.send_signal(signal.SIGTERM)
            assert len(under_way.result(60).json()["images"]) == 64
    assert own_service.process.wait(30) == 0
    wait_until(lambda: port_is_free(own_service.port), "the port is free")
    assert "Traceback" not in own_service.log.read_text()


def test_no_orphan_holds_the_port_when_the_master_is_killed(own_service: Service) -> None:
    own_service.start()
    (worker,) = psutil.Process(own_service.process.pid).children()
    os.kill(own_service.process.pid, signal.SIGKILL)
    own_service.process.wait(30)
    wait_until(lambda: port_is_free(own_service.port), "the port is free")
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker is gone")
