"""Explanation: find out, from staging alone, what became of one item at every stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from o2_connector.core.conversion import IndexRow, Reject
from o2_connector.core.explanation import Explanation
from o2_connector.core.identity import message_id
from o2_connector.core.layout import BatchObject, batch_object_of, batches_stems, window_of
from o2_connector.core.window import Window
from o2_connector.engine.explanation_records import Batch, conversions_of, records_of
from o2_connector.engine.explanation_runs import decided_on, told_of_decisions, told_of_waits
from o2_connector.engine.finding import Finder, Line, captured_as, written
from o2_connector.hooks.staging import StagingHook


def explain(staging: StagingHook, item_id: str, windows: Sequence[Window], *, personal: bool) -> Explanation:
    """Tell every stage of an item.

    :param windows: those to look at, oldest first.
    :param personal: whether numbers, names and addresses may be told.
    """
    finder = Finder(staging=staging)
    batches = list(_batches_with(finder, item_id, windows))
    of = sorted({batch.window for batch in batches})
    decided = decided_on(finder, of)
    made = {each.index.name: each for one in decided for each in one.record.batches}
    return Explanation(
        item_id=item_id,
        message_id=message_id(item_id),
        searched=tuple(window.name for window in windows),
        records=tuple(told for batch in batches for told in records_of(finder, batch, made, item_id, personal)),
        conversions=tuple(told for batch in batches for told in conversions_of(finder, batch, made)),
        decisions=tuple(told_of_decisions(finder, item_id, decided, batches, made, personal)),
        waits=tuple(told_of_waits(finder, item_id, decided, of, personal)),
        unread=tuple(dict.fromkeys(finder.unread)),
    )


def _batches_with(finder: Finder, item_id: str, windows: Sequence[Window]) -> Iterator[Batch]:
    """Yield every batch that has the item, those of the newest window first.

    What was converted has a line in an index, or among the rejects. A batch that was not, or that came in more than one
    way, is looked through as it came.
    """
    objects: dict[tuple[Window, str], list[BatchObject]] = {}
    found: dict[tuple[Window, str], Batch] = {}

    def names() -> Iterator[str]:
        for window in reversed(windows):
            for batch, of_batch in _objects_of(finder.staging, window).items():
                objects[window, batch] = of_batch
                of_kind = Counter(each.kind for each in of_batch)
                kinds = {"index", "rejects"}
                if not of_kind["index"] or of_kind["raw"] > 1:
                    kinds.add("raw")
                yield from (each.name for each in of_batch if each.kind in kinds)

    ours, theirs = written("item_id", item_id), captured_as("itemId", item_id)

    def lines_of(name: str) -> list[Line]:
        return finder.lines(name, theirs if "/raw/" in name else ours)

    for name, lines in finder.each(names(), lines_of):
        window, which = window_of(name), batch_object_of(name)
        if not lines or window is None or which is None:
            continue
        at = window, which.batch
        batch = found.setdefault(at, Batch(window=window, objects=tuple(objects[at])))
        if which.kind == "index":
            batch.rows.extend((name, row) for row in finder.read(name, lines, IndexRow))
        elif which.kind == "rejects":
            batch.rejects.update((each.line, each.fault) for each in finder.read(name, lines, Reject))
    yield from found.values()


def _objects_of(staging: StagingHook, window: Window) -> dict[str, list[BatchObject]]:
    """Return the objects of each batch of a window."""
    batches: dict[str, list[BatchObject]] = {}
    for stem in batches_stems(window):
        for found in filter(None, map(batch_object_of, staging.names(stem))):
            batches.setdefault(found.batch, []).append(found)
    return batches
