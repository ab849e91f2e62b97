"""A staging whose writes fail now and then, before or after they took effect, and that tells of each write."""

from __future__ import annotations

import errno
import os
import re
from random import Random
from typing import Any

from o2_connector.hooks.staging import StagingHook

FAILS = {"i": 0.1, "r": 0.1}
"""Shares of the writes that raise, half of them although everything was done."""

FAILS_ELSE = 0.004
"""The same for signs and claims: one shard may need a hundred of them before it can begin."""

_KINDS = (
    ("d", re.compile(r"^owners/.*/done$")),
    ("s", re.compile(r"^owners/.*/sign-")),
    ("o", re.compile(r"^owners/")),
    ("i", re.compile(r"/intents\.")),
    ("r", re.compile(r"/receipts\.")),
)


class ShakyStaging(StagingHook):
    """Write as staging does, unless a die says otherwise.

    :param told: file descriptor that gets a letter before each write (of an owner o, a sign of life s, intents i,
        receipts r, that an owner is done d), and the same in upper case after it.
    """

    def __init__(self, random: Random, told: int) -> None:
        super().__init__()
        self._random = random
        self._told = told

    def _seal(self, spool: Any, name: str) -> bool:
        kind = next((letter for letter, pattern in _KINDS if pattern.search(name)), "x")
        os.write(self._told, kind.encode())
        chance = self._random.random() / FAILS.get(kind, FAILS_ELSE)
        if chance < 0.5:
            raise OSError(errno.EIO, "not done")
        sealed = super()._seal(spool, name)
        os.write(self._told, kind.upper().encode())
        if chance < 1:
            raise OSError(errno.EIO, "done, but who knows")
        return sealed
