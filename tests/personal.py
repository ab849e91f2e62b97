"""What must be nowhere: any number of the sandbox's, however it is written, and any address of its people."""

from __future__ import annotations

import re

# Any number of the organisation or of anybody else, and any address but of whoever is on call.
PERSONAL = re.compile(
    r"(?:\+|\b00|\b)44[ (0)]*(?:7700 ?900|20 ?7946 ?0)\d{3}\b|\b0(?:7700 ?900|20 ?7946 ?0)\d{3}\b"
    r"|(?!oncall@|o2@)\b[\w.'+-]+@[\w.-]*example\b",
    re.IGNORECASE,
)
