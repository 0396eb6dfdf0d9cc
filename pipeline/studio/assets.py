"""The studio's own files: what its pages are made of."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from components.files import sha256_of_json

_FOLDER = Path(__file__).parent / "static"
_PAGE, _MODULES = "index.html", b"<!-- modules -->\n"
# Not by what the system says: a browser runs no module that it has as text.
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}


class Assets:
    """They are in memory, under an address that is another one where they are: a browser asks for
    each once.
    """

    def __init__(self) -> None:
        files = [path for path in sorted(_FOLDER.rglob("*")) if path.is_file()]
        self._files = {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in files}
        named = {name: content.decode() for name, content in self._files.items()}
        self._version = sha256_of_json(named)[:12]
        modules = [name for name in self._files if name.endswith(".js") and "/" not in name]
        preload = "".join(f'<link rel="modulepreload" href="/static/{each}">\n' for each in modules)
        page = self._files.pop(_PAGE).replace(_MODULES, preload.encode())
        self._page = page.replace(b"/static/", f"/static/{self._version}/".encode())

    def routes(self) -> list[Route]:
        """Where they are asked for."""
        return [Route("/static/{version}/{name:path}", self.file)]

    async def page(self, request: Request) -> Response:
        """The one page that shows all others."""
        del request
        return Response(self._page, media_type="text/html")

    async def file(self, request: Request) -> Response:
        """One of them, as it is now."""
        name = request.path_params["name"]
        if request.path_params["version"] != self._version or name not in self._files:
            return PlainTextResponse("There is no such file.\n", status_code=404)
        kind = _KINDS.get(PurePosixPath(name).suffix, "text/plain")
        return Response(self._files[name], media_type=kind, headers=_FOR_EVER)
