"""How the connection of a Microsoft 365 tenant is read, and how a token for its Graph is had."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from o2_connector.core.errors import RetryError, StopError
from o2_connector.hooks.transport import is_untrusted

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from msal import ConfidentialClientApplication

CLOUDS = {
    "worldwide": ("https://login.microsoftonline.com", "https://graph.microsoft.com"),
    "gcc_high": ("https://login.microsoftonline.us", "https://graph.microsoft.us"),
    "dod": ("https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
    "china": ("https://login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"),
}
"""Login and Graph hosts by cloud (Microsoft Graph, "National cloud deployments"); GCC is served by worldwide."""

# Entra's codes (Microsoft identity platform, "Microsoft Entra authentication and authorization error codes")
_PASSING_CODES = {90024, 90033, 90055}
_REMEDIES = {
    50034: "check tenant_id",
    90002: "check tenant_id and cloud",
    500011: "check cloud: this tenant knows no such Graph",
    700016: "check the client id (login) and tenant_id; the application must exist in this tenant",
    70021: "the application has no federated credential for this token's issuer, subject and audience",
    700024: "the token in federated_token_file has expired, or this machine's clock is wrong",
    700027: "the application does not have this certificate: upload it, or check certificate_file",
    700211: "the application has no federated credential for this token's issuer",
    700213: "the application has no federated credential for this token's subject",
    7000112: "the application is disabled in this tenant",
    7000215: "the client secret is wrong: put the secret's value, not its id, into the password",
    7000222: "the client secret has expired: make a new one",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """Say where a tenant's Graph is and who we are there.

    :param graph_url: up to and with the version, without a slash at its end.
    :param secret: the client secret, or the passphrase of `certificate_file`.
    """

    client_id: str
    authority: str
    graph_url: str
    secret: str | None = field(repr=False)
    certificate_file: str | None
    federated_token_file: str | None
    ca_file: str | None

    @property
    def scope(self) -> str:
        """Return the scope of a token for this Graph; tokens of one cloud are worth nothing in another."""
        parts = urlsplit(self.graph_url)
        return f"{parts.scheme}://{parts.netloc}/.default"


def read_access(connection: Connection) -> Access:
    """Read the fields of a Graph connection.

    :raises StopError: naming the fields that are missing, contradict each other or are no https URL.
    """
    conn_id = connection.conn_id
    extra = connection.extra_dejson
    cloud = _text(extra, "cloud", conn_id) or "worldwide"
    if cloud not in CLOUDS:
        raise StopError(f"connection {conn_id}: cloud must be one of {', '.join(CLOUDS)}")
    login_host, graph_host = CLOUDS[cloud]
    tenant_id = _text(extra, "tenant_id", conn_id)
    authority = _text(extra, "authority", conn_id) or (f"{login_host}/{tenant_id}" if tenant_id else None)
    if authority is None:
        raise StopError(f"connection {conn_id}: the extra needs tenant_id")
    if not connection.login:
        raise StopError(f"connection {conn_id}: the login must be the application's client id")
    access = Access(
        client_id=connection.login,
        authority=_https(authority, "authority", conn_id),
        graph_url=_https(_text(extra, "graph_url", conn_id) or f"{graph_host}/v1.0", "graph_url", conn_id),
        secret=connection.password or None,
        certificate_file=_text(extra, "certificate_file", conn_id),
        federated_token_file=_text(extra, "federated_token_file", conn_id),
        ca_file=_text(extra, "ca_file", conn_id),
    )
    if access.federated_token_file and (access.secret or access.certificate_file):
        raise StopError(
            f"connection {conn_id}: federated_token_file is a credential by itself; remove the password and "
            "certificate_file, or remove federated_token_file"
        )
    if not (access.secret or access.certificate_file or access.federated_token_file):
        raise StopError(
            f"connection {conn_id}: no credential; give a client secret as password, or certificate_file or "
            "federated_token_file in the extra"
        )
    return access


class Login:
    """Keep one tenant's token: MSAL caches it and renews it in good time."""

    def __init__(self, access: Access, session: requests.Session) -> None:
        self._access = access
        self._session = session
        self._lock = threading.Lock()
        self._application: ConfidentialClientApplication | None = None

    def token(self) -> str:
        """Return a valid access token.

        :raises StopError: when Entra refuses us; its code is named.
        :raises RetryError: when it cannot be reached or asks to come back later.
        """
        with self._lock:
            result = _ask(self._acquire)
        if "access_token" in result:
            return str(result["access_token"])
        raise _refusal(result)

    def forget(self) -> None:
        """Drop the cached token: Graph refused it before its time (a revocation, a clock)."""
        with self._lock:
            if self._application is not None:
                self._application.remove_tokens_for_client()

    def _acquire(self) -> dict[str, Any]:
        if self._application is None:
            self._application = self._new_application()
        result: dict[str, Any] = self._application.acquire_token_for_client([self._access.scope])
        return result

    def _new_application(self) -> ConfidentialClientApplication:
        import msal  # a quarter of a second: not at parse time
        from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS

        access = self._access
        microsoft = urlsplit(access.authority).hostname in WELL_KNOWN_AUTHORITY_HOSTS
        return msal.ConfidentialClientApplication(
            access.client_id,
            authority=access.authority,
            client_credential=_credential(access),
            http_client=self._session,
            instance_discovery=None if microsoft else False,  # else MSAL asks Microsoft about this host
        )


def _ask(acquire: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from msal.exceptions import MsalError

    problem: StopError | RetryError
    try:
        return acquire()
    except requests.RequestException as error:
        if is_untrusted(error):
            problem = StopError("the login's certificate does not verify; name the authority's PEM file as ca_file")
        else:
            problem = RetryError(f"the login cannot be reached ({type(error).__name__})")
    except (MsalError, RuntimeError):
        problem = RetryError("the login has an outage")
    except (ValueError, KeyError):  # MSAL's words for an authority that does not describe itself; they quote its answer
        problem = StopError("the login does not know this tenant; check tenant_id, cloud and authority")
    raise problem  # outside of the handlers: MSAL's errors quote URLs and answers, and would be printed with ours


def _refusal(result: Mapping[str, Any]) -> StopError | RetryError:
    found = re.search(r"AADSTS([0-9]{1,9})\b", str(result.get("error_description")))
    code = int(found[1]) if found else None
    error = str(result.get("error"))
    name = f"AADSTS{code}" if code else error if re.fullmatch(r"[a-z_]{1,50}", error) else "an unknown error"
    if code in _PASSING_CODES or error in {"temporarily_unavailable", "server_error"}:
        return RetryError(f"the login asks to come back later: {name}")
    remedy = _REMEDIES.get(code or 0, "look the code up at https://login.microsoftonline.com/error")
    return StopError(f"the login refuses the application: {name}; {remedy}")


def _credential(access: Access) -> str | dict[str, Any]:
    if access.federated_token_file:
        path = access.federated_token_file
        return {"client_assertion": lambda: _read_token(path)}  # the kubelet replaces the file about every hour
    if access.certificate_file:
        return _certificate(Path(access.certificate_file), access.secret)
    return access.secret or ""


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StopError(f"federated_token_file {path} cannot be read; is workload identity set up?") from error
    if not token:
        raise StopError(f"federated_token_file {path} is empty; is workload identity set up?")
    return token


def _certificate(path: Path, passphrase: str | None) -> dict[str, Any]:
    """Read key and certificate from a PEM or PFX file, into the one form that MSAL takes from memory."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs12

    secret = passphrase.encode() if passphrase else None
    try:
        data = path.read_bytes()
        if b"-----BEGIN " in data:
            key: Any = serialization.load_pem_private_key(data, secret)
            certificates = x509.load_pem_x509_certificates(data)
        else:
            key, certificate, others = pkcs12.load_key_and_certificates(data, secret)
            certificates = [*([certificate] if certificate else []), *others]
    except OSError as error:
        raise StopError(f"certificate_file {path} cannot be read ({type(error).__name__})") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StopError(
            f"certificate_file {path} must be PEM or PFX with key and certificate, and the password its passphrase"
        ) from error
    mine = [certificate for certificate in certificates if key and certificate.public_key() == key.public_key()]
    if not mine:
        raise StopError(f"certificate_file {path} holds no private key with its certificate")
    encoding = serialization.Encoding.PEM
    return {
        "private_key": key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "public_certificate": mine[0].public_bytes(encoding).decode(),
    }


def _text(extra: Mapping[str, Any], name: str, conn_id: str) -> str | None:
    value = extra.get(name)
    if value is not None and not isinstance(value, str):
        raise StopError(f"connection {conn_id}: {name} must be text")
    return value.strip() or None if value else None


def _https(url: str, name: str, conn_id: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "https" or not parts.hostname or "@" in url or parts.query or parts.fragment:
        raise StopError(f"connection {conn_id}: {name} must be https://host[:port]/path, nothing else")
    return f"https://{parts.netloc}{parts.path.rstrip('/')}"
