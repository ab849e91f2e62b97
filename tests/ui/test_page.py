"""The page in a real Chromium, in Airflow's own frame and on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Locator, Page, expect

from o2_connector.core.window import Window
from o2_connector.hooks.staging import StagingHook
from o2_connector.ui.archive import open_archive
from tests.ui.browser import chromium
from tests.ui.history import add_book, add_run, add_tasks, counted, date_of, day, failed_detail, report_of
from tests.ui.server import served, token
from tests.ui.test_app import parked_detail

pytestmark = pytest.mark.browser

FRAME = "/plugin/o2-archive"
PATIENCE = 20_000  # milliseconds; Airflow's own pages take seconds on a busy machine
expect.set_options(timeout=PATIENCE)
THERE = ZoneInfo("America/New_York")  # where whoever looks is
HALF = Window(start=day(2).start, end=day(2).start + timedelta(hours=12))


@pytest.fixture(scope="module")
def url(airflow: FastAPI) -> Iterator[str]:
    with served(airflow) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Gather what goes wrong on a page: nothing that it loads may be refused or fail."""
    complaints: list[str] = []
    yield complaints
    assert complaints == []


@pytest.fixture(scope="module")
def context(airflow: FastAPI, url: str, browser: Browser) -> Iterator[BrowserContext]:
    """Log somebody in who may do everything. Airflow's own script is 7 MB: one context reads it once."""
    context = browser.new_context(base_url=url, viewport={"width": 1400, "height": 1000}, timezone_id=THERE.key)
    context.add_cookies([{"name": "_token", "value": token(airflow, "ada"), "url": url}])
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(archive: StagingHook, context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    page.evaluate("localStorage.clear()")
    page.close()


def past() -> tuple[str, str]:
    """Archive two days with a gap between them; return the id of the run whose book has failures, and its digest."""
    add_book(report_of(day(3), counted(1234)))
    run = add_run(day(1), "failed")
    tasks = [("extract", -1, "success"), *(("convert", number, "success") for number in range(3))]
    add_tasks(run, [*tasks, ("import_to_mailboxes", 0, "failed"), ("import_to_mailboxes", 1, "success")])
    details = (failed_detail(1), failed_detail(2), parked_detail(3))
    return run, add_book(report_of(day(1), counted(7, parked=1, failed=2), details=details))


def framed(page: Page) -> FrameLocator:
    return page.frame_locator("iframe")


def spoken(window: Window) -> str:
    """Return a day as a screen reader says it in the calendar."""
    return f"{date_of(window):%A %-d %B %Y}"


def in_words(window: Window) -> str:
    """Return a day as the table calls it."""
    return f"{date_of(window):%a %-d %b %Y}"


# In Airflow


def test_the_page_is_in_airflows_own_navigation(page: Page) -> None:
    past()
    page.goto("/")

    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="O2 archive").click()

    expect(framed(page).get_by_role("heading", name="O2 archive")).to_be_visible()
    assert page.url.endswith("/plugin/o2-archive/o2-archive/") or page.url.endswith("/plugin/o2-archive")


def test_a_window_has_an_address_in_airflow(page: Page) -> None:
    past()
    page.goto(FRAME)

    framed(page).get_by_role("rowheader").get_by_role("link", name=in_words(day(1))).click()
    expect(framed(page).get_by_role("heading", level=1)).to_contain_text("with failures")
    page.wait_for_url(f"**{FRAME}/o2-archive/?window={day(1).name}")
    page.reload()

    expect(framed(page).get_by_role("heading", level=1)).to_contain_text(in_words(day(1)))


def test_links_to_airflow_lead_the_page_around_the_frame(page: Page) -> None:
    run, _ = past()
    page.goto(f"{FRAME}/o2-archive/?window={day(1).name}")

    framed(page).get_by_role("link", name="In Airflow").click()

    page.wait_for_url(f"**/dags/o2_network_archive/runs/{run.replace('+', '%2B').replace(':', '%3A')}*")


def test_the_theme_is_airflows_and_changes_with_it(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(FRAME)
    html = framed(page).locator("html")
    expect(html).to_have_attribute("data-theme", "light")

    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Appearance").hover()
    page.get_by_role("menuitemradio", name="Dark Mode").click()

    expect(page.locator("html")).to_have_class("dark")
    expect(html).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(framed(page).locator("html")).to_have_attribute("data-theme", "dark")


def test_without_a_word_of_airflows_the_theme_is_the_systems(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(FRAME)

    expect(framed(page).locator("html")).to_have_attribute("data-theme", "dark")


# The forms


def there(moment: datetime) -> str:
    """Return a time as Airflow's forms write it for whoever looks."""
    return f"{moment.astimezone(THERE):%b %-d, %Y %H:%M}"


def dialog(page: Page) -> Locator:
    return page.locator('[role="dialog"]', has=page.locator('input[value="single"]'))


def test_a_gap_leads_to_airflows_trigger_form_with_the_day_filled_in(page: Page) -> None:
    past()
    page.goto(FRAME)

    framed(page).get_by_role("link", name=f"Archive {in_words(day(2))}").click()

    expect(dialog(page).locator('input[name="element_day"]')).to_have_value(str(date_of(day(2))))
    expect(dialog(page).locator('input[name="element_dry_run"]')).not_to_be_checked()
    expect(page).to_have_url(page.url.partition("?")[0])
    assert page.url.endswith("/dags/o2_network_archive")


def test_a_dry_run_of_an_archived_day_is_filled_in(page: Page) -> None:
    past()
    page.goto(f"{FRAME}/o2-archive/?window={day(3).name}")

    framed(page).get_by_role("link", name="Dry run …").click()

    expect(dialog(page).locator('input[name="element_day"]')).to_have_value(str(date_of(day(3))))
    expect(dialog(page).locator('input[name="element_dry_run"]')).to_be_checked()


def test_what_filled_in_the_form_is_not_in_the_address_of_the_run(page: Page) -> None:
    past()
    page.goto(f"{FRAME}/o2-archive/?window={day(3).name}")
    framed(page).get_by_role("link", name="Dry run …").click()
    expect(dialog(page).locator('input[name="element_dry_run"]')).to_be_checked()

    dialog(page).get_by_role("button", name="Trigger").click()

    expect(page).to_have_url(re.compile(r"/dags/o2_network_archive/runs/manual__[^?]*$"))


def test_a_span_other_than_a_day_is_filled_in_by_the_clock_of_whoever_looks(page: Page) -> None:
    add_book(report_of(HALF, counted(3)))
    page.goto(f"{FRAME}/o2-archive/?window={HALF.name}")

    framed(page).get_by_role("link", name="Archive again …").click()

    dates = dialog(page).get_by_test_id("datetime-input")  # the first is the logical date
    expect(dates.nth(1)).to_have_text(there(HALF.start))
    expect(dates.nth(2)).to_have_text(there(HALF.end))
    expect(dates.nth(2)).to_be_visible()


def test_days_that_are_missing_lead_to_airflows_backfill_form_with_the_days_filled_in(page: Page) -> None:
    add_book(report_of(day(5), counted(3)))
    add_book(report_of(day(2), counted(3)))
    page.goto(FRAME)

    framed(page).get_by_role("link", name=f"Backfill 2 days from {in_words(day(4))} …").click()

    dates = dialog(page).get_by_test_id("datetime-input")
    expect(dates.nth(0)).to_have_text(there(day(4).start))
    expect(dates.nth(1)).to_have_text(there(day(3).start))
    expect(dialog(page).locator('input[value="none"]')).to_be_checked()
    expect(dialog(page).get_by_text("2 runs will be triggered")).to_be_visible()


def test_a_window_leads_to_the_backfill_of_its_day(page: Page) -> None:
    past()
    page.goto(f"{FRAME}/o2-archive/?window={day(3).name}")

    framed(page).get_by_role("link", name="Backfill …").click()

    dates = dialog(page).get_by_test_id("datetime-input")
    expect(dates.nth(0)).to_have_text(there(day(3).start))
    expect(dates.nth(1)).to_have_text(there(day(3).start))
    expect(dialog(page).locator('input[value="completed"]')).to_be_checked()


# Everything in short


def test_gaps_stand_out_in_the_calendar_and_in_the_table(page: Page) -> None:
    past()
    page.goto("/o2-archive/")

    expect(page.get_by_role("link", name=f"{spoken(day(2))}: not archived")).to_have_text("○")
    row = page.get_by_role("row", name=in_words(day(2)))
    expect(row).to_contain_text("not archived")
    expect(page.get_by_text("1 day not archived")).to_be_visible()


def test_the_table_has_what_the_books_say(page: Page) -> None:
    past()
    page.goto("/o2-archive/")

    cells = page.get_by_role("row", name=in_words(day(1))).get_by_role("cell")

    expect(cells).to_have_count(12)
    assert cells.all_inner_texts()[1:10] == ["7", "6", "4", "0", "0", "2", "1", "0", "0"]
    assert cells.all_inner_texts()[10] == "2 min 10 s"


def test_the_table_shows_one_state_alone_when_asked(page: Page) -> None:
    past()
    page.goto("/o2-archive/")

    page.get_by_role("button", name="not archived 1").click()

    expect(page.get_by_role("rowheader")).to_have_text([in_words(day(2))])
    expect(page.get_by_role("button", name="not archived 1")).to_have_attribute("aria-pressed", "true")


def test_a_table_of_many_windows_is_turned_by_pages(page: Page) -> None:
    for back in range(60, 0, -1):
        add_run(day(back), "running")
    page.goto("/o2-archive/")
    expect(page.get_by_role("rowheader")).to_have_count(50)

    page.get_by_role("button", name="Older").click()

    expect(page.get_by_role("rowheader")).to_have_count(10)
    expect(page.get_by_role("rowheader").last).to_have_text(in_words(day(60)))


def test_arrow_keys_move_among_days_and_enter_opens_one(page: Page) -> None:
    past()
    page.goto("/o2-archive/")
    page.get_by_role("link", name=f"{spoken(day(1))}: with failures").focus()

    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("link", name=f"{spoken(day(2))}: not archived")).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("not archived")


def test_what_changes_while_the_page_is_open_is_shown(page: Page) -> None:
    add_book(report_of(day(2), counted(3)))
    page.clock.install()
    page.goto("/o2-archive/")
    expect(page.get_by_role("rowheader").first).to_have_text(in_words(day(1)))
    expect(page.get_by_role("row", name=in_words(day(1)))).to_contain_text("not archived")

    add_run(day(1), "running")
    page.clock.run_for(31_000)

    expect(page.get_by_role("row", name=in_words(day(1)))).to_contain_text("running")


def test_an_archive_without_a_past_says_what_to_do(page: Page) -> None:
    page.goto("/o2-archive/")
    expect(page.get_by_role("heading", name="No window has been archived yet")).to_be_visible()

    page.get_by_role("link", name="Open the DAG").click()

    page.wait_for_url("**/dags/o2_network_archive*")


# One window


def test_a_window_opens_to_causes_with_their_remedies_and_tasks(page: Page) -> None:
    past()
    page.goto(f"/o2-archive/?window={day(1).name}")

    causes = page.get_by_role("row", name="ErrorQuotaExceeded")
    expect(causes).to_contain_text("enlarge the mailbox")
    causes.get_by_text("Which").click()
    expect(causes.get_by_text("item-2")).to_be_visible()
    expect(page.get_by_role("row", name="convert (3)")).to_contain_text("success 3")
    failed = page.get_by_role("row", name="import_to_mailboxes 0")
    expect(failed).to_contain_text("failed")
    log = failed.get_by_role("link", name="Log").get_attribute("href")
    assert log is not None
    assert log.endswith("/tasks/import_to_mailboxes/mapped/0")


@pytest.mark.parametrize("form", ["CSV", "JSON"])
def test_a_report_is_downloaded_from_airflows_frame(page: Page, archive: StagingHook, form: str) -> None:
    _, digest = past()
    page.goto(f"{FRAME}/o2-archive/?window={day(1).name}")

    with page.expect_download() as download:
        framed(page).get_by_role("link", name=f"Report, {form}").first.click()

    assert download.value.suggested_filename == f"o2-report-{day(1).name}-{digest[:8]}.{form.lower()}"
    (staged,) = [
        name
        for name in archive.names(f"windows/{day(1).name}/")
        if name.endswith(f".{form.lower()}") and "report." in name
    ]
    with archive.reader(archive.staged(staged)) as content:
        assert Path(download.value.path()).read_bytes() == content.read()


def test_a_window_that_is_none_is_refused_in_words(page: Page, complaints: list[str]) -> None:
    page.goto("/o2-archive/?window=yesterday")

    expect(page.get_by_role("alert")).to_have_text("That is no window's name.")
    expect(page.get_by_role("link", name="All windows")).to_be_visible()
    complaints.clear()  # Chromium says that an answer was a 404


def test_staging_that_cannot_be_read_is_told_with_the_remedy(
    page: Page, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_O2_STAGING")
    open_archive.cache_clear()

    page.goto(FRAME)

    expect(framed(page).get_by_role("alert")).to_contain_text("there is no connection o2_staging; make one")
    complaints.clear()  # Chromium says that an answer was a 503


# For everybody


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("query", ["", f"?window={day(1).name}"], ids=["all", "one"])
def test_every_text_has_contrast_enough_and_every_control_a_name(
    page: Page, theme: Literal["light", "dark"], query: str
) -> None:
    past()
    add_run(day(4), "running")
    page.emulate_media(color_scheme=theme)
    page.goto(f"/o2-archive/{query}")
    page.get_by_role("table").first.wait_for()

    pale = page.evaluate(CONTRAST)
    nameless = page.evaluate(
        "[...document.querySelectorAll('a, button')].filter(e => !(e.ariaLabel || e.textContent).trim()).length"
    )

    assert pale == []
    assert nameless == 0


# Every text whose colour has less than 4.5 to 1 to the ground that lies behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const [r, g, b, a = 1] = rgb(getComputedStyle(each).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("main *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (!text || element.closest(":disabled, .hidden") || !element.offsetParent) continue;
    const [fore, back] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.className} ${text}`);
  }
  return found;
}"""
