"""seccomp: a small program of ours answers for the kernel. Constants are those of linux/seccomp.h, filter.h and audit.h."""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from jobs.containment.system_calls import LAST_KNOWN, gain_nothing, number_of, system_call

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
# All threads of the process, not the calling one alone.
SECCOMP_FILTER_FLAG_TSYNC = 1
ALLOW = 0x7FFF0000
ERRNO = 0x00050000
# AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64: a call by another machine's numbers is another call.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Instructions of classic BPF: what to do, how many to jump over if so and if not, and a number.
Instruction = tuple[int, int, int, int]
LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
# Places in struct seccomp_data.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16

CLONE_THREAD = 0x00010000
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: a world of its own, in which it would be root.
NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
AF_UNIX = 1
# SOCK_STREAM and SOCK_SEQPACKET need a connection before anything is sent; a datagram would go to any address.
CONNECTED_TYPES = (1, 5)
SOCKET_TYPE = 0xF
PRIO_PROCESS = 0
IOPRIO_WHO_PROCESS = 1
# F_SETOWN, F_SETSIG, F_SETOWN_EX: a signal to others. F_SETLEASE: who opens the file has to wait.
FCNTL_TO_OTHERS = (8, 10, 15, 1024)
# TIOCSTI and TIOCLINUX type on a terminal; FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR make files unchangeable; FIOSETOWN and
# SIOCSPGRP are F_SETOWN of a socket.
IOCTL_REFUSED = (0x5412, 0x541C, 0x40086602, 0x401C5820, 0x8901, 0x8902)

# What nothing that learns or reads pictures needs, and what reaches into other processes or deep into the kernel.
REFUSED = (
    # Other processes.
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "pidfd_open"),
    *("pidfd_getfd", "pidfd_send_signal", "tkill", "perf_event_open", "migrate_pages", "move_pages"),
    # Memory and queues that System V and POSIX share among all processes of a user.
    *("shmget", "shmat", "shmctl", "semget", "semctl", "msgget", "msgctl", "mq_open", "mq_unlink"),
    # Other views of the file system, and ways to files past their paths.
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "move_mount", "open_tree", "open_tree_attr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "name_to_handle_at"),
    *("quotactl", "quotactl_fd", "swapon", "swapoff", "acct"),
    # What tells of files as others use them: Landlock does not ask whose these are.
    *("inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_init", "fanotify_mark"),
    # What Landlock leaves to the owner of a file, wherever it lies.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes"),
    *("futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr"),
    *("fremovexattr", "removexattrat", "file_setattr"),
    # Links, pipes and devices, which the server would follow when it reads the folder.
    *("symlink", "symlinkat", "link", "linkat", "mknod", "mknodat"),
    # Parts of the kernel in which most of its holes were.
    *("bpf", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key"),
    *("request_key", "modify_ldt", "vhangup", "syslog"),
    # The machine itself.
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "iopl", "ioperm"),
    *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname"),
    # Other programs.
    *("execve", "execveat"),
)
FORKS = ("fork", "vfork")
# Memory that no limit of a process counts: without a file, as a file without a name, or as a stack that grows.
MAP_SHARED, MAP_ANONYMOUS, KINDS_OF_MAPS = 0x01, 0x20, 0x2F
MAP_GROWSDOWN = 0x100
UNCOUNTED_MEMORY = ("memfd_create", "memfd_secret")


@dataclass(frozen=True)
class Test:
    """Whether an argument, or the bits of it under `mask`, is one of `values`. Flags and process ids have 32 bits."""

    argument: int
    values: Sequence[int]
    mask: int = 0xFFFFFFFF

    def code(self) -> list[Instruction]:
        """Goes on behind the next instruction when the test is passed, and with it when not."""
        load: list[Instruction] = [(LOAD, 0, 0, ARGUMENTS + 8 * self.argument), (AND, 0, 0, self.mask)]
        return load + [(EQUAL, len(self.values) - place, 0, value) for place, value in enumerate(self.values)]


@dataclass
class Filter:
    """A program that answers the first rule which a system call meets, and allows what meets none."""

    _code: list[Instruction] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._code += [
            (LOAD, 0, 0, ARCHITECTURE),
            (EQUAL, 1, 0, ARCHITECTURES[platform.machine()]),
            (RETURN, 0, 0, ERRNO | errno.EPERM),
            (LOAD, 0, 0, NUMBER),
            (GREATER, 0, 1, LAST_KNOWN),
            (RETURN, 0, 0, ERRNO | errno.ENOSYS),
        ]

    def refuse(self, name: str, error: int = errno.EPERM) -> None:
        number = number_of(name)
        if number is not None:
            self._code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | error)]

    def refuse_unless(self, name: str, *tests: Test) -> None:
        """Refuse a call that does not pass all tests."""
        number = number_of(name)
        if number is None:
            return
        body: list[Instruction] = []
        for test in tests:
            body += [*test.code(), (RETURN, 0, 0, ERRNO | errno.EPERM)]
        body.append((RETURN, 0, 0, ALLOW))
        self._code += [(EQUAL, 0, len(body), number), *body]

    def refuse_if(self, name: str, *tests: Test) -> None:
        """Refuse a call that passes one of the tests."""
        number = number_of(name)
        if number is None:
            return
        body: list[Instruction] = []
        for test in tests:
            body += [*test.code(), (JUMP, 0, 0, 1), (RETURN, 0, 0, ERRNO | errno.EPERM)]
        body.append((RETURN, 0, 0, ALLOW))
        self._code += [(EQUAL, 0, len(body), number), *body]

    def apply(self) -> None:
        """Put it in force for every thread of this process, and all that they start."""
        code = b"".join(struct.pack("=HBBI", *line) for line in [*self._code, (RETURN, 0, 0, ALLOW)])
        kept = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog, with the gap that puts the pointer at a multiple of its size.
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
        gain_nothing()
        number = number_of("seccomp")
        assert number is not None
        thread = system_call(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program)
        if thread != 0:
            raise OSError(errno.EBUSY, f"thread {thread} has a filter of its own")


def seccomp_is_there() -> bool:
    """Whether this kernel filters system calls, and we know this machine's numbers."""
    number = number_of("seccomp")
    if number is None:
        return False
    with suppress(OSError):
        return system_call(number, SECCOMP_GET_ACTION_AVAIL, 0, struct.pack("=I", ERRNO)) == 0
    return False


def filter_for(starts_processes: bool, counts_memory: bool) -> Filter:
    """What a child may not ask of the kernel. One that `starts_processes` may make copies of itself, and end these; one that
    `counts_memory` gets none past its limit.
    """
    made = Filter()
    for name in REFUSED:
        made.refuse(name)
    made.refuse_if("ioctl", Test(1, IOCTL_REFUSED))
    made.refuse_if("fcntl", Test(1, FCNTL_TO_OTHERS))
    _refuse_network(made)
    _refuse_others(made)
    if counts_memory:
        shared = Test(3, (MAP_SHARED | MAP_ANONYMOUS,), KINDS_OF_MAPS)
        made.refuse_if("mmap", shared, Test(3, (MAP_GROWSDOWN,), MAP_GROWSDOWN))
        for name in UNCOUNTED_MEMORY:
            made.refuse(name)
    # Its flags are in memory, where no filter sees them; C libraries take the older one instead.
    made.refuse("clone3", errno.ENOSYS)
    if starts_processes:
        made.refuse_unless("clone", Test(0, (0,), NEW_NAMESPACES))
    else:
        for name in FORKS:
            made.refuse(name)
        made.refuse_unless("clone", Test(0, (CLONE_THREAD,), CLONE_THREAD))
        _refuse_signals(made)
    return made


def _refuse_network(made: Filter) -> None:
    for name in ("socket", "socketpair"):
        made.refuse_unless(name, Test(0, (AF_UNIX,)), Test(1, CONNECTED_TYPES, SOCKET_TYPE))
    # As if nobody listened, which programs are used to.
    made.refuse("connect", errno.ECONNREFUSED)


def _refuse_others(made: Filter) -> None:
    """Limits, processors and priorities of other processes of the same user."""
    itself = (0, os.getpid())
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        made.refuse_unless(name, Test(0, itself))
    made.refuse_unless("setpriority", Test(0, (PRIO_PROCESS,)), Test(1, itself))
    made.refuse_unless("ioprio_set", Test(0, (IOPRIO_WHO_PROCESS,)), Test(1, itself))


def _refuse_signals(made: Filter) -> None:
    for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        made.refuse_unless(name, Test(0, (os.getpid(),)))
