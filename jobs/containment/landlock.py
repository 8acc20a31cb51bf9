"""Landlock: a process gives up every file but those below some paths. Constants are those of linux/landlock.h."""

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from enum import IntFlag
from pathlib import Path

from jobs.containment.system_calls import (
    LANDLOCK_ADD_RULE,
    LANDLOCK_CREATE_RULESET,
    LANDLOCK_RESTRICT_SELF,
    gain_nothing,
    system_call,
)


class Access(IntFlag):
    """LANDLOCK_ACCESS_FS_*: what may be done to a file or folder."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13  # since version 2: move between folders
    TRUNCATE = 1 << 14  # since version 3
    IOCTL_DEV = 1 << 15  # since version 5


# How many of the accesses above each version knows; later ones know all of them.
KNOWN_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15}
NETWORK_SINCE = 4
SCOPES_SINCE = 6
TRUNCATE_SINCE = 3

# LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP
TCP = 1 << 0 | 1 << 1
# LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and LANDLOCK_SCOPE_SIGNAL
OTHERS = 1 << 0 | 1 << 1

CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH = 1

READ = Access.READ_FILE | Access.READ_DIR
# No links, no pipes, no sockets, no devices: the server reads what it finds in a job's folder.
WRITE = (
    READ
    | Access.WRITE_FILE
    | Access.REMOVE_DIR
    | Access.REMOVE_FILE
    | Access.MAKE_DIR
    | Access.MAKE_REG
    | Access.REFER
    | Access.TRUNCATE
)
DEVICE = READ | Access.WRITE_FILE | Access.IOCTL_DEV
OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV


def landlock_version() -> int:
    """The version of Landlock's interface that this kernel has switched on; 0 without it."""
    with suppress(OSError):
        return system_call(LANDLOCK_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    return 0


def restrict_files(version: int, allowed: Iterable[tuple[Path, Access]]) -> None:
    """Leave this thread, and all that it starts from now on, these paths and no others; no TCP, and no signals to processes
    that were there before. What version of the interface to use is the caller's to say. Paths that are not there are
    passed over.
    """
    known = Access((1 << KNOWN_BY_VERSION.get(version, len(Access))) - 1)
    fields = [int(known)]
    if version >= NETWORK_SINCE:
        fields.append(TCP)
    if version >= SCOPES_SINCE:
        fields.append(OTHERS)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = system_call(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, access in allowed:
            _allow(rules, path, access & known)
        gain_nothing()
        system_call(LANDLOCK_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, access: Access) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # What this user cannot reach needs no rule.
        return
    try:
        if not path.is_dir():
            access &= OF_FILES
        system_call(LANDLOCK_ADD_RULE, rules, RULE_PATH_BENEATH, struct.pack("=Qi", access, place), 0)
    finally:
        os.close(place)
