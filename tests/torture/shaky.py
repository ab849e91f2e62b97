"""A staging whose writes fail now and then, before or after they took effect, and that tells of each write."""

from __future__ import annotations

import errno
import os
import re
from random import Random
from typing import Any

from o2_connector.hooks.staging import StagingHook

FAILS_BEFORE = 0.02
FAILS_AFTER = 0.02
"""Shares of the writes that raise although nothing was done, and although everything was."""

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
        chance = self._random.random()
        if chance < FAILS_BEFORE:
            raise OSError(errno.EIO, "not done")
        sealed = super()._seal(spool, name)
        os.write(self._told, kind.upper().encode())
        if chance > 1 - FAILS_AFTER:
            raise OSError(errno.EIO, "done, but who knows")
        return sealed
