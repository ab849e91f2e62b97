"""The token endpoint: client credentials with a secret, a certificate or a federated assertion.

Sources: RFC 6749 4.4 and 5.2, RFC 7523; "Microsoft identity platform and the OAuth 2.0 client credentials flow"; the
AADSTS codes as Entra's error reference lists them. MSAL for Python 1.39 logs in here with instance_discovery=False.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FEDERATED_AUDIENCE = "api://AzureADTokenExchange"
GRAPH_HOSTS = frozenset(
    {"graph.microsoft.com", "graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"}
)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, kw_only=True, slots=True)
class FederatedCredential:
    """Trust assertions of one issuer and subject, as a workload identity is registered."""

    issuer: str
    subject: str
    key: PublicKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Application:
    """Hold the registration of the one application of the tenant."""

    client_id: str
    client_secret: str
    roles: frozenset[str]
    certificates: tuple[x509.Certificate, ...] = ()
    federated: tuple[FederatedCredential, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """Remember an access token that was given out."""

    expires: datetime
    roles: frozenset[str]


class SignInRefused(Exception):
    """Carry an AADSTS error to the answer."""

    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.code = code

    def body(self, now: datetime, correlation_id: str) -> dict[str, Any]:
        """Return the error as Entra writes it."""
        trace, stamp = str(uuid4()), now.strftime("%Y-%m-%d %H:%M:%SZ")
        return {
            "error": self.error,
            "error_description": f"AADSTS{self.code}: {self} Trace ID: {trace} Correlation ID: {correlation_id} "
            f"Timestamp: {stamp}",
            "error_codes": [self.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation_id,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }


def openid_configuration(host: str, tenant_id: str) -> dict[str, Any]:
    """Describe the authority to a client that discovers it (OpenID Connect Discovery 1.0)."""
    authority = f"https://{host}/{tenant_id}"
    return {
        "token_endpoint": f"{authority}/oauth2/v2.0/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": f"{authority}/discovery/v2.0/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": f"{authority}/v2.0",
        "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
        "tenant_region_scope": None,
        "msgraph_host": host,
    }


def unknown_tenant(tenant: str) -> SignInRefused:
    """Refuse a tenant that is not this one."""
    return SignInRefused(
        400,
        "invalid_request",
        90002,
        f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
        "correct cloud. Check with your subscription administrator, this may happen if there are no active "
        "subscriptions for the tenant.",
    )


def check_sign_in(
    form: Mapping[str, str], application: Application, tenant_id: str, host: str, now: datetime
) -> frozenset[str]:
    """Check a token request and return the roles that it earns."""
    if form.get("grant_type") != CLIENT_CREDENTIALS:
        kind = form.get("grant_type", "")
        raise SignInRefused(
            400, "unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{kind}'."
        )
    client_id = form.get("client_id", "")
    if client_id.lower() != application.client_id.lower():
        raise SignInRefused(
            400,
            "unauthorized_client",
            700016,
            f"Application with identifier '{client_id}' was not found in the directory '{tenant_id}'. This can happen "
            "if the application has not been installed by the administrator of the tenant or consented to by any user "
            "in the tenant. You may have sent your authentication request to the wrong tenant.",
        )
    if assertion := form.get("client_assertion"):
        if form.get("client_assertion_type") != JWT_BEARER:
            raise SignInRefused(
                400, "invalid_request", 900144, "The 'client_assertion_type' is missing or not supported."
            )
        _check_assertion(assertion, application, tenant_id, host, now)
    elif secret := form.get("client_secret"):
        if not secrets.compare_digest(secret.encode(), application.client_secret.encode()):
            raise SignInRefused(
                401,
                "invalid_client",
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client_id}'.",
            )
    else:
        message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
        raise SignInRefused(401, "invalid_client", 7000218, message)
    _check_scope(form.get("scope", ""), host)
    return application.roles


def _check_scope(scope: str, host: str) -> None:
    """Admit `<Graph's address>/.default` only; the sandbox's Graph may go by another name at the same port."""
    resource, default, rest = scope.partition("/.default")
    if not default or rest:
        raise SignInRefused(
            400,
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
            "/.default suffixed to the resource identifier (application ID URI).",
        )
    name = resource.removeprefix("https://").rstrip("/")
    if resource == name or not (name in GRAPH_HOSTS or name.rpartition(":")[2] == host.rpartition(":")[2]):
        message = f"The resource principal named {resource} was not found in the tenant."
        raise SignInRefused(400, "invalid_resource", 500011, message)


def _check_assertion(assertion: str, application: Application, tenant_id: str, host: str, now: datetime) -> None:
    try:
        head, payload, signature = assertion.split(".")
        header, claims = json.loads(_unpadded(head)), json.loads(_unpadded(payload))
        signed, mark = f"{head}.{payload}".encode("ascii"), _unpadded(signature)
        issuer, subject, expires = claims["iss"], claims["sub"], int(claims["exp"])
        starts, algorithm = int(claims.get("nbf", 0)), str(header["alg"])
        audience = claims["aud"]
    except (ValueError, KeyError, TypeError):
        raise SignInRefused(401, "invalid_client", 50027, "JWT token is invalid or malformed.") from None
    audiences = set(audience if isinstance(audience, list) else [audience])
    if issuer == application.client_id:
        keys = [key for certificate in application.certificates if _is_key(key := certificate.public_key())]
        if not any(_verifies(key, algorithm, signed, mark) for key in keys):
            raise SignInRefused(
                401,
                "invalid_client",
                700027,
                "Client assertion failed signature validation. The certificate with identifier used to sign the client "
                "assertion is not registered on application.",
            )
        authority = f"https://{host}/{tenant_id}".lower()
        accepted = {f"{authority}/oauth2/v2.0/token", f"{authority}/v2.0"}
        if subject != application.client_id or not {text.lower() for text in audiences} & accepted:
            message = "Client assertion audience or subject claim does not match the realm issuer or the client."
            raise SignInRefused(401, "invalid_client", 700023, message)
    else:
        trusted = [known for known in application.federated if known.issuer == issuer]
        if not trusted:
            message = f"No matching federated identity record found for presented assertion issuer '{issuer}'."
            raise SignInRefused(401, "invalid_client", 700211, message)
        trusted = [known for known in trusted if known.subject == subject]
        if not trusted:
            message = f"No matching federated identity record found for presented assertion subject '{subject}'."
            raise SignInRefused(401, "invalid_client", 700213, message)
        if FEDERATED_AUDIENCE not in audiences:
            message = "No matching federated identity record found for presented assertion audience."
            raise SignInRefused(401, "invalid_client", 700212, message)
        if not any(_verifies(known.key, algorithm, signed, mark) for known in trusted):
            raise SignInRefused(401, "invalid_client", 700027, "Client assertion failed signature validation.")
    if not starts - 300 <= now.timestamp() < expires + 300:
        message = "Client assertion is not within its valid time range."
        raise SignInRefused(401, "invalid_client", 700024, message)


def _is_key(key: object) -> bool:
    return isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _verifies(key: Any, algorithm: str, signed: bytes, mark: bytes) -> bool:
    digest = hashes.SHA256()
    try:
        if algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(mark, signed, padding.PKCS1v15(), digest)
        elif algorithm == "PS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(mark, signed, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
        elif algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey):
            half = len(mark) // 2
            r, s = int.from_bytes(mark[:half], "big"), int.from_bytes(mark[half:], "big")
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def make_token(roles: frozenset[str], application: Application, tenant_id: str, now: datetime, seconds: int) -> str:
    """Make an access token that reads like Entra's (clients look into it) and that nobody can guess."""
    claims = {
        "aud": "https://graph.microsoft.com",
        "iss": f"https://sts.windows.net/{tenant_id}/",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=seconds)).timestamp()),
        "appid": application.client_id,
        "roles": sorted(roles),
        "tid": tenant_id,
        "uti": secrets.token_urlsafe(16),
        "ver": "1.0",
    }
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode("ascii")
        for part in ({"typ": "JWT", "alg": "RS256", "kid": "sandbox"}, claims)
    ]
    return ".".join([*parts, secrets.token_urlsafe(32)])
