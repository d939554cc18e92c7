"""The page at /: one file that fetches nothing from elsewhere, and a policy that holds it to that."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Page:
    """HTML, and the Content-Security-Policy under which its own script and style run and no other."""

    content: bytes
    policy: str

    @classmethod
    def read(cls, path: Path) -> Page:
        """Read a page with one <script> and one <style>."""
        text = path.read_text(encoding="utf-8")
        hashes = {tag: _hash(text, tag) for tag in ("script", "style")}
        policy = (
            f"default-src 'none'; script-src '{hashes['script']}'; style-src '{hashes['style']}'; img-src 'self' data: blob:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return cls(text.encode("utf-8"), policy)


def _hash(text: str, tag: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"the page has {len(found)} <{tag}> elements, not one")
    return "sha256-" + base64.b64encode(hashlib.sha256(found[0].encode("utf-8")).digest()).decode("ascii")
