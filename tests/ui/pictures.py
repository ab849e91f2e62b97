"""Take the pictures of the archive page that the documentation shows, from a running Airflow that needs no password."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.ui.browser import chromium

WIDTH = 1400
TROUBLES = ("with failures", "does not balance", "failed", "archived")


def take_pictures(url: str, folder: Path) -> None:
    """Leave the page in light and in dark, and an opened window, in a folder.

    :param url: of Airflow.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(base_url=url, viewport={"width": WIDTH, "height": 900})
        page.set_default_timeout(60_000)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme="light" if theme == "light" else "dark")
            _take(page, "/plugin/o2-archive", folder / f"archive-page-{theme}.png")
        page.emulate_media(color_scheme="light")
        _take(page, f"/plugin/o2-archive/o2-archive/{_window(page)}", folder / "window-open.png")


def _take(page: Page, path: str, picture: Path) -> None:
    """Take a picture of all that the frame shows."""
    page.goto(path)
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("table").first).to_be_visible(timeout=60_000)
    height = frame.locator("main").evaluate("main => main.scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(int(height), 2400)})
    page.screenshot(path=picture, animations="disabled")


def _window(page: Page) -> str:
    """Return what leads to the window that has most to tell."""
    rows = page.frame_locator("iframe").locator("tbody tr")
    for trouble in TROUBLES:
        found = rows.filter(has=page.locator(f".is-{trouble.replace(' ', '-')}"))
        if found.count():
            return str(found.first.get_by_role("link").first.get_attribute("href"))
    return str(rows.first.get_by_role("link").first.get_attribute("href"))
