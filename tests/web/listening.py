"""A client of the server's sockets that hears messages in the order in which they came, as a page does."""

from typing import Any

import engineio
import socketio


class _InOrder(engineio.Client):
    """The library's own handles each message in a thread of its own, and one may overtake another."""

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **{**options, "run_async": False})


class ListeningClient(socketio.Client):
    def __init__(self) -> None:
        super().__init__(reconnection=False, request_timeout=60)

    def listen(self, url: str, transport: str, headers: dict[str, str] | None = None) -> None:
        """Connect as a page does, however long a busy server takes."""
        self.connect(url, headers or {}, namespaces=["/jobs"], transports=[transport], wait_timeout=60)

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder
