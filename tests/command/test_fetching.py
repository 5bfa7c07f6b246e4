from __future__ import annotations

import threading
from pathlib import Path

from biomaj_download.command.fetching import Fetch, Fetching, failures
from biomaj_download.download.localcopy import LocalDownload
from biomaj_download.errors import Cancelled
from biomaj_download.publish import final_path


def fetch_of(source: Path, home: Path, *, opener=None) -> Fetch:
    def open_downloader() -> LocalDownload:
        downloader = LocalDownload(str(source.parent))
        downloader.set_files_to_download([source.name])
        return downloader

    return Fetch(
        name=source.name,
        local_dir=home,
        path=final_path(home, source.name),
        open_downloader=opener or open_downloader,
        size_bytes=source.stat().st_size,
    )


def files(folder: Path, *sizes: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{size}.dat" for size in sizes]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(b"x" * size)
    return paths


def wait_for(fetching: Fetching) -> None:
    for thread in fetching._threads:
        thread.join(timeout=30)


def test_fetching_begins_with_the_largest_file(tmp_path):
    sources = files(tmp_path / "there", 10, 3000, 200)
    fetching = Fetching([fetch_of(path, tmp_path / "here") for path in sources], slots=1)

    fetching.start()
    wait_for(fetching)

    assert [fetch.name for fetch in fetching.take_ended()] == ["3000.dat", "200.dat", "10.dat"]
    assert not fetching.is_at_work()


def test_fetching_that_is_stopped_begins_nothing_more(tmp_path):
    sources = files(tmp_path / "there", 10, 20)
    may_go_on, is_open = threading.Event(), threading.Event()

    def opener():
        is_open.set()
        may_go_on.wait(30)
        return LocalDownload(str(tmp_path))

    fetches = [fetch_of(path, tmp_path / "here", opener=opener) for path in sources]
    fetching = Fetching(fetches, slots=1)
    fetching.start()
    is_open.wait(30)

    fetching.stop()
    may_go_on.set()
    wait_for(fetching)

    assert failures(fetches) == fetches
    assert [type(fetch.error) for fetch in fetches] == [type(None), Cancelled]


def test_a_downloader_of_anybody_fails_its_file_alone(tmp_path):
    bad, good = files(tmp_path / "there", 20, 10)

    def opener():
        raise RuntimeError("surprise")

    fetches = [
        fetch_of(bad, tmp_path / "here", opener=opener),
        fetch_of(good, tmp_path / "here"),
    ]
    fetching = Fetching(fetches, slots=1)
    fetching.start()
    wait_for(fetching)
    fetching.close()

    assert failures(fetches) == fetches[:1]
    assert "surprise" in str(fetches[0].error)
    assert (tmp_path / "here/10.dat").exists()
