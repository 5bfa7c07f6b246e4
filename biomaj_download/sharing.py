"""Several processes share out a host's limits: how many there are, and what each one gets.

In: the settings of all.  Out: those of one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from biomaj_download.cores import OneCore
from biomaj_download.settings import Settings
from biomaj_download.transfer.places import part

log = logging.getLogger("biomaj.download.sharing")

#: The kinds of hosts that have a limit of their own.
HOST_KINDS = ("ftp", "http", "other")


def processes(settings: Settings, *, cores: int) -> int:
    """Return how many processes there are: never so many that a limit could not be shared out."""
    if settings.broker.url:
        return 1
    transfer = settings.transfer
    most: int = min(
        settings.worker.slots,
        transfer.max_connections,
        *(getattr(transfer, f"{kind}_connections_per_host") for kind in HOST_KINDS),
        *transfer.host_connections.values(),
    )
    return min(settings.worker.processes or cores, most)


def share(settings: Settings, number: int, index: int) -> Settings:
    """Return the settings of the one at `index` of `number` processes: together all limits."""
    transfer, worker = settings.transfer, settings.worker
    limits = ("max_connections", *(f"{kind}_connections_per_host" for kind in HOST_KINDS))
    shared: dict[str, Any] = {name: part(getattr(transfer, name), number, index) for name in limits}
    shared["host_connections"] = {
        host: part(limit, number, index) for host, limit in transfer.host_connections.items()
    }
    return settings.model_copy(
        update={
            "transfer": transfer.model_copy(update=shared),
            "worker": worker.model_copy(update={"slots": part(worker.slots, number, index)}),
        }
    )


def kept_to_a_core(settings: Settings, index: int) -> Callable[[], object]:
    """Keep this process to a core of its own, where it may; return what is to be called often."""
    if settings.worker.one_core_each:
        try:
            return OneCore(index).look
        except OSError as error:
            log.info("any core is taken: none may be chosen error=%s", error)
    return lambda: None
