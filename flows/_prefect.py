"""A client of Prefect's server that gives up in seconds, for what runs outside of any flow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.settings import Settings
from gan.errors import ServiceError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@contextmanager
def brief_client(
    settings: Settings, *, seconds: float, tries_again: int = 0
) -> Iterator["SyncPrefectClient"]:
    """Yield a client of the server, with the user's own login if there is one.

    Args:
        settings: Where Prefect is.
        seconds: The longest that one request may take.
        tries_again: How often a request is sent again that the server was too busy for.

    Raises:
        ServiceError: The server is away, or does not take what it was given.
    """
    from httpx import HTTPError
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.exceptions import PrefectException
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_KEY,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    login = settings.login.get_secret_value() if settings.login else None
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: tries_again}),
            SyncPrefectClient(
                f"{settings.prefect_url}/api",
                auth_string=login or PREFECT_API_AUTH_STRING.value(),
                api_key=PREFECT_API_KEY.value(),
                httpx_settings={"timeout": seconds},
            ) as client,
        ):
            yield client
    except (HTTPError, PrefectException, OSError, RuntimeError) as error:
        # The class alone: the text of such an error may name an address with a password in it.
        reason = type(error).__name__
        raise ServiceError(f"{settings.prefect_url} does not take it ({reason})") from error
