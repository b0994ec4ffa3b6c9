"""The client without `await`: every method is the asynchronous one, run on an event loop in a thread of its own.

Nothing is written twice: types and signatures are taken over from the asynchronous classes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from .client import AsyncFleetLM
from .conversation import AsyncConversation
from .errors import CLOSED, FleetLMError
from .link import Status
from .retry import Timing
from .tokens import TokenFunction

P = ParamSpec("P")
T = TypeVar("T")


class _Blocking(Protocol):
    """What stands for an asynchronous object."""

    _over: Any

    @property
    def _loop(self) -> Loop: ...


class Loop:
    """An event loop in a thread of its own; it begins with the first call, from whichever thread. `last` is done there at
    its end: when it is closed, or when the program ends."""

    def __init__(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._last = last
        # Its own thread may ask for it once more: a generator that is collected meanwhile is closed there.
        self._lock = threading.RLock()
        self._ending = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None
        self._closed = False

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do this there and wait for it. An interrupt of the one who waits ends it."""
        with self._lock:
            if self._closed:
                raise FleetLMError(CLOSED, "This client was closed.")
            if self._portal is None:
                self._portal = self._begin()
            future: Future[T] = self._portal.start_task_soon(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread."""
        with self._lock, self._ending:
            is_first, self._closed = not self._closed, True
            if is_first and self._portal is not None:
                self._portal.start_task_soon(self._last).result()

    def _begin(self) -> BlockingPortal:
        portal = self._ending.enter_context(start_blocking_portal("asyncio"))
        # Later than that the interpreter has stopped the thread, and whoever ends it would wait for ever.
        at_exit = functools.partial(_close_at_exit, weakref.ref(self))
        atexit.register(at_exit)
        self._ending.callback(atexit.unregister, at_exit)
        return portal


def _close_at_exit(loop: weakref.ref[Loop]) -> None:
    if (open_one := loop()) is not None:
        open_one.close()


def _waiting(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """The method, waited for."""

    @functools.wraps(method)
    def call(self: _Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(lambda: method(self._over, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Any, P], Generator[T, None, None]]:
    """The method, as a plain generator."""

    @functools.wraps(method)
    def iterate(self: _Blocking, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        loop, items = self._loop, method(self._over, *args, **kwargs)
        try:
            while True:
                try:
                    item = loop.run(lambda: _next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            with contextlib.suppress(FleetLMError, RuntimeError):  # the client was closed before
                loop.run(lambda: _close(items))

    return iterate


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await items.__anext__()


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


class Conversation:
    """A conversation, without `await`; see `AsyncConversation`."""

    def __init__(self, over: AsyncConversation, loop: Loop) -> None:
        self._over = over
        self._loop = loop

    @property
    def key(self) -> str:
        """The one it is named by."""
        return self._over.key

    @property
    def closed(self) -> str | None:
        """See `AsyncConversation.closed`."""
        return self._over.closed

    send = _waiting(AsyncConversation.send)
    history = _waiting(AsyncConversation.history)
    messages = _iterating(AsyncConversation.messages)
    events = _iterating(AsyncConversation.events)
    read = _waiting(AsyncConversation.read)
    typing = _waiting(AsyncConversation.typing)
    cancel = _waiting(AsyncConversation.cancel)
    info = _waiting(AsyncConversation.info)
    update = _waiting(AsyncConversation.update)
    add_participants = _waiting(AsyncConversation.add_participants)
    remove_participant = _waiting(AsyncConversation.remove_participant)
    handoff = _waiting(AsyncConversation.handoff)
    set_state = _waiting(AsyncConversation.set_state)


class FleetLM:
    """A client, without `await`; see `AsyncFleetLM`. It may be used from several threads."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:4000",
        *,
        participant_id: str | None = None,
        token: str | TokenFunction | None = None,
        transport: Literal["auto", "websocket", "sse"] = "auto",
        retry_for: float | None = 30.0,
        timing: Timing | None = None,
    ) -> None:
        self._over = AsyncFleetLM(
            url,
            participant_id=participant_id,
            token=token,
            transport=transport,
            retry_for=retry_for,
            timing=timing,
        )
        self._loop = Loop(self._over.close)

    def __enter__(self) -> FleetLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything; see `AsyncFleetLM.close`."""
        self._loop.close()

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._over.url

    @property
    def participant_id(self) -> str | None:
        """See `AsyncFleetLM.participant_id`."""
        return self._over.participant_id

    @property
    def status(self) -> Status:
        """See `AsyncFleetLM.status`."""
        return self._over.status

    def conversation(self, key: str) -> Conversation:
        """See `AsyncFleetLM.conversation`."""
        return Conversation(self._over.conversation(key), self._loop)

    identify = _waiting(AsyncFleetLM.identify)
    create_conversation = _waiting(AsyncFleetLM.create_conversation)
    conversations = _waiting(AsyncFleetLM.conversations)
    search = _waiting(AsyncFleetLM.search)
    inbox = _waiting(AsyncFleetLM.inbox)
    follow_inbox = _iterating(AsyncFleetLM.follow_inbox)
    request = _waiting(AsyncFleetLM.request)
