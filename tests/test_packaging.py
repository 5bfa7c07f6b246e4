from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import biomaj_download
from biomaj_download.settings import (
    KNOWN_ENVIRONMENT,
    SECTIONS,
    Settings,
    environment_names,
    load_settings,
)

ROOT = Path(biomaj_download.__file__).parent.parent
EXAMPLE = ROOT / "config.yml.example"


def test_changes_open_with_this_version():
    top = (ROOT / "CHANGES.txt").read_text().splitlines()[0]

    assert top.split()[0] == biomaj_download.__version__


def test_the_example_configuration_shows_the_defaults():
    settings = load_settings(EXAMPLE, environment={})

    assert settings.model_copy(update={"log_config": None}) == Settings()


def test_the_example_configuration_shows_every_key():
    document = yaml.safe_load(EXAMPLE.read_text())

    shown = {(name,) for name in document}
    shown |= {(section, key) for section in SECTIONS for key in document[section]}
    assert set(environment_names().values()) <= shown


@pytest.mark.parametrize("name", sorted(KNOWN_ENVIRONMENT))
def test_the_example_configuration_tells_the_known_environment_name_of_a_key(name):
    key = KNOWN_ENVIRONMENT[name][-1]

    assert re.search(rf"^  {key}: .*\[{name}\]", EXAMPLE.read_text(), re.MULTILINE)


def test_the_example_configuration_has_a_section_of_another_service():
    assert set(yaml.safe_load(EXAMPLE.read_text())) > set(Settings.model_fields)


def test_the_example_configuration_sets_up_logging():
    code = (
        "import logging.config, sys, yaml\n"
        "logging.config.dictConfig(yaml.safe_load(open(sys.argv[1]))['log_config'])\n"
        "logging.getLogger('biomaj.download').info('published name=%s', 'a.gz')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, EXAMPLE], capture_output=True, text=True, check=True
    )

    assert done.stderr.endswith("INFO  [biomaj.download][MainThread] published name=a.gz\n")


def test_the_schema_is_imported_without_the_libraries_of_the_service():
    code = (
        "import sys\n"
        "import biomaj_download.message.downmessage_pb2\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"pika", "pycurl", "pydantic", "redis", "flask", "yaml"} & set(done.stdout.split())
