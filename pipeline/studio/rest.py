"""TensorFlow Serving's REST API, for trying and for small use: no gRPC, no batches of requests.

As https://www.tensorflow.org/tfx/serving/api_rest has it, so that its clients need not know.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from etils import epy
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from components.served import rest
from components.served.hosting import Hosting, Unknown, Version
from models.mistakes import Mistake
from pipeline.local import LOOPBACK
from pipeline.studio import bodies

with epy.lazy_imports():
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2

T = TypeVar("T")


class _Busy(Exception):
    """There is no room for one more request."""


class Rest:
    """The answers.

    Args:
        name: of the model, in addresses.
        most: instances of a request.
        most_bytes: of the body of a request.
        threads: requests that are computed at a time; as many more as `waiting` wait.
    """

    def __init__(
        self,
        hosting: Hosting,
        name: str,
        *,
        most: int,
        most_bytes: int,
        threads: int,
        waiting: int,
    ) -> None:
        self._hosting, self._name = hosting, name
        self._most, self._most_bytes = most, most_bytes
        self._limiter = anyio.CapacityLimiter(threads)
        self._room = threads + waiting

    def app(self) -> Starlette:
        """The application."""
        routes = []
        for which in ("", "/versions/{version}", "/labels/{label}"):
            model = f"/v1/models/{{name}}{which}"
            routes += [
                Route(f"{model}:predict", self._told(self._predict), methods=["POST"]),
                Route(f"{model}/metadata", self._told(self._metadata)),
                Route(model, self._told(self._status)),
            ]
        # Another name can be made to mean this machine by a page that a browser here has open.
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
        missing = {404: _malformed, 405: _malformed}
        return Starlette(routes=routes, middleware=[hosts], exception_handlers=missing)

    async def _predict(self, request: Request) -> Response:
        version = self._version(request)
        body = await bodies.read(request, self._most_bytes)
        if self._limiter.statistics().tasks_waiting + self._limiter.borrowed_tokens >= self._room:
            raise _Busy(f"more than {self._room} requests at a time")
        told = await anyio.to_thread.run_sync(self._computed, version, body, limiter=self._limiter)
        return Response(told, media_type="application/json")

    def _computed(self, version: Version, body: bytes) -> bytes:
        asked = rest.parse(body, version.signatures, self._most)
        try:
            outputs = version.signatures[asked.signature](**asked.tensors)
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise Mistake(str(error).splitlines()[0][:300]) from error
        return rest.answer(outputs, by_row=asked.by_row)

    async def _status(self, request: Request) -> Response:
        self._named(request)
        number = request.path_params.get("version") or request.path_params.get("label")
        known = [self._version(request)] if number else self._hosting.states()
        if not known:
            raise Unknown("no version was found")
        return JSONResponse({"model_version_status": list(map(_state, known))})

    async def _metadata(self, request: Request) -> Response:
        version = self._version(request)
        return Response(
            await anyio.to_thread.run_sync(_metadata, self._name, version),
            media_type="application/json",
        )

    def _version(self, request: Request) -> Version:
        self._named(request)
        number = request.path_params.get("version")
        if number is not None and not (number.isdecimal() and len(number) < 20):
            raise Unknown(f"version {number} is no number")
        return self._hosting.find(
            int(number) if number is not None else None, request.path_params.get("label")
        )

    def _named(self, request: Request) -> None:
        if (name := request.path_params["name"]) != self._name:
            raise Unknown(f"the model here is {self._name}, got {name}")

    def _told(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """With errors as TensorFlow Serving tells them."""

        async def told(request: Request) -> Response:
            try:
                found: Response = await answer(request)
                return found
            except Unknown as unknown:
                name = request.path_params["name"]
                return _error(404, f"Servable not found for request: {name}: {unknown}")
            except Mistake as mistake:
                return _error(400, str(mistake))
            except bodies.TooLarge as large:
                return _error(413, str(large))
            except _Busy as busy:
                return _error(503, str(busy))
            except ClientDisconnect:
                return _error(400, "the client has gone")

        return told


def watch(hosting: Hosting, seconds: float) -> None:
    """Look for other versions so often, in a thread that ends with the process."""

    def work() -> None:
        while True:
            time.sleep(seconds)
            with contextlib.suppress(OSError):  # The folder cannot be read just now.
                hosting.refresh()

    threading.Thread(target=work, name="versions", daemon=True).start()


def _state(version: Version) -> dict[str, Any]:
    code = "UNKNOWN" if version.error else "OK"
    return {
        "version": str(version.number),
        "state": version.state,
        "status": {"error_code": code, "error_message": version.error},
    }


def _metadata(name: str, version: Version) -> str:
    """The signatures as the SavedModel has them."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((version.path / "saved_model.pb").read_bytes())
    told = get_model_metadata_pb2.SignatureDefMap()
    for signature, definition in saved.meta_graphs[0].signature_def.items():
        if not signature.startswith("__"):
            told.signature_def[signature].CopyFrom(definition)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(told)
    text: str = json_format.MessageToJson(
        response, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return text


def _error(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status_code=status)


async def _malformed(request: Request, error: Exception) -> Response:
    del error
    return _error(404, f"Malformed request: {request.method} {request.url.path}")
