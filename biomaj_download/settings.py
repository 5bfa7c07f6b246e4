"""YAML file and environment in, one frozen `Settings` out; the only reader of either.

The file is shared by all BioMAJ services of a site: sections of others are ignored, a wrong key
in one of ours is an error. The environment wins over the file: `REDIS_HOST` and its like, which
BioMAJ sites know, and `BIOMAJ_<SECTION>_<KEY>` for every value. Empty values count as unset.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from biomaj_download.errors import ConfigError

#: The environment's names that BioMAJ's own documentation gives, and the value each one sets.
KNOWN_ENVIRONMENT = {
    "BIOMAJ_HOSTNAME": ("web", "hostname"),
    "CONSUL_HOST": ("consul", "host"),
    "CONSUL_ID": ("consul", "id"),
    "RABBITMQ_HOST": ("rabbitmq", "host"),
    "RABBITMQ_PASSWORD": ("rabbitmq", "password"),
    "RABBITMQ_PORT": ("rabbitmq", "port"),
    "RABBITMQ_USER": ("rabbitmq", "user"),
    "RABBITMQ_VHOST": ("rabbitmq", "virtual_host"),
    "REDIS_HOST": ("redis", "host"),
    "REDIS_PORT": ("redis", "port"),
    "REDIS_PREFIX": ("redis", "prefix"),
    "WEB_LOCAL_ENDPOINT": ("web", "local_endpoint"),
    "WEB_LOCAL_ENDPOINT_DOWNLOAD": ("web", "local_endpoint_download"),
    "WEB_PORT": ("web", "port"),
}


class Section(BaseModel):
    """A part of the settings that one room gets; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RedisSettings(Section):
    """Where sessions live in a distributed setup."""

    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    prefix: str = "biomaj"
    password: SecretStr | None = None


class RabbitmqSettings(Section):
    """Where download requests come from; `user` unset: the broker's default account."""

    host: str = "127.0.0.1"
    port: int = 5672
    user: str | None = None
    password: SecretStr | None = None
    virtual_host: str = "/"
    queue: str = "biomajdownload"
    heartbeat_seconds: int = Field(60, ge=0)


class BrokerSettings(Section):
    """`url` unset: the RabbitMQ of section `rabbitmq`; `sqlite:PATH`: a queue in one file."""

    url: str | None = None


class StoreSettings(Section):
    """`url` unset: the Redis of section `redis`; `sqlite:PATH`: sessions in one file."""

    url: str | None = None


class ConsulSettings(Section):
    """Registration with Consul; `host` unset: none."""

    host: str | None = None
    port: int = 8500
    id: str | None = None


class WebSettings(Section):
    """The web interface, as it listens and as others reach it."""

    debug: bool = False
    hostname: str | None = None
    port: int = 5000
    local_endpoint: str | None = None
    local_endpoint_download: str | None = None


class TlsSettings(Section):
    """Key and certificate files of the web interface."""

    key: Path | None = None
    cert: Path | None = None


class WorkerSettings(Section):
    """The consumer's pool: how many messages are worked on at once."""

    slots: int = Field(16, ge=1)
    shutdown_grace_seconds: float = Field(25, ge=0)
    max_deliveries: int = Field(5, ge=1)


class TransferSettings(Section):
    """Limits of the transfer engine, for the whole process."""

    max_connections: int = Field(64, ge=1)
    ftp_connections_per_host: int = Field(2, ge=1)
    http_connections_per_host: int = Field(4, ge=1)
    host_connections: dict[str, Annotated[int, Field(ge=1)]] = {}
    connect_timeout_seconds: int = Field(30, ge=1)
    low_speed_limit_bytes: int = Field(1024, ge=0)
    low_speed_seconds: int = Field(60, ge=0)
    ftp_response_timeout_seconds: int = Field(60, ge=1)
    list_response_timeout_seconds: int = Field(600, ge=1)


class StorageSettings(Section):
    """How files reach the disk; `fsync` false: safe against a killed process, not a power cut."""

    fsync: bool = True


def _as_section(value: object) -> object:
    """Read a section that is there but empty (`consul:`) as one without keys."""
    return {} if value is None else value


class Settings(BaseModel):
    """Everything the service can be told; each room gets its own section."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    redis: Annotated[RedisSettings, BeforeValidator(_as_section)] = RedisSettings()
    rabbitmq: Annotated[RabbitmqSettings, BeforeValidator(_as_section)] = RabbitmqSettings()
    broker: Annotated[BrokerSettings, BeforeValidator(_as_section)] = BrokerSettings()
    store: Annotated[StoreSettings, BeforeValidator(_as_section)] = StoreSettings()
    consul: Annotated[ConsulSettings, BeforeValidator(_as_section)] = ConsulSettings()
    web: Annotated[WebSettings, BeforeValidator(_as_section)] = WebSettings()
    tls: Annotated[TlsSettings, BeforeValidator(_as_section)] = TlsSettings()
    worker: Annotated[WorkerSettings, BeforeValidator(_as_section)] = WorkerSettings()
    transfer: Annotated[TransferSettings, BeforeValidator(_as_section)] = TransferSettings()
    storage: Annotated[StorageSettings, BeforeValidator(_as_section)] = StorageSettings()
    prometheus: bool = True
    log_config: dict[str, Any] | None = None

    def hostname(self) -> str:
        """Return the name under which others reach this host."""
        return self.web.hostname or os.environ.get("HOSTNAME") or socket.gethostname()


SECTIONS = tuple(
    name
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
)


def environment_names() -> dict[str, tuple[str, str]]:
    """Return every environment name that is read, with the section and key that it sets."""
    names = {
        f"BIOMAJ_{section}_{key}".upper(): (section, key)
        for section in SECTIONS
        for key in _section_class(section).model_fields
    }
    return names | KNOWN_ENVIRONMENT


def load_settings(
    path: str | Path | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Read the settings: defaults, then the file, then the environment.

    `path` None: the file that `BIOMAJ_CONFIG` names, else `config.yml` where there is one, else
    defaults alone.

    Raises:
        ConfigError: the file cannot be read, or a value of ours is wrong; the text names it.
    """
    document = _read_document(path, environment)
    for name, (section, key) in environment_names().items():
        value = environment.get(name)
        if value:
            document[section] = {**(document.get(section) or {}), key: _plain(value, section, key)}
    prometheus = environment.get("BIOMAJ_PROMETHEUS")
    if prometheus:
        document["prometheus"] = prometheus
    try:
        return Settings.model_validate(_without_unset(document))
    except ValidationError as error:
        raise ConfigError(_wrong_values(error)) from error


def _read_document(path: str | Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    chosen = path or environment.get("BIOMAJ_CONFIG")
    if not chosen and not Path("config.yml").exists():
        return {}
    chosen = Path(chosen or "config.yml")
    try:
        document = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{chosen}: expected a readable YAML file, got: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{chosen}: expected sections, got {type(document).__name__}")
    return document


def _section_class(section: str) -> type[Section]:
    annotation = Settings.model_fields[section].annotation
    assert isinstance(annotation, type)
    return annotation


def _plain(value: str, section: str, key: str) -> object:
    """Read a mapping in the environment as YAML (`{"ftp.example.org": 1}`), all else as text."""
    if _section_class(section).model_fields[key].default_factory is dict or value.startswith("{"):
        return yaml.safe_load(value)
    return value


def _without_unset(document: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the keys of our sections that are null or empty: they count as unset."""
    settings = dict(document)
    for section in SECTIONS:
        values = settings.get(section)
        if isinstance(values, dict):
            settings[section] = {k: v for k, v in values.items() if v is not None and v != ""}
    if settings.get("prometheus") is None:
        settings.pop("prometheus", None)
    return settings


def _wrong_values(error: ValidationError) -> str:
    """Name each wrong key, what was expected and what came, but never a password."""
    lines = []
    for wrong in error.errors(include_url=False):
        key = ".".join(str(part) for part in wrong["loc"])
        if wrong["type"] == "extra_forbidden":
            known = ", ".join(_section_class(str(wrong["loc"][0])).model_fields)
            lines.append(f"{key}: no such key; expected one of: {known}")
        elif "password" in key:
            lines.append(f"{key}: {wrong['msg']}")
        else:
            lines.append(f"{key}: {wrong['msg']}, got {wrong['input']!r}")
    return "wrong configuration: " + "; ".join(lines)
