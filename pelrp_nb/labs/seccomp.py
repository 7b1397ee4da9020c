"""A filter of system calls: one process that starts no other, shares no memory and enters no namespace.

Memory that a limit of the process does not count (shared, named, in files without a name, on stacks that grow) cannot be asked for,
so that `RLIMIT_DATA` bounds what a submission takes. The filter is a program of the kernel's own small machine (seccomp, BPF).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from errno import ENOSYS, EPERM

# (x86-64, arm64); 0 where there is none
REFUSED = {
    "fork": (57, 0), "vfork": (58, 0), "execve": (59, 221), "execveat": (322, 281), "unshare": (272, 97), "setns": (308, 268),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282), "remap_file_pages": (216, 234),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "vmsplice": (278, 75),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "swapon": (167, 224), "reboot": (169, 142),
}  # fmt: skip
CLONE, CLONE3, MMAP, SOCKET, PRCTL, SECCOMP = (56, 220), (435, 435), (9, 222), (41, 198), (157, 167), (317, 277)
MACHINES = {"x86_64": (0, 0xC000003E), "amd64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06  # the machine's instructions
NUMBER, MACHINE, ARGUMENT = 0, 4, 16  # where the kernel puts what is asked; an argument has eight bytes
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
THREAD = 0x00010000  # of clone: a thread of this process
SHARED_WITHOUT_NAME, GROWING_OR_HUGE = 0x21, 0x40100  # of mmap
FAMILIES = (1, 2, 10, 16)  # of sockets: this machine, internet of both kinds, names of interfaces
DUMPABLE = 4  # of prctl
Step = tuple[int, int, int, int]  # instruction, steps to skip if so, steps to skip if not, operand


def program(machine: str) -> list[Step]:
    """The filter for one kind of processor. Raises KeyError for others."""
    at, kind = MACHINES[machine.casefold()]
    steps: list[Step] = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, kind), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if at == 0:
        steps += [(AT_LEAST, 0, 1, 0x40000000), _fails(ENOSYS)]  # the same calls by other numbers
    steps += [(EQUAL, 0, 1, CLONE3[at]), _fails(ENOSYS)]  # its flags cannot be read here; the C library then takes clone
    for number in (pair[at] for pair in REFUSED.values() if pair[at]):
        steps += [(EQUAL, 0, 1, number), _fails(EPERM)]
    for number, rest in _by_argument(at):
        steps += [(EQUAL, 0, len(rest), number), *rest]
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _by_argument(at: int) -> Iterator[tuple[int, list[Step]]]:
    """The calls that are refused for some arguments: (number, steps to the answer)."""
    allow, refuse = (RETURN, 0, 0, ALLOW), _fails(EPERM)
    yield CLONE[at], [_argument(0), (ANY_BIT, 1, 0, THREAD), refuse, allow]
    flags = _argument(3)
    unnamed = [flags, (AND, 0, 0, SHARED_WITHOUT_NAME), (EQUAL, 0, 1, SHARED_WITHOUT_NAME), refuse]
    yield MMAP[at], [*unnamed, flags, (ANY_BIT, 0, 1, GROWING_OR_HUGE), refuse, allow]
    yield SOCKET[at], [_argument(0), *((EQUAL, len(FAMILIES) - i, 0, each) for i, each in enumerate(FAMILIES)), refuse, allow]
    yield PRCTL[at], [_argument(0), (EQUAL, 0, 1, DUMPABLE), refuse, allow]


def _argument(number: int) -> Step:
    return LOAD, 0, 0, ARGUMENT + 8 * number


def _fails(error: int) -> Step:
    return RETURN, 0, 0, FAIL | error


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def install() -> None:
    """Put the filter in force for all threads of this process, for good. Raises OSError where the kernel has none."""
    machine = platform.machine()
    try:
        steps = program(machine)
    except KeyError as error:
        raise OSError(ENOSYS, f"no filter of system calls is written for {machine}") from error
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(DUMPABLE, 0, 0, 0, 0)  # nobody writes into this process's memory by way of /proc
    libc.prctl(38, 1, 0, 0, 0)  # no new privileges, which the kernel asks for first
    raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    wanted = _Program(len(steps), ctypes.addressof(raw))
    number = SECCOMP[MACHINES[machine.casefold()][0]]
    if libc.syscall(number, 1, 1, ctypes.byref(wanted)):  # a filter, for all threads
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
