"""Register, review, promote, roll back: on a real registry, a real store and real weights."""

from __future__ import annotations

import logging
import sqlite3
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from packshot.adapters.registry import Registry
from packshot.adapters.shelf import Shelf
from packshot.adapters.tracking import Tracking
from packshot.errors import DataRejected, GateRefused, IntegrityError, PromotionLost, ReviewRefused, Unavailable, UsageError
from packshot.layout import Layout
from packshot.records import Live, ServiceCard, ValidationReport, Verdict
from packshot.release.bundle import Lineage
from packshot.release.ledger import Ledger
from packshot.release.live import reconcile
from packshot.release.promote import promote
from packshot.release.register import register
from packshot.release.review import review
from packshot.release.rollback import rollback
from packshot.release.smoke import smoke
from packshot.release.stale import verdict_is_stale
from packshot.release.status import status
from packshot.release.transaction import Transaction
from packshot.sources.drift import champion_profile
from tests.release.conftest import CATALOG, DATASET, Shop

NOWHERE = "http://127.0.0.1:9"


def release(shop: Shop, seed: int, psnr: float = 20.0) -> Live:
    shop.train(seed, psnr=psnr)
    return release_verdict(shop)


def release_verdict(shop: Shop) -> Live:
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    return promote(shop.params(), shop.layout, by="ada")


def registry(shop: Shop) -> Registry:
    return Registry(shop.layout, "packshot")


def stored_weights(shop: Shop) -> Path:
    (path,) = shop.layout.mlflow_artifacts.rglob("weights.safetensors")
    return path


# --- register -----------------------------------------------------------------------------------------------------------


def test_registering_twice_makes_one_version(shop: Shop) -> None:
    verdict = shop.train(1)
    first = register(shop.params(), shop.layout)
    assert register(shop.params(), shop.layout) == first
    assert (first.version, first.checkpoint, first.dataset) == (1, "vae-a@30", verdict.dataset)
    candidate = registry(shop).at("candidate")
    assert candidate is not None
    assert candidate.version == first
    client = registry(shop).tracking.connect()
    assert len(client.search_model_versions("name = 'packshot'")) == 1
    assert len(registry(shop).tracking.search(client, "")) == 1


def test_other_weights_and_another_verdict_make_other_versions(shop: Shop) -> None:
    shop.train(1)
    first = register(shop.params(), shop.layout)
    shop.train(2)
    second = register(shop.params(), shop.layout)
    shop.train(2, psnr=21.0)
    third = register(shop.params(), shop.layout)
    assert [first.version, second.version, third.version] == [1, 2, 3]
    assert second.sha256 == third.sha256 != first.sha256


def test_what_learnt_from_photos_whose_rights_ended_goes_no_further(shop: Shop) -> None:
    shop.validate(valid_until=date(2020, 1, 31))
    shop.train(1)
    with pytest.raises(DataRejected, match="ended on 2020-01-31"):
        register(shop.params(), shop.layout)
    shop.validate(valid_until=date(2999, 1, 31))
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lineage, "expired", "the rights to a photo that it learnt from ended on 2999-01-31")
        with pytest.raises(ReviewRefused, match="ended on 2999-01-31"):
            promote(shop.params(), shop.layout, by="ada")
    assert promote(shop.params(), shop.layout, by="ada").version == 1


def test_later_catalogues_are_held_against_the_champions(shop: Shop) -> None:
    assert champion_profile(shop.layout) is None
    release(shop, 1)
    profile = champion_profile(shop.layout)
    assert profile is not None
    assert profile.catalog == CATALOG


def test_another_catalogues_validation_is_refused(shop: Shop) -> None:
    shop.train(1)
    path = shop.layout.stage("validate") / "report.json"
    ValidationReport.read(path).model_copy(update={"catalog": "0" * 64}).write(path)
    with pytest.raises(IntegrityError, match="the catalogue that was validated"):
        register(shop.params(), shop.layout)


def test_a_weak_model_is_refused_with_the_reason(shop: Shop) -> None:
    shop.train(1, psnr=12.0, passed=False)
    with pytest.raises(GateRefused, match=r"psnr is 12\.0") as refusal:
        register(shop.params(), shop.layout)
    assert refusal.value.exit_code == 12
    assert registry(shop).at("candidate") is None


def test_weights_that_are_not_those_that_were_judged_are_refused(shop: Shop) -> None:
    shop.train(1)
    path = shop.layout.stage("train") / "weights" / "vae-a-30.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="the weights"):
        register(shop.params(), shop.layout)


def test_a_verdict_on_another_evaluation_is_refused(shop: Shop) -> None:
    verdict = shop.train(1)
    verdict.model_copy(update={"evidence": "0" * 64}).write(shop.layout.stage("gate") / "verdict.json")
    with pytest.raises(IntegrityError, match="another evaluation"):
        register(shop.params(), shop.layout)


def test_a_version_is_a_readable_page_with_its_lineage(shop: Shop) -> None:
    tracking = Tracking.open(shop.layout)
    with tracking.start("vae-a", parameters={"latent": 4}, tags={"family": "vae"}) as run:
        run.metrics(30, {"loss": 1.0})
    shop.train(1, mlflow_run=run.mlflow_run)
    version = register(shop.params(), shop.layout)
    client = tracking.connect()
    found = client.get_model_version("packshot", str(version.version))
    assert found.run_id == run.mlflow_run
    page = found.description
    assert page.startswith("**vae-a@30 passes: psnr is 20.0 \\| it keeps to psnr >= 18**")
    assert "| psnr &emsp; | 20 [19.5, 20.5] &emsp; | 40 &emsp; | psnr >= 18 &emsp; | pass |" in page
    assert "| coverage &emsp; | withheld: needs 64 pictures, there are 3 &emsp; | 3 |" in page
    assert version.sha256 in page
    assert "![samples](ajax-api/2.0/mlflow/logged-models/m-" in page
    assert "gan-a" not in page
    assert len(page) <= 5000
    assert {"sha256", "verdict", "dataset", "data_version", "git_commit", "checkpoint", "family"} <= found.tags.keys()
    assert len(found.tags["git_commit"]) >= 40


def test_a_page_never_grows_longer_than_mlflow_keeps(shop: Shop) -> None:
    verdict = shop.train(1)
    first, *others = verdict.judgements
    for findings, kept in ((30, "### Lineage"), (90, verdict.reason.split(":")[0])):
        many = first.model_copy(update={"findings": first.findings * findings})
        longer = verdict.model_copy(update={"judgements": (many, *others)})
        longer.write(shop.layout.stage("gate") / "verdict.json")
        version = register(shop.params(), shop.layout)
        page = registry(shop).tracking.connect().get_model_version("packshot", str(version.version)).description
        assert len(page) <= 5000
        assert kept in page


def test_restored_weights_get_a_run_that_says_so(shop: Shop) -> None:
    shop.train(1, mlflow_run="0123456789abcdef0123456789abcdef")
    version = register(shop.params(), shop.layout)
    client = registry(shop).tracking.connect()
    run = client.get_run(client.get_model_version("packshot", str(version.version)).run_id)
    assert run.data.tags["restored_from"] == "0123456789abcdef0123456789abcdef"
    assert run.data.params["model.latent"] == "4"
    assert run.data.metrics["psnr"] == 20.0
    assert run.info.status == "FINISHED"


def test_an_alias_on_a_version_that_packshot_did_not_make_is_refused(shop: Shop) -> None:
    client = registry(shop).tracking.connect()
    client.create_registered_model("packshot")
    client.create_model_version("packshot", "file:///nowhere")
    client.set_registered_model_alias("packshot", "candidate", "1")
    with pytest.raises(IntegrityError, match="packshot did not make it"):
        review(shop.params(), shop.layout, by="ada")


# --- review -------------------------------------------------------------------------------------------------------------


def test_without_a_candidate_there_is_nothing_to_review_or_promote(shop: Shop) -> None:
    for act in (review, promote):
        with pytest.raises(UsageError, match="no candidate"):
            act(shop.params(), shop.layout, by="ada")


def test_the_policy_approves_what_the_gate_compared_with_the_champion(shop: Shop) -> None:
    assert release(shop, 1).epoch == 1
    assert release(shop, 2, psnr=21.0).epoch == 2
    reason = Ledger(shop.layout.ledger).history()[1].reason
    assert reason == "policy: on the same photos and seeds as version 1: psnr +0.6 [+0.4, +0.8]"


def test_what_could_not_be_compared_asks_people(shop: Shop) -> None:
    release(shop, 1)
    verdict = shop.train(2)
    verdict.model_copy(update={"compared": False}).write(shop.layout.stage("gate") / "verdict.json")
    register(shop.params(), shop.layout)
    with pytest.raises(ReviewRefused, match="1 person must approve: the gate could not compare it with version 1"):
        review(shop.params(), shop.layout, by="ada")
    review(shop.params(), shop.layout, by="ada", approve=True, reason="another size was asked for")
    assert promote(shop.params(), shop.layout, by="ada").version == 2


def test_a_verdict_beside_another_champion_is_stale_and_no_person_can_lift_that(shop: Shop) -> None:
    shop.train(2)
    register(shop.params(), shop.layout)
    judged_alone = Verdict.read(shop.layout.stage("gate") / "verdict.json")
    assert not verdict_is_stale(shop.layout)
    release(shop, 1)
    assert not verdict_is_stale(shop.layout), "its own promotion makes no verdict stale"
    judged_alone.write(shop.layout.stage("gate") / "verdict.json")
    assert verdict_is_stale(shop.layout)
    registry(shop).point("candidate", 1)
    with pytest.raises(ReviewRefused, match="judged beside nobody, who is not champion now"):
        review(shop.params(), shop.layout, by="ada")
    with pytest.raises(ReviewRefused, match="no approval can lift this"):
        review(shop.params(), shop.layout, by="ada", approve=True, reason="I like it")
    with pytest.raises(ReviewRefused, match="judged beside nobody"):
        promote(shop.params(), shop.layout, by="ada")
    assert status_version(shop) == 2


def test_what_a_champion_has_learnt_from_is_kept(shop: Shop) -> None:
    release(shop, 1)
    kept = pq.read_table(shop.layout.learnt / f"{DATASET}.parquet")
    assert kept.column_names == ["id", "group"]
    assert kept.num_rows == 12


def status_version(shop: Shop) -> int | None:
    head = Ledger(shop.layout.ledger).head()
    return head.champion.version if head and head.champion else None


def test_promoting_without_a_review_is_refused(shop: Shop) -> None:
    shop.train(1)
    register(shop.params(), shop.layout)
    with pytest.raises(ReviewRefused, match="nobody reviewed it") as refusal:
        promote(shop.params(), shop.layout, by="ada")
    assert refusal.value.exit_code == 13
    assert not shop.layout.live.exists()


def test_people_approve_where_the_params_say_so(shop: Shop) -> None:
    params = shop.params("manual", approvals=2)
    shop.train(1)
    register(params, shop.layout)
    with pytest.raises(ReviewRefused, match="2 people must approve"):
        review(params, shop.layout, by="ada")
    assert review(params, shop.layout, by="Ada", approve=True, reason="sharp").decision == "waiting"
    assert review(params, shop.layout, by="ada", approve=True, reason="still sharp").decision == "waiting"
    with pytest.raises(ReviewRefused, match="1 person more must approve"):
        promote(params, shop.layout, by="ada")
    assert review(params, shop.layout, by="Bob", approve=True, reason="true colours").decision == "approved"
    assert promote(params, shop.layout, by="ada").version == 1
    entry = Ledger(shop.layout.ledger).history()[0]
    assert entry.reason == "Bob, ada: still sharp; true colours"


def test_a_persons_no_stands_until_that_person_says_yes(shop: Shop) -> None:
    shop.train(1)
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    assert review(shop.params(), shop.layout, by="Bob", approve=False, reason="the mugs melt").decision == "refused"
    with pytest.raises(ReviewRefused, match="the mugs melt"):
        promote(shop.params(), shop.layout, by="ada")
    assert review(shop.params(), shop.layout, by="Bob", approve=True, reason="they are meant to").decision == "approved"
    assert promote(shop.params(), shop.layout, by="ada").version == 1


def test_a_person_says_who_and_why(shop: Shop) -> None:
    shop.train(1)
    register(shop.params(), shop.layout)
    for by, reason in (("", "good"), ("ada", " ")):
        with pytest.raises(UsageError, match="who and why"):
            review(shop.params(), shop.layout, by=by, approve=True, reason=reason)


def test_a_review_is_stale_once_somebody_promoted_or_rolled_back_since(shop: Shop) -> None:
    params = shop.params("manual")
    for seed in (1, 3, 2):
        shop.train(seed)
        register(params, shop.layout)
        review(params, shop.layout, by="Bob", approve=True, reason="sharper")
        if seed != 3:
            promote(params, shop.layout, by="ada")
    rollback(shop.layout, by="ada", reason="too dark")
    assert status_version(shop) == 1
    registry(shop).point("candidate", 2)
    with pytest.raises(ReviewRefused, match="earlier reviews are stale"):
        promote(params, shop.layout, by="ada")


# --- promote ------------------------------------------------------------------------------------------------------------


def test_a_promotion_is_in_ledger_store_live_record_and_alias(shop: Shop) -> None:
    live = release(shop, 1)
    assert Live.read(shop.layout.live) == live
    entry = Ledger(shop.layout.ledger).head()
    assert entry is not None
    assert entry.champion is not None
    assert (entry.by, entry.act, entry.champion.sha256) == ("ada", "promotion", live.sha256)
    assert entry.champion.verdict == Verdict.read(shop.layout.stage("gate") / "verdict.json").content_digest()
    card = ServiceCard.read(Path(live.card))
    assert (card.version, card.sha256, card.run, card.family) == (1, live.sha256, "vae-a", "vae")
    assert card.scores[0].metric == "psnr"
    assert Shelf(shop.layout).find("packshot", 1, live.sha256).tag == f"packshot:v1-{live.sha256[:12]}"
    champion = registry(shop).at("champion")
    assert champion is not None
    assert (champion.version.version, champion.tags["epoch"]) == (1, "1")
    assert smoke(shop.layout) == live


def test_promoting_the_champion_again_changes_nothing(shop: Shop) -> None:
    live = release(shop, 1)
    written = shop.layout.live.stat().st_mtime_ns
    assert release_verdict(shop) == live
    assert len(Ledger(shop.layout.ledger).history()) == 1
    assert shop.layout.live.stat().st_mtime_ns == written


def test_bytes_changed_in_the_registry_after_the_review_are_refused(shop: Shop) -> None:
    shop.train(1)
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    path = stored_weights(shop)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"weights\.safetensors in the registry is not what was registered"):
        promote(shop.params(), shop.layout, by="ada")
    assert not shop.layout.live.exists()
    assert Ledger(shop.layout.ledger).head() is None


@pytest.mark.parametrize("name", ["verdict.json", "photos.parquet", "manifest.json"])
def test_evidence_changed_or_gone_in_the_registry_is_refused(shop: Shop, name: str) -> None:
    shop.train(1)
    register(shop.params(), shop.layout)
    path = stored_weights(shop).with_name(name)
    path.unlink()
    with pytest.raises(IntegrityError, match=name):
        review(shop.params(), shop.layout, by="ada")


def test_a_generator_that_draws_flat_pictures_is_refused(shop: Shop) -> None:
    shop.train(1, broken=True)
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    with pytest.raises(IntegrityError, match="flat"):
        promote(shop.params(), shop.layout, by="ada")
    assert Ledger(shop.layout.ledger).head() is None
    assert not shop.layout.live.exists()


def test_a_loser_is_told_and_nothing_of_it_is_served(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release(shop, 1)
    shop.train(2, psnr=21.0)
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    put = Shelf.put

    def be_late(self: Shelf, weights: Path, card: ServiceCard) -> object:
        ledger = Ledger(shop.layout.ledger)
        head = ledger.head()
        assert head is not None
        ledger.append("promotion", head.champion, after=head, by="eve", reason="faster")
        return put(self, weights, card)

    monkeypatch.setattr(Shelf, "put", be_late)
    with pytest.raises(PromotionLost, match="eve was first") as lost:
        promote(shop.params(), shop.layout, by="ada")
    assert lost.value.exit_code == 14
    assert Live.read(shop.layout.live).version == 1


def test_a_damaged_copy_on_the_shelf_is_put_again(shop: Shop) -> None:
    live = release(shop, 1)
    Path(live.weights).write_bytes(b"other bytes")
    with pytest.raises(IntegrityError):
        Shelf(shop.layout).find("packshot", 1, live.sha256)
    shop.layout.ledger.unlink()
    for leftover in shop.layout.var.glob("ledger.db-*"):
        leftover.unlink()
    review(shop.params(), shop.layout, by="ada")
    assert promote(shop.params(), shop.layout, by="ada") == live
    assert smoke(shop.layout) == live


def test_live_json_follows_the_ledger_whatever_was_done_to_it(shop: Shop) -> None:
    live = release(shop, 1)
    for content in (b"", b"{}", live.model_copy(update={"epoch": 7}).model_dump_json().encode()):
        shop.layout.live.write_bytes(content)
        assert status(shop.layout).live == "behind"
        assert reconcile(shop.layout) == live
        assert Live.read(shop.layout.live) == live
    shop.layout.live.unlink()
    assert promote(shop.params(), shop.layout, by="ada") == live
    assert Live.read(shop.layout.live) == live


def test_the_ledger_wins_over_an_alias_moved_by_hand(shop: Shop) -> None:
    release(shop, 1)
    release(shop, 2, psnr=21.0)
    registry(shop).point("champion", 1)
    told = status(shop.layout)
    assert (told.champion, told.alias, told.live) == (2, 1, "in step")
    promote(shop.params(), shop.layout, by="ada")
    assert status(shop.layout).alias == 2


# --- roll back ----------------------------------------------------------------------------------------------------------


def test_a_rollback_works_with_the_registry_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = release(shop, 1)
    second = release(shop, 2, psnr=21.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    with caplog.at_level(logging.WARNING):
        back = rollback(shop.layout, by="bob", reason="the mugs melt")
    assert (back.sha256, back.version, back.epoch) == (first.sha256, 1, second.epoch + 1)
    assert Live.read(shop.layout.live) == back
    assert "the alias 'champion' in MLflow is not up to date" in caplog.text
    assert smoke(shop.layout) == back
    told = status(shop.layout)
    assert told.champion == 1
    assert "does not answer" in told.registry


def test_a_rollback_without_a_predecessor_is_a_usage_error(shop: Shop) -> None:
    with pytest.raises(UsageError, match="nobody is champion"):
        rollback(shop.layout, by="bob", reason="worse")
    assert not shop.layout.ledger.exists()
    release(shop, 1)
    with pytest.raises(UsageError, match="no champion with other weights"):
        rollback(shop.layout, by="bob", reason="worse")
    with pytest.raises(UsageError, match="says why"):
        rollback(shop.layout, by="bob", reason=" ")


def test_a_rollback_to_damaged_weights_is_refused_and_what_is_served_stays(shop: Shop) -> None:
    first = release(shop, 1)
    second = release(shop, 2, psnr=21.0)
    Path(first.weights).write_bytes(b"other bytes")
    with pytest.raises(IntegrityError):
        rollback(shop.layout, by="bob", reason="worse")
    assert Live.read(shop.layout.live) == second
    assert status_version(shop) == 2


def test_what_was_rolled_back_needs_a_person_to_come_again(shop: Shop) -> None:
    release(shop, 1)
    release(shop, 2, psnr=21.0)
    rollback(shop.layout, by="bob", reason="the mugs melt")
    register(shop.params(), shop.layout)
    with pytest.raises(ReviewRefused, match="stale"):
        promote(shop.params(), shop.layout, by="nightly")
    with pytest.raises(ReviewRefused, match="rolled back before"):
        review(shop.params(), shop.layout, by="nightly")
    review(shop.params(), shop.layout, by="Bob", approve=True, reason="it was the oven")
    assert promote(shop.params(), shop.layout, by="ada").version == 2


# --- as a whole ---------------------------------------------------------------------------------------------------------


def test_a_release_that_fails_is_undone_as_a_whole(shop: Shop) -> None:
    first = release(shop, 1)
    shop.train(2, psnr=21.0)

    def fail() -> None:
        with Transaction(shop.params(), shop.layout, by="flow 7") as transaction:
            transaction.register()
            transaction.review()
            assert transaction.promote().version == 2
            raise Unavailable("the service does not follow")

    with pytest.raises(Unavailable):
        fail()
    head = Ledger(shop.layout.ledger).head()
    assert head is not None
    assert (head.act, head.by, head.reason) == ("undoing", "flow 7", "the service does not follow")
    assert Live.read(shop.layout.live).sha256 == first.sha256
    told = status(shop.layout)
    assert (told.champion, told.alias, told.candidate, told.epoch) == (1, 1, 1, 3)


def test_an_undone_first_release_leaves_nothing_live(shop: Shop) -> None:
    shop.train(1)

    def fail() -> None:
        with Transaction(shop.params(), shop.layout, by="flow 7") as transaction:
            transaction.register()
            transaction.review()
            transaction.promote()
            transaction.smoke()
            raise RuntimeError("power")

    with pytest.raises(RuntimeError):
        fail()
    assert not shop.layout.live.exists()
    told = status(shop.layout)
    assert (told.champion, told.alias, told.candidate, told.live) == (None, None, None, "nothing")


def test_asking_where_a_release_stands_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "PACKSHOT_VAR"):
        monkeypatch.delenv(name, raising=False)
    layout = Layout(tmp_path)
    layout.params.write_text((Path(__file__).parents[1] / "params.yaml").read_text())
    told = status(layout)
    assert (told.champion, told.candidate, told.alias, told.live, told.registry) == (None, None, None, "nothing", "")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_release_never_undoes_somebody_elses_promotion(shop: Shop) -> None:
    release(shop, 1)
    shop.train(2, psnr=21.0)

    def fail() -> None:
        with Transaction(shop.params(), shop.layout, by="flow 7") as transaction:
            transaction.register()
            transaction.review()
            promote(shop.params(), shop.layout, by="ada")
            raise RuntimeError("power")

    with pytest.raises(RuntimeError):
        fail()
    assert status_version(shop) == 2


def test_a_smoke_test_without_a_service_is_unavailable(shop: Shop) -> None:
    release(shop, 1)
    with pytest.raises(Unavailable, match="does not follow"):
        smoke(shop.layout, NOWHERE, seconds=0.3)


def test_a_locked_ledger_is_said_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    release(shop, 1)
    monkeypatch.setattr("packshot.release.ledger.BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(shop.layout.ledger, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    shop.train(2, psnr=21.0)
    register(shop.params(), shop.layout)
    review(shop.params(), shop.layout, by="ada")
    from packshot.errors import Locked

    with pytest.raises(Locked):
        promote(shop.params(), shop.layout, by="ada")
    holder.close()
