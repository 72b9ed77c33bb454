"""Serve the review form of one batch to one person at this machine, until it is done.

It listens on 127.0.0.1 alone. The address holds a secret, so that another user of the machine or
another page in the browser cannot ask; Host and Origin are checked against a page elsewhere whose
name was made to lead here (DNS rebinding) or that posts to us. Only files of the batch are given.
"""

import hmac
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from flows.review.page import end_page, form_page
from flows.review.review import Review, decide, find_review, reviewable, undecided
from gan.assets.manifest import read_batch, verify
from gan.assets.thumbnails import PAGE
from gan.errors import DamagedError, GanmillError, UsageError
from gan.progress import Say, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
_MAX_BODY_BYTES = 8 << 20
_MEDIA = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg"}


def serve(folder: Path, *, actor: str, port: int = 0, progress: Say = say) -> Review | None:
    """Serve the form until the person is done or stops the command; return what was said.

    Args:
        folder: Of the batch.
        actor: Whose word it is.
        port: To listen on; 0 takes a free one.
        progress: Is told the address.

    Raises:
        DamagedError: The batch is not what was minted; nobody need look at it.
        ApprovalError: The review that is there is about another state of the batch.
        UsageError: The port is taken, or there is nothing to review.
    """
    import uvicorn

    if problems := verify(folder):
        raise DamagedError(f"{folder}: {problems[0]} ({len(problems)} in all). Mint it again.")
    find_review(folder)
    if not reviewable(folder):
        raise UsageError(f"{folder}: no asset was accepted; there is nothing to review.")
    with _listening(port) as listener:
        desk = _Desk(folder, actor, listener.getsockname()[1])
        config = uvicorn.Config(desk.app(), log_level="error", lifespan="off", access_log=False)
        server = uvicorn.Server(config)
        desk.on_done = lambda: setattr(server, "should_exit", True)
        progress(f"review {folder.name}: open {desk.address}")
        with suppress(KeyboardInterrupt):  # what was said is kept
            server.run(sockets=[listener])
    return find_review(folder)


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # before anybody is told the address
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"port {port}: cannot be listened on ({error}). Name another.") from error
    return listener


class _Desk:
    """One review: who, of what, under which address."""

    def __init__(self, folder: Path, actor: str, port: int) -> None:
        """Draw the secret, and list the files that may be asked for."""
        self._folder, self._actor = folder, actor
        self._card, self._rows = read_batch(folder), reviewable(folder)
        self._secret = secrets.token_urlsafe(24)
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}
        self._files = {path for path in self._card.digests if path.startswith(f"{PAGE}/")}
        self._files |= {file.path for row in self._rows for file in row.files}
        self.on_done: Callable[[], object] = lambda: None
        self.address = f"http://{HOST}:{port}/{self._secret}/"

    def app(self) -> "Starlette":
        """Return the application."""
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/{secret}/", self._form),
                Route("/{secret}/files/{path:path}", self._file),
                Route("/{secret}/decide", self._decide, methods=["POST"]),
            ],
            middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._guard)],
        )

    async def _guard(
        self, request: "Request", go_on: "Callable[[Request], Awaitable[Response]]"
    ) -> "Response":
        """Refuse who does not know the secret or comes from elsewhere; tell the browser to too."""
        from starlette.responses import Response

        first = request.url.path.split("/")[1].encode()
        if request.headers.get("host") not in self._hosts:
            return Response("This is not the address that was given.", 403)
        if not hmac.compare_digest(first, self._secret.encode()):
            return Response("This is not the address that was given.", 403)
        if request.method == "POST" and not self._is_own_post(request):
            return Response("Only the form itself may be sent here.", 403)
        response = await go_on(request)
        response.headers.update(
            {
                "Cache-Control": "no-store",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "same-origin",  # `no-referrer` would send forms without Origin
                "X-Content-Type-Options": "nosniff",
            }
        )
        return response

    def _is_own_post(self, request: "Request") -> bool:
        origin = request.headers.get("origin", "")
        size = request.headers.get("content-length", "")
        is_small = size.isdigit() and int(size) <= _MAX_BODY_BYTES
        return is_small and origin == f"http://{request.headers.get('host')}"

    async def _form(self, _request: "Request") -> "Response":
        from starlette.responses import Response

        try:
            return self._page("")
        except GanmillError as error:  # the review or the batch changed under the form
            return Response(f"{error}", 409)

    def _page(self, says: str) -> "Response":
        from starlette.responses import HTMLResponse

        nonce = secrets.token_urlsafe(16)
        content = form_page(self._card, self._rows, find_review(self._folder), nonce, says)
        return HTMLResponse(content, headers={"Content-Security-Policy": _policy(nonce)})

    async def _file(self, request: "Request") -> "Response":
        """Give a file of the batch, and no other."""
        from starlette.responses import FileResponse, Response

        path = request.path_params["path"]
        if path not in self._files:
            return Response("The batch has no such file.", 404)
        return FileResponse(self._folder / path, media_type=_MEDIA[path.rpartition(".")[2]])

    async def _decide(self, request: "Request") -> "Response":
        """Keep what was said; the script asks for JSON, the form for a page."""
        from starlette.responses import HTMLResponse, Response

        body = await request.body()
        try:
            review, is_done = self._keep(parse_qsl(body.decode(), keep_blank_values=True))
        except (GanmillError, ValueError) as error:
            return Response(f"{error}", 409)
        if request.headers.get("accept") == "application/json":
            return Response(status_code=204)
        left = len(undecided(self._rows, review))
        if not is_done:
            return self._page(f"Saved. {left:,} are undecided." if left else "Saved.")
        if left:
            return self._page(f"{left:,} are undecided. Decide about them, or accept them all.")
        self.on_done()
        page = end_page(self._card, review)
        return HTMLResponse(page, headers={"Content-Security-Policy": _policy(None)})

    def _keep(self, fields: list[tuple[str, str]]) -> tuple[Review, bool]:
        """Write down what a post says; return the review, and whether the person is done."""
        words = {n.removeprefix("word-"): v for n, v in fields if n.startswith("word-")}
        notes = {n.removeprefix("note-"): v for n, v in fields if n.startswith("note-")}
        said = dict(fields)
        accept = [asset for asset, word in words.items() if word == "accept"]
        if said.get("rest") == "accept":
            accept.append("all")
        reject = [asset for asset, word in words.items() if word == "reject"]
        review = decide(self._folder, accept=accept, reject=reject, actor=self._actor, notes=notes)
        return review, said.get("done") == "1"


def _policy(nonce: str | None) -> str:
    script = f"script-src 'nonce-{nonce}'; connect-src 'self'; " if nonce else ""
    return (
        f"default-src 'none'; {script}img-src 'self'; style-src 'unsafe-inline'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
