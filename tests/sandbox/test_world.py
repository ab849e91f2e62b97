"""The sandbox's world: days that keep to the contract, to the clock and to the seed."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import pytest

from sandbox.items import Item
from sandbox.people import written
from sandbox.world import World

LONDON = ZoneInfo("Europe/London")
A_DAY = datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
Whole = Annotated[int, msgspec.Meta(ge=0)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Participant(msgspec.Struct, forbid_unknown_fields=True):
    phone: Annotated[str, msgspec.Meta(min_length=1)]
    email: str | None = None
    name: str | None = None


class Thread(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    name: str | None = None


class Call(msgspec.Struct, forbid_unknown_fields=True):
    startedAt: Instant
    durationSeconds: Whole
    endedAt: Instant | msgspec.UnsetType = msgspec.UNSET


class Relation(msgspec.Struct, forbid_unknown_fields=True):
    itemId: str
    action: Literal["EDIT", "DELETE"]


class Attachment(msgspec.Struct, forbid_unknown_fields=True):
    attachmentId: str
    fileName: str
    contentType: str
    byteCount: Whole
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class ContractItem(msgspec.Struct, forbid_unknown_fields=True):
    """The contract's Item, as telemessage-archive.openapi.yaml has it."""

    itemId: str
    itemType: Literal["SMS", "MMS", "CALL", "VOICEMAIL"]
    network: Literal["O2"]
    direction: Literal["INBOUND", "OUTBOUND"]
    status: Literal["SENT", "DELIVERED", "READ", "FAILED", "ANSWERED", "MISSED", "REJECTED"]
    sentAt: Instant
    archivedAt: Instant
    from_: Participant = msgspec.field(name="from")
    to: Annotated[list[Participant], msgspec.Meta(min_length=1)]
    thread: Thread | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    call: Call | msgspec.UnsetType = msgspec.UNSET
    relatesTo: Relation | msgspec.UnsetType = msgspec.UNSET
    attachments: list[Attachment] | msgspec.UnsetType = msgspec.UNSET


@pytest.fixture(scope="module")
def world() -> World:
    return World(1, 45, 700, "Europe/London")


@pytest.fixture(scope="module")
def small_day() -> list[Item]:
    return list(World(1, 12, 60, "Europe/London").items_of(*A_DAY))


def of(day: date) -> tuple[datetime, datetime]:
    """Return a calendar day of London's as a window."""
    after = day + timedelta(days=1)
    begin, end = (datetime(at.year, at.month, at.day, tzinfo=LONDON) for at in (day, after))
    return begin.astimezone(UTC), end.astimezone(UTC)


def archived(item: Item) -> datetime:
    return datetime.fromisoformat(item["archivedAt"])


def test_every_item_keeps_to_the_contract(world: World) -> None:
    items = list(world.items_of(*A_DAY))

    decoded = [msgspec.json.decode(msgspec.json.encode(item), type=ContractItem) for item in items]

    assert len(decoded) == 700
    assert not [item for item in decoded if item.call is not msgspec.UNSET and item.itemType in {"SMS", "MMS"}]
    assert not [item for item in decoded if item.text is not msgspec.UNSET and item.itemType == "CALL"]
    assert all(item.sentAt < item.archivedAt for item in decoded)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 28), 24), (date(2026, 3, 29), 23), (date(2026, 10, 25), 25)], ids=str
)
def test_any_calendar_day_has_exactly_its_items_in_order_and_inside_it(world: World, day: date, hours: int) -> None:
    begin, end = of(day)

    moments = [archived(item) for item in world.items_of(begin, end)]

    assert end - begin == timedelta(hours=hours)
    assert len(moments) == world.count(begin, end) == 700
    assert begin < moments[0]
    assert moments[-1] < end
    assert all(earlier < later for earlier, later in itertools.pairwise(moments))


def test_windows_that_meet_share_no_item_and_miss_none(world: World) -> None:
    begin, end = of(date(2026, 3, 28))[0], of(date(2026, 3, 30))[1]
    whole = list(world.items_of(begin, end))
    cuts = [begin, archived(whole[99]), archived(whole[1000]), end]

    parts = [list(world.items_of(earlier, later)) for earlier, later in itertools.pairwise(cuts)]

    assert [len(part) for part in parts] == [99, 901, 1100]
    assert list(itertools.chain(*parts)) == whole


def test_a_part_of_a_window_is_the_same_items_wherever_it_starts(world: World) -> None:
    window = of(date(2026, 3, 28))[0] + timedelta(hours=9), of(date(2026, 3, 30))[1]
    whole = list(world.items_of(*window))

    parts = [world.items_of(*window, start, start + 333) for start in range(0, len(whole) + 333, 333)]

    assert list(itertools.chain(*parts)) == whole


def test_a_day_is_the_same_in_every_process_and_on_every_python() -> None:
    world = World(7, 45, 600, "Europe/London")

    day = b"\n".join(map(msgspec.json.encode, world.items_of(*A_DAY)))

    assert hashlib.sha256(day).hexdigest() == "47b371bfd9e37e8e92a11b8ef4646219bdd5d3ea12d71e2a71be22f58bde65d4"


def test_worlds_of_other_parameters_share_no_item_id() -> None:
    parameters: list[tuple[int, int, int, str]] = [
        (1, 12, 60, "Europe/London"),
        (2, 12, 60, "Europe/London"),
        (1, 13, 60, "Europe/London"),
        (1, 12, 61, "Europe/London"),
        (1, 12, 60, "Europe/Berlin"),
    ]

    ids = [{item["itemId"] for item in World(*each).items_of(*A_DAY)} for each in parameters]

    assert len(set.union(*ids)) == sum(map(len, ids))


def test_a_day_of_60_has_every_shape(small_day: list[Item]) -> None:
    world = World(1, 12, 60, "Europe/London")
    texts = [item.get("text", "") for item in small_day]
    parties = [party for item in small_day for party in (item["from"], *item["to"])]
    spellings = {phone: form for person in world.people for form, phone in enumerate(written(person.phone))}
    files = [file for item in small_day for file in item.get("attachments", ())]
    kinds = {(item["itemType"], item["status"], "attachments" in item) for item in small_day}
    kind_of = {phone: person.kind for person in world.people for phone in written(person.phone)}
    digests = [file["sha256"] for file in files]
    by_id = {item["itemId"]: item for item in small_day}
    changes = [item for item in small_day if "relatesTo" in item]

    seen = {
        "SMS both ways": {("SMS", "INBOUND"), ("SMS", "OUTBOUND")}
        <= {(item["itemType"], item["direction"]) for item in small_day},
        "failed send": any(item["direction"] == "OUTBOUND" and item["status"] == "FAILED" for item in small_day),
        "recorded call": ("CALL", "ANSWERED", True) in kinds,
        "call that was not recorded": ("CALL", "ANSWERED", False) in kinds,
        "missed call": ("CALL", "MISSED", False) in kinds,
        "rejected call": ("CALL", "REJECTED", False) in kinds,
        "voicemail": ("VOICEMAIL", "DELIVERED", True) in kinds,
        "picture": {"image/png", "image/jpeg"} <= {file["contentType"] for file in files},
        "large picture": any(3_000_000 < file["byteCount"] < 5_000_000 for file in files),
        "slides": any(
            [file["contentType"].split(";")[0] for file in item.get("attachments", ())]
            == ["application/smil", "image/jpeg", "text/plain"]
            for item in small_day
        ),
        "shared attachment": len(digests) > len(set(digests)),
        "named group": any(item.get("thread", {}).get("name") and len(item["to"]) > 1 for item in small_day),
        "edit and deletion": {item["relatesTo"]["action"] for item in changes} == {"EDIT", "DELETE"},
        "what was changed": all(
            by_id[item["relatesTo"]["itemId"]]["to"] == item["to"]
            and by_id[item["relatesTo"]["itemId"]]["thread"] == item["thread"]
            for item in changes
        ),
        "emoji joined": any("\u200d" in text for text in texts),
        "right to left": any(unicodedata.bidirectional(char) in "RAL" for text in texts for char in text),
        "combining marks": any(unicodedata.combining(char) for text in texts for char in text),
        "very long text": max(map(len, texts)) > 5000,
        "line separator": any("\u2028" in text for text in texts),
        "empty text": any(item.get("text") == "" and "relatesTo" not in item for item in small_day),
        "short code": any(party["phone"] == "60777" for party in parties),
        "alphanumeric sender": any(item["from"]["phone"] == "O2UK" for item in small_day),
        "three spellings": {spellings[party["phone"]] for party in parties if party["phone"] in spellings} == {0, 1, 2},
        "late": any(archived(item) - datetime.fromisoformat(item["sentAt"]) > timedelta(days=1) for item in small_day),
        "internal": any(len(world.users_of(item)) == 2 for item in small_day if len(item["to"]) == 1),
        "parked": any(not world.users_of(item) for item in small_day),
        "two phones, one mailbox": any(
            {"two phones", "second phone"} <= {kind_of.get(to["phone"]) for to in item["to"]}
            and len(world.users_of(item)) == 1
            for item in small_day
        ),
        "every kind of phone": {person.kind for person in world.people}
        == {kind_of[party["phone"]] for party in parties if party["phone"] in kind_of},
    }

    assert [name for name, there in seen.items() if not there] == []


def test_a_large_day_is_mostly_sms_and_tens_of_megabytes() -> None:
    world = World(1, 25, 2000, "Europe/London")

    items = list(world.items_of(*A_DAY))

    share = {kind: count / 2000 for kind, count in Counter(item["itemType"] for item in items).items()}
    size = sum(file["byteCount"] for item in items for file in item.get("attachments", ()))
    assert share == pytest.approx({"SMS": 0.80, "CALL": 0.10, "MMS": 0.08, "VOICEMAIL": 0.02}, abs=0.03)
    assert 10_000_000 < size < 60_000_000


def test_attachments_are_the_bytes_that_their_items_announce(small_day: list[Item]) -> None:
    world = World(1, 12, 60, "Europe/London")
    files = [file for item in small_day for file in item.get("attachments", ())]

    for file in files:
        media = world.attachment(file["attachmentId"])
        assert media is not None
        content = media.content()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["byteCount"], file["sha256"])


def test_an_attachment_that_no_item_has_is_unknown(small_day: list[Item]) -> None:
    world = World(1, 12, 60, "Europe/London")
    known = next(item["attachments"][0]["attachmentId"] for item in small_day if "attachments" in item)
    without_file = f"{small_day[0]['itemId']}-a0"
    of_another_world = known.replace(known[3:9], "000000")
    on_no_day = known.replace("20260303", "20260231")

    unknown = ["", f"{known}9", f"{known[:-1]}9", known.replace("-a", "-b"), without_file, of_another_world, on_no_day]

    assert world.attachment(known) is not None
    assert [world.attachment(attachment_id) for attachment_id in unknown] == [None] * 7


def test_the_last_items_of_a_million_come_as_fast_as_the_first() -> None:
    world = World(1, 25, 1_000_000, "Europe/London")

    last = list(world.items_of(*A_DAY, 999_990))

    assert len(last) == 10
    assert last[-1]["itemId"].endswith("0999999")


def test_the_directory_has_every_kind_of_user() -> None:
    small, larger = World(1, 12, 5, "UTC").directory, World(1, 40, 5, "UTC").directory

    assert (len(small), len(larger)) == (12, 40)
    assert {user.mailbox for user in small} == {"ok", "none"}
    assert {user.mailbox for user in larger} == {"ok", "none", "full", "denied"}
    assert [user.user_type for user in small].count("Guest") == 1
    assert [user.account_enabled for user in small].count(False) == 1
    assert any(proxy.startswith("smtp:") for user in small for proxy in user.proxy_addresses)
    assert any("'" in user.user_principal_name for user in small)


@pytest.mark.parametrize("users", [11, 1501])
def test_a_world_with_too_few_or_too_many_users_is_refused(users: int) -> None:
    with pytest.raises(ValueError, match=f"not {users}"):
        World(1, users, 5, "UTC")


def test_numbers_are_kept_for_drama_and_nobody_else_has_the_organisations(world: World) -> None:
    ours = {phone for person in world.people for phone in written(person.phone)}
    phones = {party["phone"] for item in world.items_of(*A_DAY) for party in (item["from"], *item["to"])}

    others = phones - ours

    drama = re.compile(r"(\+44|44|0)(7700 ?900\d{3}|20 ?7946 ?0\d{3})")
    assert {phone for phone in phones if not drama.fullmatch(phone)} == {"60777", "O2UK"}
    assert all(re.sub(r"\D", "", phone)[-3:] >= "800" for phone in others if drama.fullmatch(phone))
    assert len(others) > 100


def test_the_mapping_file_has_some_people_and_contradicts_nothing(world: World) -> None:
    rows = [line.split(",") for line in world.mapping_csv().splitlines()]

    numbers = {re.sub(r"\D", "", row[0])[-9:] for row in rows[1:]}

    assert rows[0] == ["ExternalUserId", "O365UserMailbox"]
    assert len(numbers) == len(rows) - 1
    assert 0 < len(numbers) < len(world.people)


def write_corpus(folder: Path, name: str) -> Path:
    lines: list[dict[str, Any]] = [
        {"sender": "51", "text": "Ok lar… joking wif u oni\r\n\u2028 e\u0301 🫠"},
        {"sender": "52", "text": ""},
        {"sender": "51", "text": "= twice ="},
    ]
    content = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    file = folder / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return file


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_a_corpus_is_a_day_of_inbound_sms_with_exactly_its_texts(tmp_path: Path, name: str) -> None:
    world = World(1, 25, 60, "Europe/London", write_corpus(tmp_path, name))

    items = list(world.items_of(*A_DAY))

    assert [item["text"] for item in items] == ["Ok lar… joking wif u oni\r\n\u2028 e\u0301 🫠", "", "= twice ="]
    assert {(item["itemType"], item["direction"]) for item in items} == {("SMS", "INBOUND")}
    assert [[user.mailbox for user in world.users_of(item)] for item in items] == [["ok"]] * 3
    assert items[0]["from"] == items[2]["from"] != items[1]["from"]
    assert [item["itemId"][-7:] for item in items] == ["0000000", "0000001", "0000002"]
