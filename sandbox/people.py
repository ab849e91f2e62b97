"""The organisation: its directory, its phones, and the mapping file that its admins keep."""

from __future__ import annotations

import csv
import io
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from sandbox.directory import User

DOMAIN = "example.com"
FEWEST_USERS = 12
MOST_USERS = 1500
USERS_OF_A_LARGER_WORLD = 40

# Ofcom keeps these numbers for drama: 07700 900000-900999 and 020 7946 0000-0999
# (https://www.ofcom.org.uk/phones-and-broadband/phone-numbers/numbers-for-drama). The organisation has the first 800
# of each, everybody else the last 200.
_OURS_OF_EACH = 800
_DRAMA_NUMBERS = 1000

_FIRST_NAMES = (
    "Amelia Oliver Zoë Łukasz Priya Mohammed Siân Hương José Chloë Kwame Aoife Björn Yūki Fatima Grace Henry Ines "
    "Jakub Keira Liam Maya Noor Owen Petra Quinn Rosa Samir Tessa Uma Viktor Wanda Xenia Yusuf Zara Arlo Bea Callum "
    "Dilys Ewan"
)
_LAST_NAMES = (
    "Shaw O'Connor Nowak Patel Nguyễn Jones García Müller Okafor Khan Smith-Barry Evans Brown Walsh Larsen Tanaka "
    "Rossi Cohen Dubois Haddad Ivanova Jensen Kelly Lewis Moreau Novák Olsen Price Quill Reid Silva Turner Ueda Vance "
    "Wright Xu Young Ziegler Ahmed Bell"
)
# What opening the mailbox of a user of some kind meets; anybody else's opens.
_MAILBOX: Final[dict[str, Literal["none", "full", "denied"]]] = {
    "guest": "none",
    "no mailbox": "none",
    "on premises": "none",
    "unlicensed": "none",
    "closed": "none",
    "deleted": "none",
    "full": "full",
    "denied": "denied",
}
_PLAIN = str.maketrans("ëŁâôươöéüíñāáłńśūÅūễ", "eLaouooeuinaalnsuAue")


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Name one phone of the organisation.

    `email` is the User's Email address property of its records, `mapped_to` what the mapping file says of the number
    (None: it has no row), `user` whose mailbox the rules lead to: the file first, then the property, valid mailboxes
    only (None: the phone's items are parked). `kind` says what is particular about the phone.
    """

    phone: str
    name: str
    email: str | None
    mapped_to: str | None
    user: User | None
    kind: str

    def participant(self, form: int = 0) -> dict[str, Any]:
        """Return the contract's Participant, the number in one of the ways in which the network writes it."""
        participant: dict[str, Any] = {"phone": written(self.phone)[form], "email": self.email, "name": self.name}
        if self.email is None and form:
            del participant["email"]  # the contract allows null and absence alike
        return participant


def our_number(index: int) -> str:
    """Return the organisation's phone number of this index, in E.164 form."""
    return _number(index) if index < _OURS_OF_EACH else _number(index - _OURS_OF_EACH + _DRAMA_NUMBERS)


def other_number(index: int) -> str:
    """Return a number that is never the organisation's, in E.164 form; there are 400, which repeat."""
    landline, rest = divmod(index % 400, _DRAMA_NUMBERS - _OURS_OF_EACH)
    return _number(landline * _DRAMA_NUMBERS + _OURS_OF_EACH + rest)


def _number(index: int) -> str:
    landline, last = divmod(index, _DRAMA_NUMBERS)
    return f"+4420794{60_000 + last}" if landline else f"+447700{900_000 + last}"


@lru_cache(maxsize=4096)
def written(phone: str) -> tuple[str, str, str]:
    """Return a number in the forms that the network writes: +447700900123, 447700900123, 07700 900123."""
    national = phone.removeprefix("+44")
    if national.startswith("20"):
        return phone, phone[1:], f"0{national[:2]} {national[2:6]} {national[6:]}"
    return phone, phone[1:], f"0{national[:4]} {national[4:]}"


def line_of(phone: str) -> str:
    """Return what all spellings of a number share; a short code or a name stays as it is."""
    return phone.replace(" ", "")[-10:]


def organisation(seed: int, users: int) -> tuple[tuple[User, ...], tuple[Person, ...]]:
    """Make the directory's users, `users` of them, and the organisation's phones, a few more."""
    if not FEWEST_USERS <= users <= MOST_USERS:
        raise ValueError(f"users must be {FEWEST_USERS} to {MOST_USERS}, not {users}")
    kinds = _kinds(users)
    directory = tuple(_user(seed, index, kind) for index, kind in enumerate(kinds))
    people = [_person(index, kind, directory) for index, kind in enumerate(kinds)]
    second = next(person for person in people if person.kind == "two phones")
    numbers = map(our_number, range(users, MOST_USERS + 100))
    people.append(
        Person(
            phone=next(numbers),
            name=second.name,
            email=None,
            mapped_to=second.email,
            user=second.user,
            kind="second phone",
        )
    )
    people.append(
        Person(phone=next(numbers), name="Pool phone 7", email=None, mapped_to=None, user=None, kind="unknown")
    )
    for left in range(1 + users // 25):
        name = _name(users + left)
        people.append(
            Person(
                phone=next(numbers),
                name=name,
                email=f"{_mail_name(name)}@{DOMAIN}",
                mapped_to=None,
                user=None,
                kind="left",
            )
        )
    return directory, tuple(people)


def mapping_csv(people: tuple[Person, ...]) -> str:
    """Write the mapping file as admins do: Excel's line ends, each number as somebody typed it.

    The headings are those of Microsoft's template for its Slack connector, the only one that is published.
    """
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(("ExternalUserId", "O365UserMailbox"))
    rows.writerows(
        (written(person.phone)[index % 3], person.mapped_to)
        for index, person in enumerate(people)
        if person.mapped_to is not None
    )
    return file.getvalue()


def _kinds(users: int) -> list[str]:
    """Return what is particular about each user: the same few in every world, everybody else by file or property."""
    first = ["alias", "two phones", "file overrules", "no property", "other spelling", "stale row"]
    last = ["disabled", "guest", "no mailbox"]
    if users >= USERS_OF_A_LARGER_WORLD:
        last = ["shared", "on premises", "unlicensed", "closed", "deleted", "denied", "full", *last]
    plain = ["in the file" if index % 2 else "by property" for index in range(users - len(first) - len(last))]
    return [*first, *plain, *last]


def _name(index: int) -> str:
    """Return a name that no other index below 1,600 has."""
    first, last = _FIRST_NAMES.split(), _LAST_NAMES.split()
    return f"{first[index % len(first)]} {last[(index // len(first) + index) % len(last)]}"


def _mail_name(name: str) -> str:
    """Return an address's local part; it keeps an apostrophe, as real ones do."""
    return name.translate(_PLAIN).replace(" ", ".").lower()


def _user(seed: int, index: int, kind: str) -> User:
    name = _name(index)
    address = f"{_mail_name(name)}@{DOMAIN}"
    proxies: tuple[str, ...] = (f"SMTP:{address}",)
    user_principal_name = address
    mail: str | None = address
    if kind == "alias":
        proxies += (f"smtp:{_mail_name(name).split('.')[0]}@{DOMAIN}", f"smtp:{_mail_name(name)}@example.org")
    elif kind == "other spelling":
        user_principal_name = f"u{index:05d}@corp.{DOMAIN}"
        proxies += (f"smtp:{user_principal_name}",)
    elif kind == "guest":
        mail = f"{_mail_name(name)}@partner.example.net"
        user_principal_name = f"{mail.replace('@', '_')}#EXT#@{DOMAIN}"
        proxies = (f"SMTP:{mail}",)
    elif kind == "no mailbox":
        mail, proxies = None, ()
    return User(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://{DOMAIN}/{seed}/users/{index}")),
        user_principal_name=user_principal_name,
        mail=mail,
        display_name=name,
        proxy_addresses=proxies,
        mobile_phone=written(our_number(index))[2],
        business_phones=(written(_number(_DRAMA_NUMBERS + index % 100))[0],) if index % 3 == 0 else (),
        user_type="Guest" if kind == "guest" else "Member",
        account_enabled=kind not in {"disabled", "shared", "closed"},
        licensed=kind != "shared" and _MAILBOX.get(kind) != "none",
        synced=kind == "on premises",
        deleted=kind == "deleted",
        mailbox=_MAILBOX.get(kind, "ok"),
    )


def _person(index: int, kind: str, directory: tuple[User, ...]) -> Person:
    user = directory[index]
    email: str | None = user.mail or user.user_principal_name
    mapped_to: str | None = None
    if kind == "alias":
        email = user.proxy_addresses[1].removeprefix("smtp:")
    elif kind == "file overrules":
        email, mapped_to = directory[index + 1].mail, user.mail
    elif kind == "no property":
        email, mapped_to = None, user.mail
    elif kind == "other spelling":
        email = (user.mail or "").title()
    elif kind == "stale row":
        mapped_to = f"former.mailbox@{DOMAIN}"
    elif kind == "in the file":
        mapped_to = user.mail
    return Person(
        phone=our_number(index),
        name=user.display_name,
        email=email,
        mapped_to=mapped_to,
        user=None if user.mailbox == "none" else user,
        kind=kind,
    )
