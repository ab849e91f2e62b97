"""An archive that somebody has got at: what they can do to staging and to the mailboxes, and what is proved then."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from o2_connector.core.chain import Link
from o2_connector.core.naming import ITEM_PROPERTY
from o2_connector.core.window import Window
from o2_connector.engine.chain import links_of
from o2_connector.engine.proof.mailboxes import Extent
from o2_connector.engine.proof.result import Fault, Proof, Result
from o2_connector.engine.proof.verification import prove
from o2_connector.hooks.graph import GraphHook
from o2_connector.hooks.staging import StagingHook
from sandbox.graph.shapes import Message
from sandbox.graph.store import Mailbox, StoredMessage
from tests.archive import Archive

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Proved:
    """Hold what came of all proofs."""

    results: tuple[Result, ...]

    @property
    def faults(self) -> list[Fault]:
        return [fault for result in self.results for fault in result.faults]

    @property
    def unproved(self) -> list[str]:
        return [each for result in self.results for each in result.unproved]

    def of(self, proof: Proof) -> Result:
        """Return what came of one proof."""
        return next(result for result in self.results if result.proof is proof)

    def about(self, place: str) -> list[str]:
        """Return what is wrong with an object."""
        return [fault.what for fault in self.faults if fault.place == place]


@dataclass(kw_only=True)
class Staged:
    """Hold a copy of a staging directory, to do with what one likes; its bytes are those of the other's until then."""

    folder: Path
    span: Window
    heads: list[str] = field(default_factory=list)

    def prove(self, span: Window | None = None, *, heads: Iterable[str] = (), extent: Extent = Extent.NONE) -> Proved:
        """Prove a span."""
        found = prove(
            StagingHook(),
            lambda: GraphHook(patience_seconds=5).graph,
            span or self.span,
            heads=list(heads),
            extent=extent,
            seed="",
        )
        return Proved(results=tuple(found))

    def names(self, pattern: str) -> list[str]:
        """Return the names of objects."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob(pattern) if path.is_file())

    def one(self, pattern: str) -> str:
        """Return the name of the largest of some objects."""
        return max(self.names(pattern), key=lambda name: (self.folder / name).stat().st_size)

    def links(self) -> list[Link]:
        """Return the chain's links."""
        return list(links_of(StagingHook()).values())

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def remove(self, name: str) -> None:
        """Take an object away, or a folder."""
        path = self.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def write(self, name: str, content: bytes) -> None:
        """Put other bytes under a name."""
        path = self.folder / name
        path.unlink(missing_ok=True)  # the file may be another archive's too
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def flip(self, name: str) -> None:
        """Change one bit in the middle."""
        content = bytearray(self.read(name))
        content[len(content) // 2] ^= 1
        self.write(name, bytes(content))

    def add(self, stem: str, suffix: str, content: bytes) -> str:
        """Write an object under the name that it should have."""
        name = f"{stem}{hashlib.sha256(content).hexdigest()}{suffix}"
        self.write(name, content)
        return name

    def rename(self, name: str, content: bytes) -> str:
        """Replace an object by another of the same kind, under its own digest."""
        self.remove(name)
        stem, _, suffix = name.rpartition(_digest(name))
        return self.add(stem, suffix, content)

    def forge(self, name: str, content: bytes) -> str:
        """Replace an object, and everything that names it by its digest, and what names that, up to the chain's end."""
        texts = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in self.folder.rglob("*.json*")}
        changed, renamed = {name: content}, dict[str, str]()
        while changed:
            old, new = changed.popitem()
            at = renamed[old] = self.rename(old, new)
            if texts.pop(old, None):
                texts[at] = new
            before, after, size = _digest(old).encode(), _digest(at).encode(), len(new)
            sized = re.compile(rb'("sha256":\s*"%b",\s*"size":\s*)[0-9]+' % before)
            for other, text in texts.items():
                if before in text:
                    changed[other] = texts[other] = sized.sub(rb"\g<1>%d" % size, text).replace(before, after)
        return renamed[name]


def copied(source: Path, target: Path) -> None:
    """Copy a staging directory as it is; files are linked."""
    shutil.copytree(source, target, copy_function=os.link)


def _digest(name: str) -> str:
    return _DIGEST.findall(name)[-1]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Hold one archived message of a mailbox of the sandbox's."""

    box: Mailbox
    message: StoredMessage

    @property
    def mailbox(self) -> str:
        return self.box.user.id

    @property
    def id(self) -> str:
        return self.box.message_id(self.message, immutable=True)

    @property
    def path(self) -> str:
        return f"/users/{self.mailbox}/messages/{self.id}"

    def alter(self, **fields: Any) -> None:
        """Put other values into it, which Graph would not let one do."""
        content = self.message.content
        for name, value in fields.items():
            setattr(content, name, value)
        self.box.rewrite(self.message, content, datetime.now(UTC))

    def property(self, wanted: str) -> str:
        """Return the value of an extended property."""
        return next(each.value or "" for each in _properties(self.message.content) if _is(each.id, wanted))

    def alter_property(self, wanted: str, value: str) -> None:
        """Put another value into an extended property."""
        properties = _properties(self.message.content)
        for each in properties:
            if _is(each.id, wanted):
                each.value = value
        self.alter(singleValueExtendedProperties=properties)


def held(line: Archive) -> list[Held]:
    """Return the archive's messages of all mailboxes."""
    return [
        Held(box=box, message=message)
        for box in line.sandbox.graph.mailboxes.values()
        for message in box.messages.values()
        if any(_is(each.id, ITEM_PROPERTY) for each in _properties(message.content))
    ]


def as_posted(line: Archive, one: Held) -> dict[str, Any]:
    """Return what makes a message once more."""
    fields = next(each for each in line.messages() if each["id"] == one.id)
    return {
        name: fields[name]
        for name in ("subject", "body", "from", "toRecipients", "internetMessageId", "singleValueExtendedProperties")
    }


def _properties(content: Message) -> list[Any]:
    return list(content.singleValueExtendedProperties or [])


def _is(one: str | None, other: str) -> bool:
    return (one or "").casefold() == other.casefold()
