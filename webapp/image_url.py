"""A picture by its address on the web: from public addresses only, and no more of it and no longer than is allowed."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

import psutil

from jobs.errors import UserError, disk_fault

Address = IPv4Address | IPv6Address

PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
MOST_BYTES = 64 * 2**20
MOST_SECONDS = 20.0
# A host may have addresses that cannot be reached from here, and another that can.
SECONDS_TO_CONNECT = 5.0
BLOCK_BYTES = 2**16
LONGEST_NAME = 200
# RFC 6052: an IPv4 address in the last four bytes, for networks that know IPv6 only.
NAT64 = IPv6Network("64:ff9b::/96")
# What a browser would send as it stands; all else is encoded.
SAFE_IN_TARGETS = "/%:=&?~+!$,;'@()*[]"


def starts_like_url(text: str) -> bool:
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in PORTS))


def is_elsewhere(address: Address) -> bool:
    """Whether the address is public and none of this machine's own, whose services may trust who asks from here."""
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    return is_public(address) and str(_reached_by(address)) not in own


def is_public(address: Address) -> bool:
    """Whether the address is one of the Internet: no host of a local network, of this machine, or of a provider's inside."""
    address = _reached_by(address)
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _reached_by(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, if it is of a kind that does; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def addresses_of(host: str, port: int) -> list[str]:
    """Every address of a host, as the system resolves its name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


@dataclass(frozen=True)
class ImagesOfTheWeb:
    """Fetches pictures. `addresses_of` is asked once for each host, and what it says is what is connected to."""

    is_allowed: Callable[[Address], bool] = is_elsewhere
    addresses_of: Callable[[str, int], Sequence[str]] = addresses_of
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    most_bytes: int = MOST_BYTES
    seconds: float = MOST_SECONDS

    def save(self, url: str, path: Path) -> str:
        """Write what the address holds to `path`, whatever it is, and return its name. UserError says why that cannot be."""
        deadline = time.monotonic() + self.seconds
        for _ in range(MOST_REDIRECTS + 1):
            parts = _checked(url)
            with self._answer(parts, deadline) as answer:
                if answer.status not in REDIRECTS:
                    self._keep(answer, parts, path)
                    return _name(parts)
                url = urljoin(url, answer.headers.get("Location", ""))
        raise UserError(f"{parts.hostname} leads on from one address to the next, more than {MOST_REDIRECTS} times.")

    @contextmanager
    def _answer(self, parts: SplitResult, deadline: float) -> Iterator[http.client.HTTPResponse]:
        """The head of the host's answer; its body can be read until the deadline."""
        host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
        try:
            addresses = self._allowed_addresses(host, port, deadline)
            connection = _Connection(host, port, addresses, self.tls if parts.scheme == "https" else None, deadline)
            with connection.cut_off_at_deadline():
                connection.request("GET", _target(parts), headers={"Accept": "image/*", "User-Agent": "Layerscope"})
                with connection.getresponse() as answer:
                    yield answer
                    # What was cut off at the deadline looks like an end.
                    _left(deadline)
        except ssl.SSLCertVerificationError as error:
            raise UserError(f"The certificate of {host} is not good: {error.verify_message}.") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            if disk_fault(error):
                raise
            if time.monotonic() >= deadline:
                raise self._too_slow(host) from error
            raise UserError(f"No picture could be fetched from {host}: {_reason(error)}.") from error

    def _allowed_addresses(self, host: str, port: int, deadline: float) -> list[str]:
        """The addresses of a host, every one of them allowed."""
        addresses = _in_time(lambda: self.addresses_of(host, port), deadline)
        if not addresses or not all(self.is_allowed(ipaddress.ip_address(address)) for address in addresses):
            found = "an address that is not public" if addresses else "no address"
            raise UserError(f"{host} has {found}. Pictures are fetched from public addresses only.")
        return list(addresses)

    def _keep(self, answer: http.client.HTTPResponse, parts: SplitResult, path: Path) -> None:
        if answer.status != HTTPStatus.OK:
            raise UserError(f"{parts.hostname} answered with status {answer.status} and no picture.")
        with path.open("wb") as file:
            self._receive(answer, file)

    def _receive(self, answer: http.client.HTTPResponse, file: BinaryIO) -> None:
        kept = 0
        while block := answer.read(BLOCK_BYTES):
            kept += len(block)
            if kept > self.most_bytes:
                raise UserError(
                    f"What is at this address is larger than {self.most_bytes / 2**20:g} MiB. Choose a smaller picture."
                )
            file.write(block)

    def _too_slow(self, host: str) -> UserError:
        return UserError(
            f"{host} did not send the whole picture within {self.seconds:g} s. Download it yourself and upload it."
        )


class _Connection(http.client.HTTPConnection):
    """A connection to one of the addresses that were looked at, whatever the host's name means by now."""

    def __init__(
        self, host: str, port: int, addresses: Sequence[str], tls: ssl.SSLContext | None, deadline: float
    ) -> None:
        super().__init__(host, port)
        self.default_port = PORTS["https" if tls else "http"]
        self._addresses = addresses
        self._tls = tls
        self._deadline = deadline
        # Kept here, because http.client gives the socket away to an answer that ends with its connection.
        self._line: socket.socket | None = None

    def connect(self) -> None:
        line = self._reach()
        if self._tls is not None:
            line = self._tls.wrap_socket(line, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self._line = line
        # Who cuts it off when the time is up may have come before there was anything to cut.
        _left(self._deadline)
        if isinstance(line, ssl.SSLSocket):
            line.do_handshake()

    def _reach(self) -> socket.socket:
        for address in self._addresses[:-1]:
            with suppress(OSError):
                return self._line_to(address)
        return self._line_to(self._addresses[-1])

    def _line_to(self, address: str) -> socket.socket:
        line = socket.create_connection((address, self.port), min(SECONDS_TO_CONNECT, _left(self._deadline)))
        line.settimeout(_left(self._deadline))
        return line

    @contextmanager
    def cut_off_at_deadline(self) -> Iterator[None]:
        """End whatever the connection waits for when the time is up: single bytes may come for ever, each in time."""
        timer = threading.Timer(_left(self._deadline), self._cut_off)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self.close()

    def _cut_off(self) -> None:
        if self._line is not None:
            # The plain socket's: that of TLS would take the session away from the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(self._line, socket.SHUT_RDWR)


def _checked(url: str) -> SplitResult:
    """The parts of an address that may be asked; UserError when it is none of the web."""
    shown = url[:LONGEST_NAME]
    if not url.isprintable() or any(character.isspace() for character in url):
        raise UserError(f"{shown!r} is no address: it holds blanks or characters that cannot be seen.")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UserError(f"{shown} is no address: {error}.") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise UserError(f"{shown} is no address of the web: it must begin with http:// or https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise UserError("This address holds a name or a password before an @. Leave them out: they would be sent.")
    return parts


def _target(parts: SplitResult) -> str:
    """Path and query as a request names them."""
    query = f"?{quote(parts.query, SAFE_IN_TARGETS)}" if parts.query else ""
    return quote(parts.path or "/", SAFE_IN_TARGETS) + query


def _name(parts: SplitResult) -> str:
    """What the picture is called: the end of its path, or its host."""
    name = unquote(parts.path.rsplit("/", 1)[-1]) or str(parts.hostname)
    return name[:LONGEST_NAME]


def _left(deadline: float) -> float:
    """Seconds until the deadline, which must be ahead."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left


def _in_time(look_up: Callable[[], Sequence[str]], deadline: float) -> Sequence[str]:
    """What `look_up` says. The system's resolver knows no deadline, so it is waited for no longer than that."""
    answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look_up())
        except (OSError, ValueError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_left(deadline))
    except Empty:
        raise TimeoutError("its name could not be looked up in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
