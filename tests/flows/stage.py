"""Stands for packshot in the throwaway project: `stage.py STAGE` writes that stage's record, or fails, or takes its time.

What it shall do stands in the folder mood/: <stage>.slow (seconds), <stage>.fail (a packshot line 'E10 ...', which is also its
exit code), gate (pass or refuse). What stands in prepared/<stage>/ is its output, where there is such a folder.
"""

import os
import shutil
import sys
import time
from pathlib import Path

from packshot.records import (
    Catalog,
    CategoryCount,
    Checkpoint,
    Dataset,
    Estimate,
    EvaluationReport,
    Finding,
    ImageSpec,
    Judgement,
    Score,
    Scorecard,
    SplitCount,
    TrackedRuns,
    TrainReport,
    ValidationReport,
    Verdict,
)

stage = sys.argv[1]
folder = Path("data", stage)
mood = Path("mood")
with Path("journal").open("a") as journal:
    journal.write(f"begin {stage} {os.getpid()}\n")
for step in range(1, 4):
    sys.stdout.write(f"{stage} {step}/3\n")
    sys.stdout.flush()
if (slow := mood / f"{stage}.slow").exists():
    time.sleep(float(slow.read_text()))
if (fail := mood / f"{stage}.fail").exists():
    sys.stderr.write(f"packshot: {fail.read_text()}\n")
    sys.exit(int(fail.read_text()[1:3]))

if (prepared := Path("prepared", stage)).exists():
    shutil.copytree(prepared, folder)
    sys.exit()

digest = "0" * 64
counts = (CategoryCount(category="dress", photos=3), CategoryCount(category="a|b `<i>", photos=1))
checkpoint = Checkpoint(run="vae", family="vae", step=30, path="weights/vae-30.safetensors", sha256=digest)
passed = (mood / "gate").read_text() == "pass"
finding = Finding(metric="psnr", bound="psnr >= 20", limit=20.0, value=21.5, state="pass" if passed else "reject", margin=1.5)
reason = "vae@30 holds every bound" if passed else "no checkpoint passes: psnr"
records = {
    "ingest": {
        "catalog": Catalog(
            source="folder", photos=4, side=64, recipe=digest, counts=counts, quarantined=(), shards=(), digest=digest
        )
    },
    "validate": {
        "report": ValidationReport(passed=True, photos=4, expectations=(), quarantined=(), suite=digest, catalog=digest)
    },
    "prepare": {
        "dataset": Dataset(
            image=ImageSpec(size=16),
            categories=("dress",),
            splits=(SplitCount(split="train", photos=4, counts=counts),),
            catalog=digest,
            digest=digest,
        )
    },
    "train": {"report": TrainReport(dataset=digest, checkpoints=(checkpoint,)), "tracked": TrackedRuns(runs=())},
    "evaluate": {
        "report": EvaluationReport(
            dataset=digest,
            evidence=digest,
            references=(),
            scorecards=(
                Scorecard(
                    checkpoint=checkpoint,
                    scores=(Score(metric="psnr", estimate=Estimate(value=21.5, low=21.0, high=22.0, n=4)),),
                ),
            ),
        )
    },
    "gate": {
        "verdict": Verdict(
            passed=passed,
            reason=reason,
            primary="psnr",
            candidate=checkpoint if passed else None,
            judgements=(Judgement(checkpoint=checkpoint, findings=(finding,), passed=passed, reason=reason),),
            dataset=digest,
            evidence=digest,
            policy=digest,
        )
    },
}[stage]
for name, record in records.items():
    record.write(folder / f"{name}.json")
with Path("journal").open("a") as journal:
    journal.write(f"end {stage} {os.getpid()}\n")
