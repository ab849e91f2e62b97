"""Staged: where the links from Airflow's tasks to what they staged lead. Names only; they say nothing of anybody."""

from html import escape
from itertools import islice
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse

from o2_connector.core.errors import StopError
from o2_connector.core.layout import window_of
from o2_connector.hooks.staging import check_name
from o2_connector.ui.access import READER
from o2_connector.ui.archive import Archive, open_archive

MOST = 1000
"""Names that are shown at once."""

PAGE = (Path(__file__).parent / "static" / "staged.html").read_text(encoding="utf-8")

router = APIRouter()


@router.get("/staged", dependencies=[READER])
def staged(archive: Annotated[Archive, Depends(open_archive)], stem: Annotated[str, Query()]) -> HTMLResponse:
    """List the objects whose names begin with a stem, and say where they lie."""
    place = stem[:-1] if stem.endswith(("/", ".")) else stem
    try:
        check_name(place)
    except StopError:
        raise HTTPException(404, "There is no such place in staging.") from None
    names = list(islice(archive.staging.names(stem), MOST + 1))
    window = window_of(stem)
    filled = {
        "url": escape(archive.staging.url(place)),
        "count": f"The first {MOST:,} objects"
        if len(names) > MOST
        else f"{len(names):,} object{'s' * (len(names) != 1)}",
        "window": f'<p class="path"><a href="./?window={window.name}">The window</a></p>' if window else "",
        "names": "\n".join(f"<li><code>{escape(name.removeprefix(stem))}</code></li>" for name in names[:MOST]),
    }
    content = PAGE
    for name, text in filled.items():
        content = content.replace(f"{{{{ {name} }}}}", text)
    return HTMLResponse(content)
