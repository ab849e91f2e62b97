"""Windows: which were ever archived."""

from __future__ import annotations

from collections.abc import Iterator

from o2_connector.core.layout import WINDOWS
from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook


def windows_in(staging: StagingHook, span: Window | None = None, root: str = WINDOWS) -> Iterator[Window]:
    """Yield every window that was ever archived and shares time with a span, in order.

    :param span: without it all.
    :param root: :data:`o2_connector.core.layout.REPLAYS` for what replays were about.
    """
    for name in staging.folders(root):
        window = Window.named(name)
        if window and (span is None or window.overlaps(span)):
            yield window
