"""The default system call filter, as data.

A call that no rule allows fails with EPERM. The tables have the same effect as the filter that
Docker applies by default, so that an image behaves the same here: ordinary calls always, some for
certain architectures, some only with the capability that makes them harmless to permit (the kernel
then checks the capability anyway), some only with certain arguments.

What stays out, and why: keyrings and anything else that is not namespaced (``keyctl``,
``add_key``, ``request_key``), kernel image and swap handling, obsolete calls, ``userfaultfd`` and
``io_uring_*`` for their record of exploits, and new namespaces without CAP_SYS_ADMIN.
"""

from __future__ import annotations

import dataclasses

from firkin.oci.tables import words

#: Always allowed; grouped by what they are for.
ALWAYS: tuple[str, ...] = words(
    """
    open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev
    pwrite64 pwritev pwritev2 lseek _llseek dup dup2 dup3 fcntl fcntl64 flock ioctl pipe pipe2
    splice tee vmsplice sendfile sendfile64 copy_file_range readahead fadvise64 fadvise64_64
    fallocate ftruncate ftruncate64 truncate truncate64 fsync fdatasync sync syncfs sync_file_range
    memfd_create memfd_secret cachestat

    access faccessat faccessat2 chdir fchdir getcwd chmod fchmod fchmodat fchmodat2 chown chown32
    fchown fchown32 fchownat lchown lchown32 umask link linkat symlink symlinkat readlink readlinkat
    unlink unlinkat rename renameat renameat2 mkdir mkdirat rmdir mknod mknodat getdents getdents64
    stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs
    fstatfs64 utime utimes utimensat utimensat_time64 futimesat name_to_handle_at
    getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr
    llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
    listmount statmount
    inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark

    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2
    io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64

    accept accept4 bind connect listen shutdown socketcall socketpair getsockname getpeername
    getsockopt setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg
    recvmmsg_time64

    brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock
    munlockall mseal remap_file_pages membarrier map_shadow_stack pkey_alloc pkey_free pkey_mprotect

    fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid
    getpgrp setpgid getsid setsid kill tkill tgkill pidfd_open pidfd_send_signal pause prctl rseq
    restart_syscall seccomp process_mrelease set_tid_address set_robust_list get_robust_list
    set_thread_area get_thread_area uretprobe
    landlock_create_ruleset landlock_add_rule landlock_restrict_self

    getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32
    getresuid getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setgroups
    setgroups32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32
    setfsuid setfsuid32 setfsgid setfsgid32 capget capset

    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4
    sigprocmask sigreturn

    sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval sched_rr_get_interval_time64 sched_yield getpriority setpriority
    ioprio_get ioprio_set getcpu getrlimit ugetrlimit setrlimit prlimit64 getrusage times
    futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue

    ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl
    shmdt shmget mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64
    mq_timedsend mq_timedsend_time64 mq_unlink

    time gettimeofday clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 alarm getitimer
    setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64

    uname sysinfo getrandom riscv_hwprobe
    """
)

#: Allowed from this kernel on: before 4.8 ptrace could get around a seccomp filter.
PTRACE_SAFE_KERNEL = (4, 8)
PTRACE: tuple[str, ...] = ("ptrace", "process_vm_readv", "process_vm_writev")

#: Allowed on these architectures (names as Go and the image-spec write them).
BY_ARCH: tuple[tuple[frozenset[str], tuple[str, ...]], ...] = (
    (frozenset({"amd64"}), ("arch_prctl",)),
    (frozenset({"amd64", "386"}), ("modify_ldt",)),
    (
        frozenset({"arm", "arm64"}),
        words(
            "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"
        ),
    ),
    (frozenset({"ppc64le"}), ("sync_file_range2", "swapcontext")),
    (
        frozenset({"s390x"}),
        ("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"),
    ),
    (frozenset({"riscv64"}), ("riscv_flush_icache",)),
)

#: Allowed with a capability.
BY_CAPABILITY: dict[str, tuple[str, ...]] = {
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_SYS_ADMIN": words(
        """
        mount umount umount2 mount_setattr move_mount open_tree fsopen fsconfig fsmount fspick
        clone clone3 unshare setns sethostname setdomainname quotactl quotactl_fd bpf
        perf_event_open fanotify_init lookup_dcookie syslog
        lsm_get_self_attr lsm_set_self_attr lsm_list_modules
        """
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("init_module", "finit_module", "delete_module"),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise", *PTRACE),
    "CAP_SYS_RAWIO": ("iopl", "ioperm"),
    "CAP_SYS_TIME": ("settimeofday", "stime", "clock_settime", "clock_settime64"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYS_NICE": ("get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind"),
    "CAP_SYSLOG": ("syslog",),
    "CAP_BPF": ("bpf",),
    "CAP_PERFMON": ("perf_event_open",),
}

#: personality(2) values that change nothing dangerous: Linux, Linux/32, either with UNAME26, and
#: the query. ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC are what must not get through.
PERSONALITIES: tuple[int, ...] = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

#: The namespace flags of clone(2): all of them must be absent without CAP_SYS_ADMIN. clone3(2)
#: keeps its flags in memory, where a filter can't look; it answers ENOSYS, on which C libraries
#: fall back to clone.
CLONE_NAMESPACES = 0x7E020000

#: socket(2) address families: those below the first number, and these. Left out are dead families
#: and AF_ALG (38) and AF_VSOCK (40), which reach kernel code or the hypervisor, not a network.
SOCKET_BELOW = 12
SOCKET_FAMILIES: tuple[int, ...] = (
    *(13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33),
    *(35, 36, 39, 41, 42, 43, 44, 45),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Arch:
    """An architecture: its image-spec name, its seccomp name, and those it can also execute."""

    go: str
    native: str
    compatible: tuple[str, ...] = ()


_MACHINES: tuple[tuple[str, Arch], ...] = (
    ("x86_64 amd64", Arch("amd64", "SCMP_ARCH_X86_64", ("SCMP_ARCH_X86", "SCMP_ARCH_X32"))),
    ("i386 i486 i586 i686 386", Arch("386", "SCMP_ARCH_X86")),
    ("aarch64 arm64", Arch("arm64", "SCMP_ARCH_AARCH64", ("SCMP_ARCH_ARM",))),
    ("armv6l armv7l armv8l arm", Arch("arm", "SCMP_ARCH_ARM")),
    ("ppc64le", Arch("ppc64le", "SCMP_ARCH_PPC64LE")),
    ("s390x", Arch("s390x", "SCMP_ARCH_S390X", ("SCMP_ARCH_S390",))),
    ("riscv64", Arch("riscv64", "SCMP_ARCH_RISCV64")),
    ("loongarch64 loong64", Arch("loong64", "SCMP_ARCH_LOONGARCH64")),
    (
        "mips64",
        Arch("mips64", "SCMP_ARCH_MIPS64", ("SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64N32")),
    ),
    (
        "mips64el mips64le",
        Arch("mips64le", "SCMP_ARCH_MIPSEL64", ("SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64N32")),
    ),
)

#: By machine name (uname -m) and by image-spec name.
ARCHES: dict[str, Arch] = {name: arch for names, arch in _MACHINES for name in names.split()}
