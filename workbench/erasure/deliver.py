"""One POST to an address that a stranger gave: pinned, without redirects, and bounded in time and size."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress

from workbench.erasure.callback_url import CallbackRules, CallbackUrl, Resolve, address_of, resolve
from workbench.errors import BusyError

SECONDS = 10.0  # for the whole call
_MOST = 65_536  # bytes of an answer that are read


def deliver(
    url: CallbackUrl,
    body: bytes,
    headers: Mapping[str, str],
    *,
    rules: CallbackRules,
    seconds: float = SECONDS,
    resolver: Resolve = resolve,
) -> None:
    """Posts JSON to a checked URL; raises BusyError unless the answer is a 2xx in time, InputError where it leads inside.

    The address that was looked at is the one that is connected to; the certificate has to be that of the name. An answer is
    read no further than its status and a bounded part, and a redirect is a failure.
    """
    try:
        address = address_of(url, rules, resolver=resolver)
        connection = _Pinned(url, address, rules, seconds)
        watch = threading.Timer(
            seconds, connection.cut
        )  # a socket's timeout is per read: one byte a while would hold on
        watch.daemon = True
        watch.start()
        try:
            connection.request("POST", url.target, body, {**headers, "Host": url.authority, "Connection": "close"})
            answer = connection.getresponse()
            answer.read(_MOST)
        finally:
            watch.cancel()
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as fault:
        raise BusyError(f"the callback could not be delivered: {type(fault).__name__}") from None
    if not 200 <= answer.status < 300:
        raise BusyError(f"the callback was answered {answer.status}")


class _Pinned(http.client.HTTPConnection):
    """A connection to a given address in the name of a host."""

    def __init__(self, url: CallbackUrl, address: str, rules: CallbackRules, seconds: float) -> None:
        super().__init__(url.host, url.port, timeout=seconds)
        self._url, self._address, self._rules = url, address, rules

    def connect(self) -> None:
        """Connects to the address, whatever the name is resolved to by now."""
        self.sock = socket.create_connection((self._address, self._url.port), self.timeout)
        if self._url.scheme == "https":
            context = ssl.create_default_context(cafile=self._rules.authorities)
            self.sock = context.wrap_socket(self.sock, server_hostname=self._url.host)

    def cut(self) -> None:
        """Ends the connection from another thread: whoever reads it gets an error."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
