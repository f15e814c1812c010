"""The event loop of the server: its listeners, its signals, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..device_api.listener import DeviceListener
from ..telemetry import Telemetry
from .maintenance import Maintenance

if TYPE_CHECKING:
    from uvicorn import Server


class EventHandler(logging.Handler):
    """Makes what libraries log an event of ours: they would write it to a standard error that may be full."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as an event, with its traceback if it has one; a request cut off at the end is no fault."""
        if record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError):
            return
        self._telemetry.event("trouble", message=self.format(record), kind=record.name)


def run(listeners: Sequence[DeviceListener | Server], maintenance: Maintenance, ready: Callable[[], None]) -> None:
    """Serve until a signal ends it; `ready` is called once."""
    serving = _serve(listeners, maintenance, ready)
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


async def _serve(
    listeners: Sequence[DeviceListener | Server], maintenance: Maintenance, ready: Callable[[], None]
) -> None:
    loop, telemetry = asyncio.get_running_loop(), maintenance.telemetry
    loop.set_exception_handler(lambda _, context: _note(context, telemetry))
    logging.getLogger().handlers = [EventHandler(telemetry)]
    maintaining = loop.create_task(maintenance.run())

    def stop() -> None:
        if not listeners[0].should_exit:
            maintaining.cancel()
            telemetry.event("stopping")
        for listener in listeners:
            listener.force_exit = listener.should_exit  # a second signal ends at once
            listener.should_exit = True

    _listen_for_signals(loop, stop, maintenance.reload)
    serving = [loop.create_task(listener.serve()) for listener in listeners]
    for task in serving:
        task.add_done_callback(lambda _: None if listeners[0].should_exit else stop())  # none goes on alone
    ready()
    await asyncio.gather(*serving)
    telemetry.event("stopped")


def _note(context: dict[str, Any], telemetry: Telemetry) -> None:
    """Write down what asyncio would print: a client that breaks off in the handshake is no error of ours."""
    error = context.get("exception")
    if not isinstance(error, OSError):
        telemetry.event("trouble", message=str(context.get("message")), kind=type(error).__name__)


def _listen_for_signals(loop: asyncio.AbstractEventLoop, stop: Callable[[], None], reload: Callable[[], None]) -> None:
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reload)
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows has its own way to end a process
            loop.add_signal_handler(number, stop)
