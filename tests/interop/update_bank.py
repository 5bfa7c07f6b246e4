"""Run real BioMAJ on one bank: for each line of input, update it, and write what it came to.

Runs in a Python that has BioMAJ; MongoDB is replaced by mongomock, which forgets with the process.
Arguments: the global properties' file, the bank's name, the folder for the answers (0.json, ...).
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path

import mongomock
import pymongo

_find_one = mongomock.Collection.find_one


def _find_one_with_its_session(collection, query=None, fields=None, *others, **known):
    """Find as MongoDB does with the projection `sessions.$`, which mongomock does not have."""
    if fields != {"sessions.$": 1}:
        return _find_one(collection, query, fields, *others, **known)
    found = _find_one(collection, query, *others, **known)
    if found is not None:
        wanted = query["sessions.id"]
        found["sessions"] = [one for one in found["sessions"] if one["id"] == wanted]
    return found


mongomock.Collection.find_one = _find_one_with_its_session
pymongo.MongoClient = mongomock.MongoClient

from biomaj.bank import Bank  # noqa: E402  # only now: it takes the client when it is imported
from biomaj.workflow import UpdateWorkflow  # noqa: E402
from biomaj_core.config import BiomajConfig  # noqa: E402


def update(name: str) -> dict[str, object]:
    """Update the bank; return what a user would look at."""
    bank = Bank(name, no_log=True)
    bank.load_session(UpdateWorkflow.FLOW)
    started = time.monotonic()
    is_right = bank.update()
    session = bank.session
    return {
        "ok": bool(is_right),
        "is_new": bool(session.get("update")),
        "directory": session.get_full_release_directory() if session.get("release") else None,
        "status": session.get("status"),
        "seconds": time.monotonic() - started,
    }


def main(properties: str, name: str, answers: Path) -> None:
    """Update whenever a line comes."""
    BiomajConfig.load_config(properties, allow_user_config=False)
    for number, _line in enumerate(sys.stdin):
        try:
            answer = update(name)
        except BaseException:  # noqa: BLE001  # whatever it is, the test shall see it
            answer = {"ok": False, "error": traceback.format_exc()}
        partial = answers / f"{number}.part"
        partial.write_text(json.dumps(answer))
        partial.rename(answers / f"{number}.json")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
