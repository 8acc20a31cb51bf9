"""A network text that tries to get at everything that is not its own, and says in its error what it could."""

import json
from pathlib import Path
from typing import Any

TEXT = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading
from multiprocessing import shared_memory

known = json.loads(KNOWN)
libc = ctypes.CDLL(None, use_errno=True)
attempts = {}

def attempt(function):
    attempts[function.__name__] = function
    return function

def must(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return True

def ask(call, *arguments):
    # By its number: the C library has no function for most of these. A number that does not say how wide it is takes half of
    # its place where places on the stack are used, and the kernel would read what was in the other half.
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = libc.syscall(known["calls"][call], *wide)
    must(result)
    return result

@attempt
def reads_a_file(): return open(known["secret"]).read()
@attempt
def reads_another_job(): return open(known["other_job"] + "/worker.log").read()
@attempt
def reads_the_database(): return open(known["database"], "rb").read()
@attempt
def reads_by_way_of_the_root(): return open("/proc/self/root" + known["secret"]).read()
@attempt
def lists_jobs(): return os.listdir(known["jobs"])
@attempt
def writes_outside(): return open(known["outside"] + "/new", "w")
@attempt
def writes_to_the_dataset(): return open(known["dataset"] + "/dataset.json", "a")
@attempt
def writes_over_a_file(): return open(known["victim_file"], "r+")
@attempt
def removes_a_file(): return os.unlink(known["outside"] + "/to_remove") or True
@attempt
def moves_a_file_in(): return os.rename(known["outside"] + "/to_move", "moved") or True
@attempt
def empties_a_file(): return os.truncate(known["victim_file"], 0) or True
@attempt
def changes_rights(): return os.chmod(known["victim_file"], 0o777) or True
@attempt
def changes_times(): return os.utime(known["victim_file"], (1, 1)) or True
@attempt
def makes_a_symbolic_link(): return os.symlink(known["secret"], "link") or True
@attempt
def makes_a_hard_link(): return os.link(known["secret"], "hard") or True
@attempt
def makes_a_pipe(): return os.mkfifo("pipe") or True
@attempt
def makes_a_socket():
    with socket.socket(socket.AF_UNIX) as listener:
        return listener.bind("socket") or True
@attempt
def reaches_a_service():
    with socket.create_connection(("127.0.0.1", known["port"]), 2) as connection:
        return True
@attempt
def sends_a_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"x", ("127.0.0.1", known["port"]))
@attempt
def reaches_a_named_socket():
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect(known["named_socket"]) or True
@attempt
def reaches_a_hidden_socket():
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect("\\0" + known["hidden_socket"]) or True
@attempt
def sends_from_a_pair():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        return one.sendto(b"x", known["datagram_socket"])
@attempt
def signals_a_process(): return os.kill(known["victim"], signal.SIGCONT) or True
@attempt
def signals_its_parent(): return os.kill(os.getppid(), 0) or True
@attempt
def signals_a_thread_of_another(): return ask("tgkill", known["victim"], known["victim"], 0) == 0
@attempt
def signals_all(): return os.kill(-known["group"], 0) or True
@attempt
def signals_by_descriptor(): return signal.pidfd_send_signal(os.pidfd_open(known["victim"]), signal.SIGCONT) or True
@attempt
def signals_by_a_socket_that_is_ready():
    import fcntl
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        fcntl.ioctl(one.fileno(), 0x8901, known["victim"].to_bytes(4, "little"))
        return True
@attempt
def signals_by_the_group_of_a_socket():
    import fcntl
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        fcntl.ioctl(one.fileno(), 0x8902, known["victim"].to_bytes(4, "little"))
        return True
@attempt
def sees_which_files_are_used():
    watch = ask("inotify_init1", 0)
    return ask("inotify_add_watch", watch, known["outside"].encode(), 0xFFF)
@attempt
def limits_a_process(): return resource.prlimit(known["victim"], resource.RLIMIT_CORE, (0, 0))
@attempt
def slows_a_process(): return os.setpriority(os.PRIO_PROCESS, known["victim"], 5) or True
@attempt
def moves_a_process(): return os.sched_setaffinity(known["victim"], [0]) or True
@attempt
def reads_an_environment(): return open(f"/proc/{known['victim']}/environ", "rb").read()
@attempt
def reads_a_memory(): return open(f"/proc/{known['victim']}/mem", "rb")
@attempt
def reads_a_command(): return open(f"/proc/{known['victim']}/cmdline", "rb").read()
@attempt
def forks():
    child = os.fork()
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)
@attempt
def starts_a_program(): return subprocess.run(["true"]).returncode == 0
@attempt
def spawns_a_program(): return os.posix_spawn("/bin/true", ["true"], {})
@attempt
def becomes_a_program(): os.execv("/nowhere", ["nowhere"])
@attempt
def shares_memory():
    shared = shared_memory.SharedMemory(create=True, size=16)
    shared.close()
    shared.unlink()
    return True
@attempt
def takes_memory_that_nobody_counts():
    import mmap
    return mmap.mmap(-1, 4096)
@attempt
def shares_the_pages_of_zero():
    import mmap
    with open("/dev/zero", "r+b", buffering=0) as zero:
        return mmap.mmap(zero.fileno(), 4096)
@attempt
def takes_a_stack_that_grows():
    import mmap
    return mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100)
@attempt
def makes_a_file_without_a_name(): return os.memfd_create("nameless") and True
@attempt
def shares_memory_of_system_v():
    segment = ask("shmget", 0, 4096, 0o1600)
    return ask("shmctl", segment, 0, None) == 0
@attempt
def shares_memory_by_a_file():
    path = f"/dev/shm/layerscope-{os.getpid()}"
    return open(path, "w") and os.unlink(path) is None
@attempt
def answers_faults_of_its_memory(): return ask("userfaultfd", 1)
@attempt
def reads_a_memory_by_a_call():
    own = ctypes.create_string_buffer(8)
    part = (ctypes.c_size_t * 2)(ctypes.addressof(own), 8)
    return ask("process_vm_readv", os.getpid(), part, 1, part, 1, 0)
@attempt
def asks_the_kernel_by_a_ring(): return ask("io_uring_setup", 1, ctypes.create_string_buffer(256))
@attempt
def opens_a_netlink_socket(): return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
@attempt
def opens_a_packet_socket(): return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
@attempt
def opens_a_socket_of_the_host(): return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
@attempt
def leaves_what_it_shares(): return ask("unshare", 0x00000200) == 0
@attempt
def makes_a_world_of_its_own():
    child = ask("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return os.waitpid(child, 0)
@attempt
def becomes_another_user(): return os.seteuid(65534) or os.seteuid(0) or True
@attempt
def reads_keys(): return ask("keyctl", 0, -3, 1)
@attempt
def loads_a_program_into_the_kernel(): return ask("bpf", 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128)
@attempt
def opens_a_process(): return ask("pidfd_open", known["victim"], 0)
@attempt
def asks_by_other_numbers(): return must(libc.syscall(0x40000000 | known["calls"]["fcntl"], 0, 1, 0))
@attempt
def traces_a_process(): return ask("ptrace", 0x4206, known["victim"], 0, 0) == 0
@attempt
def writes_a_large_file():
    with open("large", "wb") as file:
        file.truncate(known["too_large"])
    os.unlink("large")
    return True
@attempt
def takes_much_memory():
    import mmap
    return mmap.mmap(-1, known["too_much"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
@attempt
def takes_thousands_of_descriptors():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    taken = []
    try:
        for _ in range(5000):
            taken.append(os.dup(0))
    finally:
        for number in taken:
            os.close(number)
    return True
@attempt
def raises_its_limits(): return resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)) or True
@attempt
def sees_a_secret():
    seen = open("/proc/self/environ").read() + json.dumps(dict(os.environ))
    return "of the server" in seen
@attempt
def has_a_descriptor():
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return any("secret" in name for name in names)

could = []
for name, function in attempts.items():
    try:
        if function():
            could.append(name)
    except (OSError, ValueError, MemoryError, subprocess.SubprocessError) as error:
        pass
started = threading.Thread(target=lambda: None)
started.start()
started.join()
raise RuntimeError(json.dumps({"tried": list(attempts), "could": could}))
"""


def escaping_network(**known: Any) -> str:
    return TEXT.replace("KNOWN", repr(json.dumps(known, default=str)), 1)


def what_it_could(message: str) -> tuple[set[str], set[str]]:
    """What it tried, and what of that it could do, by the error of the network."""
    start = message.index('{"tried"')
    said = json.JSONDecoder().raw_decode(message[start:])[0]
    return set(said["tried"]), set(said["could"])


def texts_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))
