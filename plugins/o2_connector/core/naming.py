"""Naming: what the archive is called inside a mailbox, for ever."""

from __future__ import annotations

FOLDER_NAME = "O2 SMS and Voice Network Archiver"
"""The mail folder that holds the archive."""

ITEM_PROPERTY = "String {6c8506a9-35bf-4f49-bd52-b7fc0c4af2b9} Name O2ItemId"
"""The named property that says which item a message is.

Every archived message is found again by it. Another GUID or name would archive everything a second time, and each
distinct name uses up one of the named properties that a mailbox can ever have.
"""

FACTS_PROPERTY = "String {6c8506a9-35bf-4f49-bd52-b7fc0c4af2b9} Name O2Facts"
"""The named property that holds all of a message's facts, a line each, as its e-mail has them in headers.

Graph takes five headers of ours; this has them all, so that what is in the mailbox says as much as the EML.
"""

UNFINISHED_CATEGORY = "O2 archive: attachments still to come"
"""The category of a message from its creation until the last of its attachments is there.

A message that bears it belongs to an import that was killed half-way. Categories are not among the properties that
Graph's rule of 31 December 2026 protects on messages that are no drafts, so it can be taken off.
"""
