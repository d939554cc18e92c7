"""Whatever the disk does while a state is written, and whenever the plug is pulled: the old or the new one, never a torn one."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from packshot.errors import OutOfResources
from packshot.records import file_digest, write_bytes
from tests.children import forkserver
from tests.training.runs import desk, params
from tests.training.saves import NEW_STEP, fresh, write_new, write_old, write_while

ROOT = Path(__file__).parents[2]
Context = multiprocessing.context.ForkServerContext


@pytest.fixture(scope="module")
def context() -> Context:
    return forkserver()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digest of every file of a training to which nothing happens, by its name."""
    folder = tmp_path_factory.mktemp("whole")
    write_old(folder)
    write_new(folder)
    return {path.name: file_digest(path) for path in folder.rglob("*.safetensors")}


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    folder = tmp_path / "stopped"
    write_old(folder)
    return folder


def require_old_or_new(folder: Path, whole: dict[str, str]) -> int:
    """The step from which a training goes on, once every file has been found to be what its name says."""
    keeper, state = desk(folder, params("vae-gaussians")), fresh()
    assert keeper.resumable()
    for path in folder.rglob("*.safetensors"):
        assert file_digest(path) == whole[path.name], f"{path.name} is torn"
    assert not list(folder.rglob("*.draft")), "what was left half done is tidied"
    assert keeper.restore(state)
    assert state.step in {3, NEW_STEP}
    return state.step


# --- in this process: runs everywhere


class _Disk:
    """The calls that write, the k-th of which fails."""

    def __init__(self, name: str, k: int, error: int) -> None:
        self.name, self.k, self.error, self.real, self.calls = name, k, error, getattr(os, name), 0

    def __call__(self, *arguments: object) -> object:
        self.calls += 1
        if self.calls == self.k:
            raise OSError(self.error, os.strerror(self.error))
        return self.real(*arguments)


@pytest.mark.parametrize(
    ("name", "error"),
    [("write", errno.EIO), ("write", errno.ENOSPC), ("fsync", errno.EIO), ("replace", errno.EIO), ("open", errno.EIO)],
)
def test_every_call_that_fails_leaves_the_old_or_the_new(
    name: str, error: int, tmp_path: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_old(tmp_path / "old")
    found, k = set(), 0
    while True:
        k += 1
        folder = tmp_path / f"{k}"
        shutil.copytree(tmp_path / "old", folder)
        disk, refused = _Disk(name, k, error), None
        with monkeypatch.context() as patch:
            patch.setattr(os, name, disk)
            try:
                write_new(folder)
            except OutOfResources as error_told:
                refused = error_told
        if disk.calls < k:
            assert require_old_or_new(folder, whole) == NEW_STEP
            break
        assert refused is not None
        assert os.strerror(error) in str(refused)
        assert not list(folder.rglob("*.draft")), "a file that failed is never used again"
        found.add(require_old_or_new(folder, whole))
        shutil.rmtree(folder)
    assert 3 in found
    assert k > 2


def test_writes_that_take_less_than_they_are_given_lose_nothing(
    stopped: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, content[: max(1, len(content) // 3)]))
    write_new(stopped)
    assert require_old_or_new(stopped, whole) == NEW_STEP


def test_a_file_is_synced_before_it_is_named_and_its_folder_after_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        calls.append("fsync " + Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def rename(source: Path, target: Path) -> None:
        calls.append(f"rename to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    write_bytes(tmp_path / "folder" / "file", b"content")
    assert calls == [f"fsync .file.{os.getpid()}.draft", "rename to file", "fsync folder"]


def test_every_flipped_block_is_found(stopped: Path, whole: dict[str, str]) -> None:
    write_new(stopped)
    newest = max(stopped.glob("state-*"))
    content = newest.read_bytes()
    keeper, state = desk(stopped, params("vae-gaussians")), fresh()
    blocks = range(0, len(content), 4096)
    for start in blocks:
        flipped = bytearray(content)
        flipped[start + (start // 4096) % min(4096, len(content) - start)] ^= 1 << (start // 4096) % 8
        newest.write_bytes(flipped)
        assert keeper._restore(state, [newest]) is None, f"block at {start}"
    newest.write_bytes(content)
    assert require_old_or_new(stopped, whole) == NEW_STEP
    newest.write_bytes(content[:-1])
    assert keeper.restore(state)
    assert state.step == 3


# --- from outside of the process: the system itself refuses, or ends it


def _strace() -> str:
    found = shutil.which("strace")
    if not found:
        pytest.skip("there is no strace")
    probe = subprocess.run([found, "-e", "trace=none", "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"strace may not trace here: {probe.stderr.strip()[:100]}")
    return found


def _inject(strace: str, call: str, fault: str, log: Path) -> Callable[[int, Callable[[], None]], None]:
    def around(number: int, go: Callable[[], None]) -> None:
        words = [strace, "-p", str(number), "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
        tracer = subprocess.Popen(words, stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        told = b""
        while b"attached" not in told:
            ready, _, _ = select.select([tracer.stderr], [], [], 30)
            told += os.read(tracer.stderr.fileno(), 1000) if ready else b""
            if not ready or tracer.poll() is not None:
                tracer.kill()
                pytest.skip(f"strace cannot attach here: {told.decode()[:100]}")
        go()
        tracer.wait(60)
        tracer.stderr.close()

    return around


@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=SIGKILL"])
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_the_system_fails_or_kills_at_every_call(
    call: str, fault: str, context: Context, tmp_path: Path, whole: dict[str, str]
) -> None:
    strace = _strace()
    write_old(tmp_path / "old")
    found, hit, k = set(), 0, 0
    while True:
        k += 1
        folder, log = tmp_path / f"{k}", tmp_path / "log"
        shutil.copytree(tmp_path / "old", folder)
        code = write_while(context, folder, _inject(strace, call, f"{fault}:when={k}", log))
        if not re.search(r"INJECTED|killed by SIGKILL", log.read_text()):
            assert code == 0
            break
        hit += 1
        assert code == (-signal.SIGKILL if "KILL" in fault else 22)
        found.add(require_old_or_new(folder, whole))
        shutil.rmtree(folder)
    assert hit >= {"write": 4, "fsync": 4, "rename": 2}[call]
    assert 3 in found


def test_a_limit_on_the_size_of_files_is_told_like_a_full_disk(context: Context, stopped: Path, whole: dict[str, str]) -> None:
    code = write_while(context, stopped, lambda _, go: go(), limit=100_000)
    assert code == 22
    assert require_old_or_new(stopped, whole) == 3


FULL = """
import sys
from pathlib import Path
from packshot.errors import OutOfResources
from tests.training.saves import *
folder = Path(sys.argv[1])
write_old(folder)
keeper, state = desk(folder, params("vae-gaussians")), fresh()
keeper.restore(state)
try:
    while True:
        state.step += 1
        keeper.keep(state)
        keeper.save(state)
except OutOfResources as error:
    print(error.line)
state = fresh()
assert keeper.resumable() and keeper.restore(state)
print("goes on from", state.step, "drafts", list(folder.rglob("*.draft")))
"""


@pytest.mark.parametrize("checked", [True, False])
def test_a_disk_that_is_really_full(checked: bool, tmp_path: Path) -> None:
    """Checked beforehand, and where the check was wrong: another process may fill the disk in between."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no name space of its own is to be had here")
    unchecked = "import packshot.records as records; records.require_room = lambda *_: None\n"
    script = FULL if checked else unchecked + FULL
    words = f'mount -t tmpfs -o size=3m tmpfs {tmp_path} && exec {sys.executable} -c "$1" {tmp_path}/training'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", words, "sh", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    if "mount" in done.stderr:
        pytest.skip(f"tmpfs cannot be mounted here: {done.stderr.strip()[:100]}")
    refused, goes_on = done.stdout.splitlines()
    assert re.match(r"packshot: E22 .*: [\d,]+ bytes are needed, [\d,]+ are free", refused), done.stdout + done.stderr
    assert refused.startswith("packshot: E22 the disk is too full") == checked
    assert re.fullmatch(r"goes on from \d+ drafts \[\]", goes_on)
