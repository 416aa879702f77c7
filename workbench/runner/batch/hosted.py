"""A hosted batch API through the `openai` package: files up, a batch, its answers down.

    async with HostedApi(model) as api:
        batch_id = await api.create(part, await api.upload(path))
        seen = await api.look(batch_id)          # seen.status, seen.done, …
        await api.download(seen.output_file_id, path)

The package's own redirects, proxies, retries and headers are not used: a request goes where the model's zone says, with
the key and nothing else about this machine.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from workbench import __version__, project
from workbench.catalog import Model
from workbench.client.address import Proxy, Target
from workbench.client.attempt import authorization
from workbench.client.reading import message_of
from workbench.errors import RunError, WorkbenchError
from workbench.runner.batch.file import URL
from workbench.runner.batch.state import Part

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

TOKEN = "workbench"  # the metadata's key that our token stands under
OVER = frozenset({"completed", "failed", "expired", "cancelled"})
_TIMEOUT_S = 120.0  # of one read or write, not of a whole file
_LOOK_BACK_S = 86_400  # clocks differ
_MOST_LISTED = 2_000
_HEADERS = frozenset({"host", "accept", "accept-encoding", "connection", "content-type", "content-length"})


class Unreachable(RunError):
    """The API did not answer, or asked to come later: the same may well work in a moment."""


class Garbled(Unreachable):
    """What came is no answer of a batch API. It may be one that is not well, or none."""


class Refused(RunError):
    """The API will not do it."""


@dataclass(frozen=True)
class Seen:
    """How far a batch is.

    Attributes:
        status: in the API's words.
        files: ids of its output and its errors, those that there are.
        said: why it failed, in the API's words.
    """

    status: str
    done: int
    total: int
    files: tuple[str, ...]
    said: str


class HostedApi:
    """A session with a model's batch API."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._key = model.api_key()
        self._client: AsyncOpenAI | None = None

    async def __aenter__(self) -> HostedApi:
        return self

    @property
    def _api(self) -> AsyncOpenAI:
        """The package's client, made where it is needed first: with all in the journal it never is."""
        if self._client is not None:
            return self._client
        import httpx2
        from openai import AsyncOpenAI

        shown = authorization(self._model.id, self._key) if self._key else None
        http = httpx2.AsyncClient(
            transport=_transport(Target.of(self._model.destination()), shown),
            trust_env=False,
            follow_redirects=False,
            timeout=_TIMEOUT_S,
        )
        self._client = AsyncOpenAI(
            api_key=self._key or "none", base_url=self._model.urls[0], http_client=http, max_retries=0
        )
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def upload(self, path: Path) -> str:
        """Upload a batch's file; the file's id. Nothing is asked by that yet."""
        with self._telling("upload a batch"):
            with path.open("rb") as file:
                uploaded = await self._api.files.create(file=(path.name, file), purpose="batch")
            return str(uploaded.id)

    async def create(self, part: Part, file_id: str) -> str:
        """Create a batch of a file; the batch's id.

        Raises:
            Unreachable: it may have been created all the same. `find` tells.
            Refused: it was not created.
        """
        with self._telling("submit a batch"):
            created = await self._api.batches.create(
                input_file_id=file_id,
                endpoint=URL,
                completion_window="24h",
                metadata={TOKEN: part.token},
            )
            return str(created.id)

    async def find(self, part: Part) -> str | None:
        """The id of a batch whose submission was cut off, by our token in its metadata; None where there is none."""
        with self._telling("list the batches"):
            looked = 0
            async for batch in self._api.batches.list(limit=100):
                if (batch.metadata or {}).get(TOKEN) == part.token:
                    return str(batch.id)
                looked += 1
                if looked >= _MOST_LISTED or (batch.created_at or 0) < _at(part) - _LOOK_BACK_S:
                    break
        return None

    async def look(self, batch_id: str) -> Seen:
        """How far a batch is."""
        with self._telling(f"look at batch {batch_id}"):
            batch = await self._api.batches.retrieve(batch_id)
            counts = batch.request_counts
            errors = (batch.errors.data if batch.errors else None) or []
            files = tuple(file for file in (batch.output_file_id, batch.error_file_id) if file)
            said = "; ".join(str(error.message) for error in errors[:3])
            done = counts.completed + counts.failed if counts else 0
            return Seen(
                str(batch.status), done, counts.total if counts else 0, files, message_of(said.encode(), self._key)
            )

    async def download(self, file_id: str, path: Path) -> None:
        """A file of answers, whole or not at all."""
        part = path.with_name(f"{path.name}.part")
        with self._telling("fetch a batch's answers"):
            async with self._api.files.with_streaming_response.content(file_id) as response:
                with project.private_file(part).open("wb") as file:
                    async for piece in response.iter_bytes():
                        file.write(piece)
        os.replace(part, path)

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """What goes wrong in clear words, without the key and without a traceback of the package's."""
        import httpx2
        import openai

        start = f"{self._model.id}: cannot {what}"
        try:
            yield
        except openai.APIStatusError as failure:
            # Where items may be restricted, what an API says may quote them.
            said = message_of(failure.response.content, self._key) if self._model.zone == "hosted" else ""
            line = f"{start} (HTTP {failure.status_code}{f': {said}' if said else ''})."
            if failure.status_code in (408, 409, 429) or failure.status_code >= 500:
                raise Unreachable(line) from None
            if 300 <= failure.status_code < 400:
                line = f"{start}: the server redirects, and redirects are not followed. Mend base_url."
            raise Refused(line) from None
        except (openai.APIConnectionError, httpx2.HTTPError) as failure:
            cause = failure.__cause__ or failure
            if isinstance(cause, WorkbenchError):  # an address outside its zone
                raise cause from None
            raise Unreachable(f"{start} ({type(cause).__name__}).") from None
        except (openai.OpenAIError, AttributeError, TypeError, ValueError):
            raise Garbled(
                f"{start}: what came is no answer of a batch API. Mend base_url, or leave batch out."
            ) from None
        except OSError as failure:
            raise RunError(f"{start} ({failure.strerror or type(failure).__name__}).") from None


def _at(part: Part) -> float:
    return datetime.fromisoformat(part.asked_at).timestamp() if part.asked_at else time.time()


def _transport(target: Target, authorized: str | None) -> httpx2.AsyncBaseTransport:
    """Connections to checked addresses only, with nothing in the headers but what is needed."""
    import httpx2

    class Checked(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            # The same trust as the live wire's; environment variables for certificates are read by OpenSSL itself.
            self._inner = httpx2.AsyncHTTPTransport(
                verify=ssl.create_default_context(), trust_env=False, proxy=_proxy(target.proxy)
            )

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if (request.url.scheme, request.url.host) != (target.scheme, httpx2.URL(_url(target)).host):
                raise httpx2.ConnectError("another host", request=request)
            for name in set(request.headers) - _HEADERS:
                if not name.startswith("transfer-"):
                    del request.headers[name]
            request.headers["User-Agent"] = f"workbench/{__version__}"
            if authorized:
                request.headers["Authorization"] = authorized
            addresses = await target.addresses()
            if target.proxy is not None or target.destination.zone == "hosted":
                return await self._inner.handle_async_request(request)
            # The very addresses that were checked; the name would be looked up again.
            request.extensions = {**request.extensions, "sni_hostname": target.host}
            for address in addresses[:-1]:
                request.url = request.url.copy_with(host=address)
                with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                    return await self._inner.handle_async_request(request)
            request.url = request.url.copy_with(host=addresses[-1])
            return await self._inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Checked()


def _url(target: Target) -> str:
    return f"{target.scheme}://{target.authority}"


def _proxy(proxy: Proxy | None) -> httpx2.Proxy | None:
    import httpx2

    if proxy is None:
        return None
    headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else None
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    return httpx2.Proxy(f"http://{host}:{proxy.port}", headers=headers)
