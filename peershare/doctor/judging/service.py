"""The service on our state folder: is there one, and what does it say of itself?  Pure.

Not for: what it has heard (`peers`).
"""

from __future__ import annotations

from peershare import __version__
from peershare.content.names import display
from peershare.doctor.checks import Check, failed, passed, warned
from peershare.doctor.evidence import Service, ServiceState

_START = "twistd -n peershare"


def judge_service(service: Service, state: str) -> list[Check]:
    """The service; `state` is its folder."""
    checks = [_judge_state(service, state)]
    if service.exposed:
        checks.append(
            failed(
                "service",
                "control.json",
                "others than its owner can read the token of the service",
                f"chmod 600 {state}/control.json, and start the service anew",
            )
        )
    if service.state is not ServiceState.RUNNING:
        return checks
    checks += [
        failed("service", "service", p, "see what is said below of it") for p in service.problems
    ]
    if service.version != __version__:
        checks.append(
            warned(
                "service",
                "service",
                f"it is of version {service.version}, this program of {__version__}",
                "start the service anew",
            )
        )
    if not service.problems and not service.announces:
        checks.append(
            warned("service", "service", "it announces nothing to classic peers", "see its log")
        )
    if service.not_offered:
        checks.append(_judge_not_offered(service))
    if service.from_elsewhere:
        checks.append(
            warned(
                "service",
                "service",
                f"it has turned away {service.from_elsewhere} datagrams from networks that are not"
                " ours",
                "if they are from your machines: give all of them one network and one netmask",
            )
        )
    return checks


def _judge_not_offered(service: Service) -> Check:
    """What lies in the share folder and looks shared to whoever put it there."""
    first = "; ".join(
        f"{display(name, 80)} ({reason})" for name, reason in service.not_offered_first
    )
    return warned(
        "share",
        "share folder",
        f"{service.not_offered} in it not offered to others: {first}",
        "rename them, or put files in their place; peershare list names all of them",
    )


def _judge_state(service: Service, state: str) -> Check:
    match service.state:
        case ServiceState.RUNNING:
            return passed("service", "service", f"it runs (pid {service.pid}) and answers")
        case ServiceState.NONE:
            text = f"none runs on {state}; what follows was found without one"
            return warned("service", "service", text, f"start one: {_START}")
        case ServiceState.STALE:
            text = f"control.json in {state} was left behind by pid {service.pid}, which is gone"
            advice = f"start it again, which replaces the file: {_START}"
            return warned("service", "service", text, advice)
        case ServiceState.HIDDEN:
            text = f"pid {service.pid} has {state} and cannot be asked; what follows is without it"
            advice = (
                "if it has just begun, wait a moment; else start it anew without --control-port 0"
            )
            return warned("service", "service", text, advice)
        case ServiceState.SILENT:
            detail = f": {service.detail}" if service.detail else ""
            text = f"it has {state} (pid {service.pid}) and does not answer{detail}"
            return failed("service", "service", text, f"end it (kill {service.pid}), then {_START}")
