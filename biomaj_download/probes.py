"""What must be fine for a consumer to live, and to be ready for messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from biomaj_download.beats import Beats
from biomaj_download.disk import check_room, check_writable
from biomaj_download.errors import BrokerError, DownloadError
from biomaj_download.health import Check
from biomaj_download.settings import StorageSettings
from biomaj_download.store.base import Store

#: A process whose loop has not turned for so long does not live.
HANGS_SECONDS = 60


class Probed(NamedTuple):
    """What must be fine for a process to live, and what for it to be ready to work."""

    life: Mapping[str, Check]
    work: Mapping[str, Check]


def life_checks(beats: Beats) -> dict[str, Check]:
    """Return what is wrong only where starting anew helps: they ask no server."""

    def loop() -> None:
        for index, seconds in beats.silent(HANGS_SECONDS).items():
            raise DownloadError(f"process {index} has hung for {seconds:.0f} seconds")

    return {"loop": Check(loop)}


def work_checks(
    beats: Beats, store: Store, storage: StorageSettings, is_stopping: Callable[[], bool]
) -> dict[str, Check]:
    """Return what messages need to be worked on."""

    def service() -> None:
        if is_stopping():
            raise DownloadError("it stops: what runs is finished, and nothing new is begun")

    def broker() -> None:
        if not beats.all_are_connected():
            raise BrokerError("not each process of the consumer is connected")

    def disk() -> None:
        """See whether outcomes can be kept, and files stored where the settings name places."""
        check_writable(storage.state_folder())
        for root in storage.roots:
            path = check_writable(root) / "a file"
            check_room(path, path, size_bytes=0, reserve_bytes=storage.reserve_bytes)

    return {
        "service": Check(service),
        "broker": Check(broker),
        "store": Check(store.ping),
        "disk": Check(disk),
    }
