"""Clock, folders and limits of this machine.  Pure.  Not for: the network."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from peershare.doctor.checks import Check, failed, passed, warned
from peershare.doctor.evidence import Clock, Descriptors, Folder, Service, Watches

# Before it was written it cannot run; in 2100 somebody else looks after it.
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
# How far the clock may be from where it should be.
STRAY_SECONDS = 2.0
FUTURE_SECONDS = 60.0
MIB, GIB = 1 << 20, 1 << 30
_LEAST_BYTES = {"share": (64 * MIB, GIB), "state": (8 * MIB, 64 * MIB)}  # to fail, to warn
_LEAST_INODES = 100
# A service with all that it allows itself needs some hundreds.
_FEW_DESCRIPTORS, _ENOUGH_DESCRIPTORS = 256, 1_024
_FULL = 0.8


def judge_clock(clock: Clock, service: Service) -> list[Check]:
    """The wall clock: of today, steady, and later than what was written by it."""
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(clock.now)) + " UTC"
    set_it = "set the clock: sudo timedatectl set-ntp true"
    checks = []
    if not EARLIEST <= clock.now <= LATEST:
        checks.append(failed("clock", "clock", f"it says {day}, which cannot be", set_it))
    if abs(clock.strayed) > STRAY_SECONDS:
        text = f"it was set by {clock.strayed:+.0f} s while we looked"
        checks.append(warned("clock", "clock", text, "see that one program alone sets it (NTP)"))
    said = max(service.announced_at or 0.0, service.started_at)
    if said > clock.now + FUTURE_SECONDS:
        text = f"it was set back by {said - clock.now:.0f} s or more since the service started"
        checks.append(
            warned("clock", "clock", text, "start the service anew; logs are out of order")
        )
    if clock.future_count:
        names = ", ".join(clock.future)
        text = f"{clock.future_count} shared files were changed in the future: {names}"
        advice = "see that the clock is right, then: touch those files"
        checks.append(warned("clock", "clock", text, advice))
    return checks or [passed("clock", "clock", f"it says {day} and goes steadily")]


def judge_folder(folder: Folder) -> list[Check]:
    """Whether it can be used as it is to be, and how much room is left."""
    subject = f"{folder.role} folder {folder.path}"
    checks = [_judge_rights(folder, subject)]
    if folder.free_bytes is not None:
        checks.append(_judge_room(folder, subject, folder.free_bytes))
    return checks


def _judge_rights(folder: Folder, subject: str) -> Check:
    if folder.problem:
        return failed("folder", subject, folder.problem, f"choose another one (--{folder.role})")
    if not folder.exists and folder.can_make:
        return passed("folder", subject, "it is not there yet and will be made")
    if not folder.exists:
        advice = f"make it, for the user who runs the service, or name another --{folder.role}"
        return failed("folder", subject, "it is not there and cannot be made", advice)
    if not folder.is_folder:
        return failed("folder", subject, "it is no folder", f"name another --{folder.role}")
    if folder.read_only:
        advice = "mount it writable, or name another folder"
        return failed("folder", subject, "its file system is mounted read-only", advice)
    if not folder.can_read or not folder.can_write:
        what = "written" if folder.can_read else "read"
        advice = (
            f"chmod u+rwx {folder.path}" if folder.ours else f"sudo chown -R $USER {folder.path}"
        )
        return failed("folder", subject, f"it cannot be {what} by this user", advice)
    if folder.role == "state" and folder.mode & 0o077:
        text = f"others can look into it (mode {folder.mode:03o})"
        return warned("folder", subject, text, f"chmod 700 {folder.path}")
    if not folder.ours:
        text = "it belongs to another user"
        return warned("folder", subject, text, "run the doctor as the user who runs the service")
    return passed("folder", subject, "it can be read and written")


def _judge_room(folder: Folder, subject: str, free: int) -> Check:
    least, enough = _LEAST_BYTES[folder.role]
    inodes = folder.free_inodes
    advice = f"make room: df -h {folder.path}"
    if inodes is not None and inodes < _LEAST_INODES:
        text = f"its file system has room for {inodes} more files only"
        return failed("space", subject, text, f"remove small files: df -i {folder.path}")
    text = f"{free / 1e9:.1f} GB are free" if free >= 1e9 else f"{free / 1e6:.0f} MB are free"
    if free < least:
        return failed("space", subject, f"only {text}", advice)
    return (
        warned("space", subject, f"only {text}", advice)
        if free < enough
        else passed("space", subject, text)
    )


def judge_descriptors(descriptors: Descriptors) -> Check:
    """How many files and connections there may be at once."""
    whose = f"the service (pid {descriptors.pid})" if descriptors.pid else "this user"
    advice = "raise it: ulimit -n 4096 before the start, or LimitNOFILE=4096 in the unit"
    used = descriptors.used
    text = f"{whose} may open {descriptors.limit}" + (f", {used} are open" if used else "")
    if used is not None and used > _FULL * descriptors.limit:
        return failed("files", "file limit", text, advice)
    if descriptors.limit < _FEW_DESCRIPTORS:
        return failed("files", "file limit", text, advice)
    if descriptors.limit < _ENOUGH_DESCRIPTORS:
        return warned("files", "file limit", text, advice)
    return passed("files", "file limit", text)


def judge_watches(watches: Watches) -> Check:
    """Whether the share folder can be watched; where not, it is scanned by the clock."""
    key = {
        "instances": ("max_user_instances", watches.max_instances),
        "watches": ("max_user_watches", watches.max_watches),
    }.get(watches.problem)
    subject = "inotify"
    if key is not None:
        text = f"all of fs.inotify.{key[0]} ({key[1]}) are used: new files are noticed late"
        raised = max(2 * key[1], 1_024)
        return warned("watches", subject, text, f"sudo sysctl fs.inotify.{key[0]}={raised}")
    if watches.problem:
        text = f"no folder can be watched: {watches.problem}; new files are noticed late"
        return warned("watches", subject, text, "nothing, if that will do: folders are scanned")
    text = f"folders can be watched ({watches.max_watches} at most)"
    return passed("watches", subject, text)
