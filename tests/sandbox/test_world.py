"""The sandbox's world: days that keep to the contract, to the clock and to the seed."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import tracemalloc
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import pytest

from sandbox.items import ONCE_A_DAY, PARTICULAR, Item
from sandbox.media import Media, size_and_digest
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
    return list(World(1, 12, len(PARTICULAR), "Europe/London").items_of(*A_DAY))


def of(day: date) -> tuple[datetime, datetime]:
    """Return a calendar day of London's as a window."""
    after = day + timedelta(days=1)
    begin, end = (datetime(at.year, at.month, at.day, tzinfo=LONDON) for at in (day, after))
    return begin.astimezone(UTC), end.astimezone(UTC)


def archived(item: Item) -> datetime:
    return datetime.fromisoformat(item["archivedAt"])


def as_agreed(item: Item) -> Item:
    """Take away what the particular item with unknown fields has more than the contract knows."""
    known = {name: value for name, value in item.items() if name not in {"x/billing~code", "legalHold"}}
    known["thread"] = {name: item["thread"][name] for name in ("id", "name")}
    known["from"] = {name: value for name, value in item["from"].items() if name not in {"carrier", "~verified"}}
    known["to"] = [{name: value for name, value in each.items() if name != "device"} for each in item["to"]]
    known["attachments"] = [
        {name: value for name, value in each.items() if name not in {"thumbnail", "scanned"}}
        for each in item["attachments"]
    ]
    return known


def test_every_item_keeps_to_the_contract_or_has_more_fields(world: World) -> None:
    more = [item for item in world.items_of(*A_DAY) if "legalHold" in item]
    items = [as_agreed(item) if "legalHold" in item else item for item in world.items_of(*A_DAY)]

    decoded = [msgspec.json.decode(msgspec.json.encode(item), type=ContractItem) for item in items]

    assert len(decoded) == 700
    assert [type(item["x/billing~code"]) for item in more] == [dict, dict]  # one in each stretch
    assert all("device" in item["to"][0] and "carrier" in item["from"] for item in more)
    assert all("muted" in item["thread"] and "thumbnail" in item["attachments"][0] for item in more)
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

    assert hashlib.sha256(day).hexdigest() == "10470020952d735de0c72d3095e4f4063990d27bf3a2a5a3a07e26a9b1da1316"


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


def test_a_day_with_an_item_for_each_shape_has_them_all(small_day: list[Item]) -> None:
    world = World(1, 12, len(PARTICULAR), "Europe/London")
    texts = [item.get("text", "") for item in small_day]
    parties = [party for item in small_day for party in (item["from"], *item["to"])]
    spellings = {phone: form for person in world.people for form, phone in enumerate(written(person.phone))}
    files = [file for item in small_day for file in item.get("attachments", ())]
    kinds = {(item["itemType"], item["status"], "attachments" in item) for item in small_day}
    kind_of = {phone: person.kind for person in world.people for phone in written(person.phone)}
    digests = [file["sha256"] for file in files]
    sizes = [file["byteCount"] for file in files]
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
        "recording beyond the connector's 10 MB": any(10_000_000 < size < 15_000_000 for size in sizes),
        "recording beyond a mailbox's 35 MB": any(35 * 1024 * 1024 < size < 45_000_000 for size in sizes),
        "picture and nothing": any(
            [bool(file["byteCount"]) for file in item.get("attachments", ())] == [True, False] for item in small_day
        ),
        "picture for a group with several mailboxes": any(
            len(item["to"]) > 1 and "attachments" in item and len(world.users_of(item)) > 1 for item in small_day
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


@pytest.mark.parametrize("items", [1, 30, len(PARTICULAR) - 3, 60])
def test_a_day_with_fewer_items_than_shapes_has_the_first_of_them(items: int) -> None:
    full = World(1, 12, len(PARTICULAR) - 2, "Europe/London").items_of(*A_DAY)

    short = list(World(1, 12, items, "Europe/London").items_of(*A_DAY))

    assert [(item["itemType"], len(item.get("attachments", ()))) for item in short] == [
        (item["itemType"], len(item.get("attachments", ()))) for item in itertools.islice(full, items)
    ]


def test_files_of_more_than_10_mb_come_once_a_day_and_are_the_same_every_day() -> None:
    world = World(1, 12, 2000, "Europe/London")

    days = [
        [
            (index, file["byteCount"], file["sha256"])
            for index, item in enumerate(world.items_of(*of(day)))
            for file in item.get("attachments", ())
            if file["byteCount"] > 10_000_000
        ]
        for day in (date(2026, 3, 3), date(2026, 3, 4))
    ]

    assert len(days[0]) == len(ONCE_A_DAY)
    assert days[0] == days[1]
    assert all(index < 500 for index, *_ in days[0])


def test_on_a_quiet_day_nothing_was_captured_and_all_else_stays() -> None:
    usual, quiet = (World(1, 12, 70, "Europe/London", quiet=days) for days in ([], [date(2026, 11, 21)]))
    start, end = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)

    left = list(quiet.items_of(start, end))

    assert left == [item for item in usual.items_of(start, end) if not item["archivedAt"].startswith("2026-11-21")]
    assert len(left) == quiet.count(start, end) == 140


def test_a_part_of_a_long_recording_takes_no_more_memory_than_itself() -> None:
    made = Media(kind="wav", key="any", size=2500).made()
    tracemalloc.start()

    part = made.part(30_000_001, 30_100_000)
    size, digest = size_and_digest(Media(kind="wav", key="any", size=2500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    whole = Media(kind="wav", key="any", size=2500).content()
    assert peak < 8_000_000
    assert part == whole[30_000_001:30_100_000]
    assert (size, digest) == (len(whole), hashlib.sha256(whole).hexdigest())


@pytest.mark.parametrize("kind", ["wav", "amr", "png", "jpeg", "smil", "text"])
def test_any_part_of_a_file_is_that_part_of_the_whole(kind: str) -> None:
    media = Media(kind=kind, key="any", size=16)
    whole, made = media.content(), media.made()
    ends = [0, 1, 5, 6, 7, 43, 44, 45, 46, 99, 100, 700, made.size // 2, made.size - 1, made.size, made.size + 9]

    parts = {(start, stop): made.part(start, stop) for start in ends for stop in ends if start <= stop}

    assert made.size == len(whole) > 0
    assert parts == {(start, stop): whole[start:stop] for start, stop in parts}
    assert b"".join(made.pieces(1, 99)) == whole[1:99]


def test_a_large_day_is_mostly_sms_and_tens_of_megabytes() -> None:
    world = World(1, 25, 2000, "Europe/London")

    items = list(world.items_of(*A_DAY))

    share = {kind: count / 2000 for kind, count in Counter(item["itemType"] for item in items).items()}
    size = sum(file["byteCount"] for item in items for file in item.get("attachments", ()))
    assert share == pytest.approx({"SMS": 0.80, "CALL": 0.10, "MMS": 0.08, "VOICEMAIL": 0.02}, abs=0.03)
    assert 52_000_000 < size < 100_000_000


def test_attachments_are_the_bytes_that_their_items_announce(small_day: list[Item]) -> None:
    world = World(1, 12, len(PARTICULAR), "Europe/London")
    files = [file for item in small_day for file in item.get("attachments", ())]

    for file in files:
        media = world.attachment(file["attachmentId"])
        assert media is not None
        content = media.content()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["byteCount"], file["sha256"])


def test_an_attachment_that_no_item_has_is_unknown(small_day: list[Item]) -> None:
    world = World(1, 12, len(PARTICULAR), "Europe/London")
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


def test_a_larger_directory_has_a_user_for_every_reason_to_have_no_mailbox() -> None:
    small, larger = World(1, 39, 5, "UTC").directory, World(1, 40, 5, "UTC").directory
    without = [user for user in larger if user.mailbox == "none"]

    told = Counter(
        (user.user_type, user.account_enabled, user.licensed, user.synced, user.deleted, user.mail is not None)
        for user in without
    )

    assert told == {
        ("Guest", True, False, False, False, True): 1,
        ("Member", True, False, False, False, False): 1,  # never had one
        ("Member", True, False, False, False, True): 1,  # lost the licence
        ("Member", True, False, True, False, True): 1,  # on premises
        ("Member", False, False, False, False, True): 1,  # left
        ("Member", True, False, False, True, True): 1,  # deleted
    }
    assert any(not user.account_enabled and not user.licensed and user.mailbox == "ok" for user in larger)  # shared
    assert not any(user.synced or user.deleted for user in small)
    assert {person.user for person in World(1, 40, 5, "UTC").people}.isdisjoint(without)


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
