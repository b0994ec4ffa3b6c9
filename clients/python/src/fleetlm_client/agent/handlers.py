"""Calling a handler, whatever kind of function it is."""

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

Handler = Callable[..., Any]
"""Takes a `Call`; gives back what `answers.whole` takes, or an iterator (also async) of text and chunks."""

AnyHandler = TypeVar("AnyHandler", bound=Handler)

_END = object()


def blocks(function: Handler) -> bool:
    """Whether calling this occupies a thread until it returns, so that nothing can stop it."""
    starts_at_once = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return not any(is_one(one) for is_one in starts_at_once for one in (function, _call_of(function)))


async def invoke(threads: Executor, function: Handler, *arguments: Any) -> Any:
    """What the function gives back, awaited if that is needed; one that blocks runs in a thread.

    An iterator comes back as an async one, whose steps run in a thread if they block.
    """
    if blocks(function):
        value = await _in_thread(threads, contextvars.copy_context(), function, *arguments)
    else:
        value = function(*arguments)
    if inspect.isawaitable(value):
        value = await value
    return _stepped(value, threads) if isinstance(value, Iterator) else value


async def close(pieces: AsyncIterable[Any]) -> None:
    """Close an async generator, so that its `finally` runs now; what is none may have nothing to close."""
    if hasattr(pieces, "aclose"):
        await pieces.aclose()


async def _stepped(iterator: Iterator[Any], threads: Executor) -> AsyncIterator[Any]:
    context = contextvars.copy_context()
    step: asyncio.Future[Any] | None = None
    try:
        while True:
            step = _in_thread(threads, context, next, iterator, _END)
            piece = await asyncio.shield(step)
            if piece is _END:
                return
            yield piece
    finally:
        if step is not None and not step.done():
            await asyncio.wait([step])  # a thread cannot be stopped; a generator at work cannot be closed
            step.exception()  # looked at, so that nobody warns of it: the caller has gone
        if hasattr(iterator, "close"):
            await _in_thread(threads, context, iterator.close)


def _in_thread(
    threads: Executor, context: contextvars.Context, function: Handler, *arguments: Any
) -> asyncio.Future[Any]:
    return asyncio.get_running_loop().run_in_executor(threads, context.run, function, *arguments)


def _call_of(function: Handler) -> Any:
    """The method that calling an object runs: the kind of a function does not show on the object."""
    return getattr(function, "__call__", None)  # noqa: B004
