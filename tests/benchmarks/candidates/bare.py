"""The floor: `requests` and `aiohttp` by hand, JSON in and out, no resilience at all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import requests
from candidates.prompts import KEY, MODEL, check, check_stream, messages
from modes import Mode

HEADERS = {"authorization": f"Bearer {KEY}"}


def _payload(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": messages(), "temperature": 0, **more}


class Bare:
    """Straight to the HTTP client."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session: requests.Session | None = None
        self._http: Any = None

    def _url(self, mode: Mode) -> str:
        return f"{self._address}/{mode.path}/v1/chat/completions"

    def call(self, mode: Mode) -> Callable[[], None]:
        url = self._url(mode)
        session = self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=mode.width)
        session.mount("http://", adapter)

        def call() -> None:
            response = session.post(url, json=_payload(), headers=HEADERS, timeout=(5, 60))
            response.raise_for_status()
            check(response.json()["choices"][0]["message"]["content"])

        return call

    def stream(self, mode: Mode) -> Callable[[], None]:
        url = self._url(mode)
        session = self._session = requests.Session()

        def stream() -> None:
            parts = []
            payload = _payload(stream=True, stream_options={"include_usage": True})
            with session.post(url, json=payload, headers=HEADERS, timeout=(5, 60), stream=True) as response:
                for line in response.iter_lines():
                    parts += _parts(line)
            check_stream(parts, mode)

        return stream

    def async_call(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        url = self._url(mode)

        async def call() -> None:
            http = self._http or self._connect(mode)
            async with http.post(url, json=_payload(), headers=HEADERS) as response:
                response.raise_for_status()
                answer = await response.json()
            check(answer["choices"][0]["message"]["content"])

        return call

    def async_stream(self, mode: Mode) -> Callable[[], Awaitable[None]]:
        url = self._url(mode)

        async def stream() -> None:
            http = self._http or self._connect(mode)
            parts = []
            payload = _payload(stream=True, stream_options={"include_usage": True})
            async with http.post(url, json=payload, headers=HEADERS) as response:
                async for line in response.content:
                    parts += _parts(line)
            check_stream(parts, mode)

        return stream

    def _connect(self, mode: Mode) -> Any:
        import aiohttp

        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=max(100, mode.width)),
            timeout=aiohttp.ClientTimeout(connect=5, sock_read=60),
        )
        return self._http

    def close(self) -> Awaitable[None] | None:
        if self._session is not None:
            self._session.close()
        http, self._session, self._http = self._http, None, None
        return http.close() if http is not None else None


def _parts(line: bytes) -> list[str | None]:
    if not line.startswith(b"data: {"):
        return []
    return [choice["delta"].get("content") for choice in json.loads(line[6:])["choices"]]
