"""Install biomaj_download; the tools' tables stand in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read(name: str) -> str:
    """Return the text of a file beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


def requirements(name: str) -> list[str]:
    """Return the requirements in a file, without its comments."""
    lines = (line.partition("#")[0].strip() for line in read(name).splitlines())
    return [line for line in lines if line]


def version() -> str:
    """Return the package's version, without importing what it needs."""
    found = re.search(r'^__version__ = "(.+)"$', read("biomaj_download/__init__.py"), re.MULTILINE)
    if not found:
        raise ValueError("biomaj_download/__init__.py: expected a line `__version__ = ...`")
    return found[1]


setup(
    name="biomaj_download",
    version=version(),
    description="The download service of BioMAJ: brings databanks home, whole and verified",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["biomaj_download", "biomaj_download.*"]),
    package_data={"biomaj_download": ["py.typed", "message/*.proto", "message/*.pyi", "page/*"]},
    install_requires=requirements("requirements.txt"),
    extras_require={
        "bench": requirements("requirements-bench.txt"),
        "demo": requirements("requirements-demo.txt"),
        "otel": requirements("requirements-otel.txt"),
        "test": [
            *requirements("requirements-test.txt"),
            *requirements("requirements-bench.txt"),
            *requirements("requirements-demo.txt"),
            *requirements("requirements-otel.txt"),
        ],
    },
    entry_points={"console_scripts": ["biomaj-download = biomaj_download.cli:main"]},
    scripts=["bin/biomaj_download_consumer.py"],
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
        "Topic :: System :: Archiving :: Mirroring",
    ],
)
