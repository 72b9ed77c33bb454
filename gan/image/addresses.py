"""Addresses of images: which ones are allowed, how they are shown, and who answers there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from gan.errors import ServiceError, SourceError, UsageError

SCHEMES = ("file", "s3", "http", "https")
_CONNECT_SECONDS, _SILENCE_SECONDS = 30, 60
# A recipe is in git: what lets anybody in who reads the address has no place there.
_SECRET_QUERIES = frozenset(
    {"access_token", "awsaccesskeyid", "key", "sig", "signature", "token", "x-amz-credential",
     "x-amz-security-token", "x-amz-signature", "x-goog-signature"}
)  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Where images are.

    Attributes:
        scheme: file, s3, http or https.
        location: What the store is asked for.
        path: Its path: of `file` on this machine, else below the host or in the bucket.
        shown: How messages and tables name it: without login and query.
    """

    scheme: str
    location: str
    path: str
    shown: str


def is_address(word: str) -> bool:
    """Return whether a word is meant as an address, not as a path."""
    return "://" in word


def parse(url: str) -> Address:
    """Return an address that may be read.

    Raises:
        SourceError: It has another scheme, chains several, or holds a login or a secret.
    """
    try:
        parts = urlsplit(url)
        host, has_login = parts.hostname or "", "@" in parts.netloc
        queries = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    except ValueError:  # whose words would quote the address
        raise SourceError("data.url: is no address. Write it as s3://bucket/pets/.") from None
    if parts.scheme not in SCHEMES or "::" in url or not (parts.path.strip("/") or host):
        raise SourceError(
            f"data.url: {parts.scheme or 'no scheme'!s} is not allowed, or nothing follows it; "
            f"an address begins with {', '.join(f'{scheme}://' for scheme in SCHEMES)}."
        )
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if has_login or queries & _SECRET_QUERIES:
        raise SourceError(
            f"{shown}: data.url holds a password, which would be in git with the recipe. Give it "
            "by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for web servers in ~/.netrc."
        )
    if parts.scheme == "file" and host:
        raise SourceError(f"{shown}: a file has no host. Write file:///path with three slashes.")
    if parts.scheme in {"http", "https"}:
        return Address(parts.scheme, url, parts.path, shown)
    if parts.scheme == "file":
        path = unquote(parts.path)
        return Address(parts.scheme, path, path, shown)
    # A bucket and a key as they are: `?` and `#` are letters of a key like any other.
    key = url.partition("://")[2].rstrip("/")
    return Address(parts.scheme, key, key.partition("/")[2], f"s3://{key}")


def open_store(address: Address) -> Any:
    """Return the fsspec file system of an address, with nothing remembered from before.

    Raises:
        UsageError: It needs a library that is not installed.
    """
    import fsspec  # type: ignore[import-untyped]

    options: dict[str, Any] = {}
    if address.scheme in {"http", "https"}:
        import aiohttp

        waits = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
        )
        options["client_kwargs"] = {"timeout": waits, "trust_env": True}
        options["headers"] = {"Accept-Encoding": "identity"}  # or the size told is another's
    try:
        return fsspec.filesystem(
            address.scheme, skip_instance_cache=True, use_listings_cache=False, **options
        )
    except ImportError as error:
        raise UsageError(
            f"{address.shown}: {address.scheme}:// needs a library that is not installed. "
            "Install it with: pip install 'ganmill[s3]'"
        ) from error


def _troubles() -> tuple[type[Exception], ...]:
    """Return what a store raises when it cannot be reached; none of it quotes a secret."""
    import aiohttp

    troubles: tuple[type[Exception], ...] = (OSError, TimeoutError, aiohttp.ClientError)
    try:
        from botocore.exceptions import (  # type: ignore[import-untyped]
            BotoCoreError,
            ClientError,
        )
    except ImportError:  # without the extra there is no store that raises them
        return troubles
    return (*troubles, BotoCoreError, ClientError)


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turn what a store says into one line.

    Raises:
        SourceError: Nothing is there, or it may not be read.
        ServiceError: Nobody answers, or not as it must.
    """
    try:
        yield
    except _troubles() as error:
        raise _in_words(address, error) from error


def _in_words(address: Address, error: Exception) -> SourceError | ServiceError:
    if address.scheme in {"http", "https"} and isinstance(error.__cause__, Exception):
        error = error.__cause__  # fsspec calls everything that a web server says not found
    name, status = type(error).__name__, getattr(error, "status", 0)
    if isinstance(error, FileNotFoundError) or status in {404, 410}:
        return SourceError(f"{address.shown}: nothing is there. Look at data.url.")
    no_login = name in {"NoCredentialsError", "PartialCredentialsError"}
    if no_login or isinstance(error, PermissionError) or status in {401, 403}:
        return SourceError(
            f"{address.shown}: may not be read. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or "
            "AWS_PROFILE (FSSPEC_S3_ANON=true where all may read), or for web servers ~/.netrc."
        )
    said = f"{name} {status}" if status else name
    where = " Is AWS_ENDPOINT_URL right?" if address.scheme == "s3" else ""
    return ServiceError(f"{address.shown}: does not answer ({said}).{where} Try again later.")
