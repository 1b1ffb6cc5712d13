"""The API's edge: what goes in is strict JSON, what comes out is JSON in one envelope, and nothing hops threads."""

import gc
import json
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import asgiref.sync
import pytest
from django.test import AsyncClient, AsyncRequestFactory, override_settings
from drf_spectacular.generators import SchemaGenerator
from rest_framework.exceptions import MethodNotAllowed

from kit import wire
from kit.errors import NotFound
from kit.rest import AsyncAPIView
from tests.kit import rest_urls

MIDDLEWARE = ["kit.middleware.request_ids", "django.middleware.common.CommonMiddleware"]


@pytest.fixture(autouse=True)
def _routes() -> Iterator[None]:
    rest_urls.seen.clear()
    with override_settings(
        ROOT_URLCONF="tests.kit.rest_urls", MIDDLEWARE=MIDDLEWARE, DEBUG=False, ALLOWED_HOSTS=["testserver"]
    ):
        yield


@pytest.fixture
def client() -> AsyncClient:
    return AsyncClient(raise_request_exception=False)


async def post(client: AsyncClient, path: str, body: bytes, *, content_type: str = "application/json") -> Any:
    return await client.generic("POST", path, body, content_type=content_type)


def assert_envelope(response: Any, *, status: int, type: str) -> dict[str, Any]:  # noqa: A002 - the wire's name
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    envelope = json.loads(response.content)
    assert envelope["type"] == "error"
    assert envelope["error"]["type"] == type
    assert envelope["request_id"] == response.headers["request-id"]
    assert "secret" not in response.content.decode()
    error: dict[str, Any] = envelope["error"]
    return error


async def test_json_comes_back_as_it_was_sent(client: AsyncClient) -> None:
    response = await post(client, "/v1/echo", '{"a": [1, "é"]}'.encode())

    assert response.status_code == 201
    assert response.content == '{"a":[1,"é"]}'.encode()
    assert response.headers["Content-Type"] == "application/json"


async def test_handlers_run_on_the_event_loop(client: AsyncClient) -> None:
    response = await client.get("/v1/echo")

    assert response.status_code == 200
    assert response.headers["X-Extra"] == "1"
    assert rest_urls.seen == [threading.current_thread()]
    assert rest_urls.EchoView.view_is_async
    assert asgiref.sync.iscoroutinefunction(rest_urls.EchoView.as_view())


async def test_a_request_costs_no_thread_hop(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    hops: list[Any] = []
    real = asgiref.sync.sync_to_async

    def counted(*args: Any, **kwargs: Any) -> Any:
        hops.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr("django.core.handlers.base.sync_to_async", counted)
    with override_settings(MIDDLEWARE=["kit.middleware.request_ids"]):
        response = await AsyncClient().get("/v1/echo")

    assert response.status_code == 200
    assert hops == []


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_json_in_utf8_is_read(client: AsyncClient, content_type: str) -> None:
    assert (await post(client, "/v1/echo", b"{}", content_type=content_type)).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/json; charset=bz2",
        "application/xml",
        "nonsense",
        ";;;",
        "",
    ],
)
async def test_any_other_content_type_is_refused(client: AsyncClient, content_type: str) -> None:
    response = await post(client, "/v1/echo", b"{}", content_type=content_type)

    assert_envelope(response, status=415, type="invalid_request_error")
    assert rest_urls.seen == []


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":NaN}', b"\xff", b"[" * 5000, b'{"a":1,"a":2}', b'"\\u0000"'])
async def test_a_bad_body_is_refused(client: AsyncClient, body: bytes) -> None:
    assert_envelope(await post(client, "/v1/echo", body), status=400, type="invalid_request_error")
    assert rest_urls.seen == []


async def test_a_missing_body_is_called_empty(client: AsyncClient) -> None:
    error = assert_envelope(
        await post(client, "/v1/echo", b"", content_type=""), status=400, type="invalid_request_error"
    )

    assert "empty" in error["message"]


async def test_a_body_without_a_length_is_read() -> None:
    messages = [
        {"type": "http.request", "body": b'{"a":', "more_body": True},
        {"type": "http.request", "body": b"1}", "more_body": False},
    ]

    response = await answer(messages, headers=[(b"content-type", b"application/json"), (b"host", b"testserver")])

    assert response == b'{"a":1}'


async def answer(messages: list[dict[str, Any]], *, headers: list[tuple[bytes, bytes]]) -> bytes:
    import asyncio

    from django.core.handlers.asgi import ASGIHandler

    body = b""
    scope = {"type": "http", "method": "POST", "path": "/v1/echo", "headers": headers, "query_string": b""}

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal body
        body += message.get("body", b"")

    application: Any = ASGIHandler()
    await application(scope, receive, send)
    return body


async def test_a_views_own_limit_holds(client: AsyncClient) -> None:
    assert (await post(client, "/v1/small", b'"12345678"')).status_code == 201
    assert_envelope(await post(client, "/v1/small", b'"123456789"'), status=413, type="request_too_large")


@pytest.mark.parametrize(
    ("name", "status", "type_"),
    [
        ("limited", 429, "rate_limit_error"),
        ("absent", 404, "not_found_error"),
        ("key", 401, "authentication_error"),
        ("http404", 404, "not_found_error"),
        ("denied", 403, "permission_error"),
        ("too-big", 413, "request_too_large"),
        ("suspicious", 400, "invalid_request_error"),
        ("parse", 400, "invalid_request_error"),
        ("throttled", 429, "rate_limit_error"),
        ("not-authenticated", 401, "authentication_error"),
        ("validation", 400, "invalid_request_error"),
    ],
)
async def test_every_refusal_has_the_envelope(client: AsyncClient, name: str, status: int, type_: str) -> None:
    assert_envelope(await client.get(f"/v1/raise/{name}"), status=status, type=type_)


async def test_a_refusals_headers_and_details_are_sent(client: AsyncClient) -> None:
    limited = await client.get("/v1/raise/limited")
    throttled = await client.get("/v1/raise/throttled")
    key = await client.get("/v1/raise/key")

    assert limited.headers["Retry-After"] == "7"
    assert json.loads(limited.content)["error"]["limit"] == 3
    assert throttled.headers["Retry-After"] == "12"
    assert key.headers["WWW-Authenticate"] == 'Bearer realm="skillgate"'


async def test_what_breaks_is_logged_and_told_without_detail(
    client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="kit.rest"):
        response = await client.get("/v1/raise/crash", headers={"X-Request-ID": "my-own-id-1"})

    assert_envelope(response, status=500, type="api_error")
    assert "my-own-id-1" in caplog.text
    assert "secret detail" in caplog.text


async def test_a_wrong_method_is_refused_with_the_right_ones(client: AsyncClient) -> None:
    response = await client.delete("/v1/echo")

    assert_envelope(response, status=405, type="invalid_request_error")
    assert response.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["BREW", "__INIT__", "DISPATCH"])
async def test_an_invented_method_is_refused(client: AsyncClient, method: str) -> None:
    assert_envelope(await client.generic(method, "/v1/echo"), status=405, type="invalid_request_error")


async def test_options_and_head_are_answered(client: AsyncClient) -> None:
    options, head = await client.options("/v1/echo"), await client.head("/v1/echo")

    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert head.status_code == 200


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/json", "application/*;q=0.1", "text/html, */*;q=0.01", "APPLICATION/JSON"]
)
async def test_whoever_takes_json_is_served(client: AsyncClient, accept: str) -> None:
    assert (await client.get("/v1/echo", headers={"Accept": accept})).status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/json;q=0",
        "*/*, application/json;q=0.0",
        "nonsense",
        ";;,,==",
        '"',
        "é/\xff",
        "a" * 5000,
    ],
)
async def test_whoever_does_not_take_json_is_told_so_in_json(client: AsyncClient, accept: str) -> None:
    response = await client.get("/v1/echo", headers={"Accept": accept})

    assert_envelope(response, status=406, type="invalid_request_error")


async def test_a_stream_is_given_to_whoever_takes_one(client: AsyncClient) -> None:
    good: Any = await client.post("/v1/stream", headers={"Accept": "text/event-stream"})
    bad = await client.post("/v1/stream", headers={"Accept": "application/json"})

    assert [chunk async for chunk in good.streaming_content] == [b"data: 1\n\n"]
    assert_envelope(bad, status=406, type="invalid_request_error")


async def test_nan_never_leaves(client: AsyncClient) -> None:
    assert_envelope(await client.get("/v1/odd/nan"), status=500, type="api_error")


async def test_text_leaves_as_utf8_whatever_it_holds(client: AsyncClient) -> None:
    assert (await client.get("/v1/odd/surrogate")).content == b'"a?b"'
    assert json.loads((await client.get("/v1/odd/text")).content.decode("utf-8")) == "é\u2028"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/caught/x", "/v1/%00", "/v1/é", "/health/nothing"])
async def test_what_is_not_there_is_told_in_json(client: AsyncClient, path: str) -> None:
    assert_envelope(await client.get(path), status=404, type="not_found_error")


async def test_the_last_route_answers_json_in_debug_mode_too(client: AsyncClient) -> None:
    with override_settings(DEBUG=True):
        response = await client.get("/v1/caught/x")

    assert_envelope(response, status=404, type="not_found_error")


async def test_pages_keep_their_html(client: AsyncClient) -> None:
    missing, broken = await client.get("/nothing"), await client.get("/broken")

    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert (broken.status_code, broken.headers["Content-Type"]) == (500, "text/html; charset=utf-8")


async def test_a_plain_view_that_breaks_is_told_in_json_under_the_api(client: AsyncClient) -> None:
    assert_envelope(await client.get("/v1/broken"), status=500, type="api_error")


@pytest.mark.parametrize("is_debug", [True, False])
async def test_a_false_host_is_refused_in_json(client: AsyncClient, is_debug: bool) -> None:
    with override_settings(DEBUG=is_debug):
        response = await client.get("/v1/echo", headers={"Host": "evil.example"})

    assert_envelope(response, status=400, type="invalid_request_error")
    assert rest_urls.seen == []


async def test_a_request_keeps_the_id_it_came_with(client: AsyncClient) -> None:
    response = await client.get("/v1/echo", headers={"X-Request-ID": "trace_1.2-3"})

    assert json.loads(response.content) == {"id": "trace_1.2-3"}
    assert response.headers["request-id"] == response.headers["X-Request-ID"] == "trace_1.2-3"


@pytest.mark.parametrize("offered", ["short", "a" * 129, "has space in it", "new\u00e9-letter", "semi;colon"])
async def test_an_unsafe_id_is_replaced(client: AsyncClient, offered: str) -> None:
    response = await client.get("/page", headers={"X-Request-ID": offered})

    assert response.headers["request-id"].startswith("req_")
    assert response.headers["X-Request-ID"] == response.headers["request-id"]


def test_the_middleware_serves_sync_stacks_too() -> None:
    from django.test import Client

    response = Client().get("/page", headers={"X-Request-ID": "trace_1.2-3"})

    assert response.headers["request-id"] == "trace_1.2-3"
    assert Client().get("/v1/echo", headers={"Host": "evil.example"}).status_code == 400


def test_the_schema_can_be_generated() -> None:
    generator: Any = SchemaGenerator
    schema = generator(patterns=rest_urls.urlpatterns[:1]).get_schema(request=None, public=True)

    assert set(schema["paths"]["/v1/echo"]) == {"get", "post"}


def test_only_refusals_are_translated() -> None:
    refusal = NotFound("No.")

    assert wire.as_error(refusal) is refusal
    assert wire.as_error(KeyError("a")) is None
    translated = wire.as_error(MethodNotAllowed("GET"))
    assert translated is not None
    assert translated.status == 405


async def test_what_answered_is_gone_with_its_answer_an_error_too() -> None:
    views: list[weakref.ref[AsyncAPIView]] = []

    class Refusing(AsyncAPIView):
        async def get(self, _: Any) -> None:
            views.append(weakref.ref(self))
            raise NotFound("There is nothing here.")

    gc.disable()  # what only the collector finds would be found by chance
    try:
        response = await Refusing.as_view()(AsyncRequestFactory().get("/v1/refusing"))
        assert response.status_code == 404
        assert [view() for view in views] == [None]
    finally:
        gc.enable()
