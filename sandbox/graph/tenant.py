"""One Microsoft 365 tenant in memory: its directory, mailboxes, application, limits and faults."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509

from sandbox.directory import User
from sandbox.faults import Faults
from sandbox.graph.limits import Breach, Limits
from sandbox.graph.login import Application, FederatedCredential, Token, make_token
from sandbox.graph.refusals import Refused, access_denied
from sandbox.graph.shapes import AttachmentItem
from sandbox.graph.store import Contents, Mailbox, StoredMessage
from sandbox.graph.users import Users

# Graph application permissions, by the names that an administrator grants (devx-content permissions.json).
READ_MAIL = frozenset({"Mail.Read", "Mail.ReadWrite", "Mail-Advanced.ReadWrite.All"})
WRITE_MAIL = frozenset({"Mail.ReadWrite", "Mail-Advanced.ReadWrite.All"})
CHANGE_SENT_MAIL = frozenset({"Mail-Advanced.ReadWrite.All"})
READ_USERS = frozenset({"User.Read.All", "User.ReadBasic.All"})
READ_WHOLE_USERS = frozenset({"User.Read.All"})
DEFAULT_ROLES = frozenset({"Mail.ReadWrite", "User.Read.All"})

UPLOAD_LIFETIME = timedelta(hours=8)


def utc_now() -> datetime:
    """Return the time of the machine."""
    return datetime.now(UTC)


class Answer(NamedTuple):
    """Carry what goes back to the client."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - a default that nobody writes to
    content_type: str = "application/json"


class Call(NamedTuple):
    """Carry one request, or one sub-request of a batch, to the part that serves it."""

    method: str
    parts: tuple[str, ...]
    query: str
    prefer: str
    content_type: str
    body: bytes
    roles: frozenset[str]
    host: str
    now: datetime

    @property
    def immutable(self) -> bool:
        """Say whether immutable ids are preferred; the value is case-sensitive (outlook-immutable-id.md)."""
        return 'IdType="ImmutableId"' in self.prefer


@dataclass(kw_only=True, slots=True)
class Upload:
    """Keep one upload session."""

    key: str
    mailbox: Mailbox
    message: StoredMessage
    item: AttachmentItem
    immutable: bool
    expires: datetime
    content: bytearray = field(default_factory=bytearray)


class Tenant:
    """Hold everything that the sandbox's Graph knows.

    `message_bytes` is the administrator's limit of a message (default 35 MB, attachment-createuploadsession.md);
    `named_properties` the quota of distinct names a mailbox can hold (docs-contrib#3695); `folder_items` the limit of
    items in a folder (Exchange Online service description); `latency` the seconds that every request takes.
    `exchange_roles` are those that Exchange assigns ("RBAC for Applications"): in no token, and good for every mailbox
    in the scope, which is all but the denied ones; they and the token's add up.
    """

    def __init__(
        self,
        users: Iterable[User],
        tenant_id: str,
        client_id: str,
        client_secret: str,
        *,
        roles: frozenset[str] = DEFAULT_ROLES,
        exchange_roles: frozenset[str] = frozenset(),
        federated: tuple[FederatedCredential, ...] = (),
        faults: Faults | None = None,
        clock: Callable[[], datetime] = utc_now,
        limits: Limits | None = None,
        latency: float = 0.0,
        token_seconds: int = 3599,
        message_bytes: int = 35 * 1024 * 1024,
        named_properties: int = 16_000,
        folder_items: int = 1_000_000,
    ) -> None:
        self._first = tuple(users)
        self.directory = Users(self._first)
        self.tenant_id = tenant_id
        self.application = Application(
            client_id=client_id,
            client_secret=client_secret,
            roles=roles,
            federated=federated,
        )
        self.exchange_roles = exchange_roles
        self.faults = faults or Faults()
        self.clock = clock
        self.limits = limits or Limits()
        self.latency = latency
        self.token_seconds = token_seconds
        self.message_bytes = message_bytes
        self.named_properties = named_properties
        self.folder_items = folder_items
        self.breaches: list[Breach] = []
        self.contents = Contents()
        self.uploads: dict[str, Upload] = {}
        self.tokens: dict[str, Token] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.reset()

    def reset(self) -> None:
        """Empty every mailbox, forget uploads, breaches, faults and changes of the directory; tokens stay good."""
        self.faults.clear()
        self.breaches.clear()
        self.contents.clear()
        self.uploads.clear()
        self.mailboxes.clear()
        self.change_users(self._first)

    def change_users(self, users: Iterable[User]) -> None:
        """Let these be the directory's users; a mailbox of somebody who keeps one keeps what is in it."""
        self.directory = Users(users)
        kept = self.mailboxes.copy()
        self.mailboxes.clear()
        for user in self.directory.all.values():
            if user.has_mailbox:
                mailbox = kept.get(user.id) or Mailbox(user, self.limits, self.breaches)
                mailbox.user = user
                self.mailboxes[user.id] = mailbox

    def limit(self, limits: Limits) -> None:
        """Keep other limits from now on."""
        self.limits = limits
        for mailbox in self.mailboxes.values():
            mailbox.meter.limit(limits)

    def user(self, name: str) -> User | None:
        """Find a user by object id or user principal name; Graph takes no other address in this place."""
        return self.directory.user(name)

    def mailbox(self, name: str) -> Mailbox | None:
        """Find the mailbox of a user, or None when the user or the mailbox does not exist."""
        user = self.user(name)
        return self.mailboxes.get(user.id) if user else None

    def open_mailbox(self, name: str) -> Mailbox:
        """Find a mailbox for a mail request, or refuse as Graph does for those it cannot open."""
        user = self.user(name)
        if user is None:
            raise Refused(404, "ErrorInvalidUser", f"The requested user '{name}' is invalid.")
        if user.mailbox == "none":
            message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
            raise Refused(404, "MailboxNotEnabledForRESTAPI", message)
        if user.mailbox == "denied":
            # RBAC for Applications: out of the management scope
            raise access_denied()
        return self.mailboxes[user.id]

    def register(self, certificate: x509.Certificate) -> None:
        """Let the application log in with this certificate too, as an administrator does in the portal."""
        known = (*self.application.certificates, certificate)
        self.application = replace(self.application, certificates=known)

    def give_token(self, roles: frozenset[str], now: datetime) -> str:
        """Make an access token and remember it."""
        text = make_token(roles, self.application, self.tenant_id, now, self.token_seconds)
        self.tokens[text] = Token(expires=now + timedelta(seconds=self.token_seconds), roles=roles)
        return text

    def roles_of(self, authorization: str, now: datetime) -> frozenset[str]:
        """Return the roles of a request's token, or refuse it with the messages that Graph gives."""
        scheme, _, text = authorization.partition(" ")
        token = self.tokens.get(text)
        if token is not None and scheme.lower() == "bearer" and now < token.expires:
            return token.roles
        if not text or scheme.lower() != "bearer":
            message = "Access token is empty."
        elif text.count(".") < 2:
            message = "IDX14100: JWT is not well formed, there are no dots (.)."
        elif token is None:
            message = "Access token validation failure. Invalid signature."
        else:
            message = "Lifetime validation failed, the token is expired."
        challenge = (
            'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
            'client_id="00000003-0000-0000-c000-000000000000"'
        )
        raise Refused(401, "InvalidAuthenticationToken", message, {"WWW-Authenticate": challenge})

    def start_upload(self, mailbox: Mailbox, message: StoredMessage, item: AttachmentItem, call: Call) -> Upload:
        """Open an upload session for a message."""
        upload = Upload(
            key=secrets.token_urlsafe(24),
            mailbox=mailbox,
            message=message,
            item=item,
            immutable=call.immutable,
            expires=call.now + UPLOAD_LIFETIME,
        )
        self.uploads[upload.key] = upload
        return upload
