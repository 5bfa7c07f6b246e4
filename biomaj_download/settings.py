"""YAML file and environment in, one frozen `Settings` out; the only reader of either.

The file is shared by all BioMAJ services of a site: sections of others are ignored, a wrong key
in one of ours is an error. The environment wins over the file: `REDIS_HOST` and its like, which
BioMAJ sites know, and `BIOMAJ_<SECTION>_<KEY>` for every value. Empty values count as unset.
The text of an error names the value, and the environment's name where it came from there.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from biomaj_download.errors import ConfigError
from biomaj_download.secret_files import found_at, read_secret
from biomaj_download.server_urls import is_server, rabbitmq_values, redis_values

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
    "STATE_DIRECTORY": ("storage", "state_dir"),
    "WEB_LOCAL_ENDPOINT": ("web", "local_endpoint"),
    "WEB_LOCAL_ENDPOINT_DOWNLOAD": ("web", "local_endpoint_download"),
    "WEB_PORT": ("web", "port"),
}

#: Keys that BioMAJ's other services read in sections that they share with us.
OTHERS_KEYS = {
    "web": {
        f"local_endpoint_{service}"
        for service in ("cron", "daemon", "ftp", "process", "release", "user", "watcher")
    }
}

Port = Annotated[int, Field(ge=1, le=65535)]

ProxyAddress = Annotated[
    str, Field(pattern=r"^(direct|((https?|socks4a?|socks5h?)://)?[^\s/]+/?)$")
]


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("expected an absolute path")
    return path


def _octal(value: object) -> int:
    """Read a umask, as text only: YAML takes `27` and `0027` for two numbers, neither marked."""
    if not isinstance(value, str) or not re.fullmatch("0?[0-7]{1,3}", value):
        raise ValueError('expected octal digits in quotes such as "027"')
    return int(value, 8)


def _network(text: str) -> str:
    return str(ip_network(text))


#: In place of networks: all that is not on the public internet.
PRIVATE = "private"

Network = Annotated[str, AfterValidator(_network)]
DeniedNetwork = Literal["private"] | Network
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Umask = Annotated[int, BeforeValidator(_octal)]

#: A section and one of its keys, or a value that stands outside of sections.
Place = tuple[str, ...]


class Section(BaseModel):
    """A part of the settings that one room gets; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class ServerSection(Section):
    """A server of ours, and how TLS is spoken with it.

    `tls`: nothing else is; `ca_file` (PEM): the authorities that are trusted then, None: the host's
    own. `cert_file`, `key_file` (PEM): the certificate that we show, with what opens its key.
    `server_name`: whom the server's certificate must name, None: the host.
    """

    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr | None = None
    key_password_file: Path | None = None
    server_name: str | None = None


class RedisSettings(ServerSection):
    """Where sessions live in a distributed setup; `user` unset: Redis's default account."""

    host: str = "127.0.0.1"
    port: Port = 6379
    db: int = 0
    prefix: str = "biomaj"
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None


class RabbitmqSettings(ServerSection):
    """Where download requests come from; `user` unset: the broker's default account."""

    host: str = "127.0.0.1"
    port: Port = 5672
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    virtual_host: str = "/"
    queue: str = "biomajdownload"
    heartbeat_seconds: int = Field(default=60, ge=0)

    @property
    def dead_queue(self) -> str:
        """Return the name of the queue of dead letters."""
        return f"{self.queue}.dead"


class MessageSettings(Section):
    """What a download request may come to; a longer one is put aside, with the dead letters.

    BioMAJ sends some 1,000 bytes a file, each in a message of its own; a million files in one, with
    150 bytes each, are allowed, too. `max_values`: patterns, parameters and options, of each kind.
    `max_text_characters`: all that is no name of a file and no pattern.
    """

    max_bytes: int = Field(default=256 * 1024**2, ge=1)
    max_files: int = Field(default=1_000_000, ge=1)
    max_values: int = Field(default=10_000, ge=1)
    max_name_characters: int = Field(default=4096, ge=1)
    max_pattern_characters: int = Field(default=4096, ge=1)
    max_text_characters: int = Field(default=1_000_000, ge=1)


class BrokerSettings(Section):
    """`url` unset: the RabbitMQ of section `rabbitmq`; `sqlite:PATH`: a queue in one file.

    `amqp://...` and `amqps://...` do not get here: they set the section `rabbitmq`.
    """

    url: str | None = None
    url_file: Path | None = None


class StoreSettings(Section):
    """`url` unset: the Redis of section `redis`; `sqlite:PATH`: sessions in one file.

    `redis://...` and `rediss://...` do not get here: they set the section `redis`.
    """

    url: str | None = None
    url_file: Path | None = None


class ConsulSettings(Section):
    """Registration with Consul; `host` unset: none."""

    host: str | None = None
    port: Port = 8500
    id: str | None = None


class WebSettings(Section):
    """The web interface, as it listens and as others reach it.

    `token` unset: what changes something, beyond the routes of biomaj-download 3, is for this
    machine alone. `token_file` holds one, where `token` is unset. `host_names`: others that people
    reach it by; without a token nothing is shown by a name that is not known, is no address and
    has a dot.
    """

    debug: bool = False
    hostname: str | None = None
    port: Port = 5000
    local_endpoint: str | None = None
    local_endpoint_download: str | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    token_for_old_routes: bool = False
    host_names: tuple[str, ...] = ()


class EventsSettings(Section):
    """A topic exchange of section `rabbitmq` for what becomes of files; unset: nobody is told."""

    exchange: Annotated[str, Field(max_length=127, pattern=r"^[-_.:A-Za-z0-9]+$")] | None = None


class MetricsSettings(Section):
    """Where a consumer serves its own figures (host:port); unset: nowhere, the web has them."""

    listen: Annotated[str, Field(pattern=r"^([^:\s]+|\[[0-9a-fA-F:]+\]):\d{1,5}$")] | None = None


class TracingSettings(Section):
    """Where spans go by OTLP over HTTP (`http://collector:4318`); unset: nowhere."""

    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None


class TlsSettings(Section):
    """Key and certificate files of the web interface."""

    key: Path | None = None
    cert: Path | None = None


class WorkerSettings(Section):
    """The consumer's pool: how many messages are worked on at once, and by how many processes.

    `processes` None: one for each core, as far as the limits per host can be shared out, and with
    an embedded broker a single one. `one_core_each`: each keeps to a core, and moves where others
    need it; what checks large files takes any.
    """

    processes: int | None = Field(default=None, ge=1)
    one_core_each: bool = True
    slots: int = Field(default=16, ge=1)
    shutdown_grace_seconds: float = Field(default=25, ge=0)
    max_deliveries: int = Field(default=5, ge=1)


class TransferSettings(Section):
    """Limits of the transfer engine, for the whole process, and its ways out.

    `proxies`: host -> the proxy to it (`http://`, `https://`, `socks5h://`), or `direct`; host `*`:
    all others. `denied_networks`: no connection is made there; `private`: to none but public
    addresses; `allowed_networks` may be all the same. `authorities_file` (PEM) unset: the host's
    own. `segments_from_bytes`: a file with so much to come may take several connections; 0: none
    does. `streams_per_connection`: small files that share one connection to a server that speaks
    HTTP/2. `listing_*`: a directory's listing that is longer is refused; `checksums_bytes`: so is a
    publisher's checksum file. `match_seconds`: so much of the processor may a bank's expressions
    take on a listing.
    """

    max_connections: int = Field(default=64, ge=1)
    ftp_connections_per_host: int = Field(default=2, ge=1)
    http_connections_per_host: int = Field(default=4, ge=1)
    other_connections_per_host: int = Field(default=4, ge=1)
    host_connections: dict[str, Annotated[int, Field(ge=1)]] = {}
    streams_per_connection: int = Field(default=32, ge=1)
    segments_from_bytes: int = Field(default=64 * 1024**2, ge=0)
    connect_timeout_seconds: int = Field(default=30, ge=1)
    low_speed_limit_bytes: int = Field(default=1024, ge=0)
    low_speed_seconds: int = Field(default=60, ge=0)
    ftp_response_timeout_seconds: int = Field(default=60, ge=1)
    list_response_timeout_seconds: int = Field(default=600, ge=1)
    proxies: dict[str, ProxyAddress] = {}
    proxies_file: Path | None = None
    denied_networks: tuple[DeniedNetwork, ...] = ()
    allowed_networks: tuple[Network, ...] = ()
    authorities_file: Path | None = None
    listing_bytes: int = Field(default=256 * 1024**2, ge=1)
    listing_entries: int = Field(default=1_000_000, ge=1)
    listing_line_characters: int = Field(default=65_536, ge=1)
    checksums_bytes: int = Field(default=64 * 1024**2, ge=1)
    match_seconds: float = Field(default=60, gt=0)

    def connections_to(self, host: str) -> int:
        """Return how many connections a host may be given, by `scheme://host:port`."""
        scheme, _, name = host.partition("://")
        default = {
            "ftp": self.ftp_connections_per_host,
            "http": self.http_connections_per_host,
        }.get(scheme.rstrip("s"), self.other_connections_per_host)
        configured = self.host_connections
        return configured.get(name, configured.get(name.rpartition(":")[0], default))


class StorageSettings(Section):
    """How files reach the disk; `fsync` false: safe against a killed process, not a power cut.

    `reserve_bytes`: what stays free of a file system, but never more than half of it.
    `state_dir` unset: `~/.local/state/biomaj-download`. `roots`: the directories below which
    messages may have files stored; none: any. `umask` (octal) unset: as the process has it.
    """

    fsync: bool = True
    reserve_bytes: int = Field(default=1024**3, ge=0)
    state_dir: Path | None = None
    roots: tuple[AbsolutePath, ...] = ()
    umask: Umask | None = None

    def state_folder(self) -> Path:
        """Return where the service keeps what must outlive it."""
        return self.state_dir or Path.home() / ".local/state/biomaj-download"


class LocalSettings(Section):
    """What of this host the protocol `local` may read: below `roots`; none: whatever it can."""

    roots: tuple[AbsolutePath, ...] = ()


class Settings(BaseModel):
    """Everything the service can be told; each room gets its own section."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    redis: RedisSettings = RedisSettings()
    rabbitmq: RabbitmqSettings = RabbitmqSettings()
    message: MessageSettings = MessageSettings()
    broker: BrokerSettings = BrokerSettings()
    store: StoreSettings = StoreSettings()
    consul: ConsulSettings = ConsulSettings()
    web: WebSettings = WebSettings()
    events: EventsSettings = EventsSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    tls: TlsSettings = TlsSettings()
    worker: WorkerSettings = WorkerSettings()
    transfer: TransferSettings = TransferSettings()
    storage: StorageSettings = StorageSettings()
    local: LocalSettings = LocalSettings()
    prometheus: bool = True
    log_config: dict[str, Any] | None = None

    def hostname(self) -> str:
        """Return the name under which others reach this host."""
        return self.web.hostname or socket.gethostname()


_SECTION_CLASSES: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}

SECTIONS = tuple(_SECTION_CLASSES)


def environment_names() -> dict[str, Place]:
    """Return every environment name that is read, with the value that it sets."""
    places: list[Place] = [(name,) for name in Settings.model_fields if name not in SECTIONS]
    for section, section_class in _SECTION_CLASSES.items():
        places += [(section, key) for key in section_class.model_fields]
    return {"_".join(("BIOMAJ", *place)).upper(): place for place in places} | KNOWN_ENVIRONMENT


def load_settings(
    path: str | Path | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    sections: Collection[str] = SECTIONS,
    secrets_of: Collection[str] = SECTIONS,
) -> Settings:
    """Read the settings: defaults, then the file, then the environment.

    `sections`: what is read of them, be the others right or wrong.

    `path` None: the file that `BIOMAJ_CONFIG` names, else `config.yml` where there is one, else
    defaults alone. `secrets_of`: the sections, or single secrets, whose files are read; others,
    which this user may not be able to read, are left out.

    Raises:
        ConfigError: the file cannot be read, or a value of ours is wrong; the text names it.
    """
    document, origins = _told(path, environment, sections)
    for place, file in _secret_files(document).items():
        if place[0] not in secrets_of and ".".join(place) not in secrets_of:
            continue
        setting = ".".join(_file_of(place))
        secret = read_secret(found_at(file, environment), setting=setting)
        _put(document, place, _plain(setting, secret, place))
    _spread_urls(document)
    for section in ("rabbitmq", "redis"):
        for key in {"ca_file", "cert_file", "key_file"} & document[section].keys():
            document[section][key] = found_at(str(document[section][key]), environment)
    if environment.get("HOSTNAME"):
        document["web"].setdefault("hostname", environment["HOSTNAME"])
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_wrong_values(error, origins)) from error


def secret_sources(
    path: str | Path | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return where each secret that is set comes from, by its setting's name; never a secret.

    Raises:
        ConfigError: as `load_settings`.
    """
    document, origins = _told(path, environment)
    files = _secret_files(document)
    sources = {}
    for place in _secret_places():
        if place in files:
            sources[".".join(place)] = str(found_at(files[place], environment))
        elif place[1] in document[place[0]]:
            sources[".".join(place)] = origins.get(place, str(chosen_file(path, environment)))
    return sources


def rabbitmq_tls(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return how BioMAJ core's side speaks TLS with the server that core names.

    Read from the file that `BIOMAJ_CONFIG` names, and the environment; `config.yml` is not.

    Raises:
        ConfigError: as `load_settings`.
    """
    settings = load_settings(
        environment.get("BIOMAJ_CONFIG") or os.devnull,
        environment,
        sections=["rabbitmq", "broker"],
        secrets_of=["rabbitmq.key_password", "broker.url"],
    )
    return settings.rabbitmq.model_dump(include=set(ServerSection.model_fields))


def chosen_file(
    path: str | Path | None = None, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """Return the configuration file that is read; None: there is none."""
    chosen = path or environment.get("BIOMAJ_CONFIG")
    if not chosen and not Path("config.yml").exists():
        return None
    return Path(chosen or "config.yml")


def _told(
    path: str | Path | None,
    environment: Mapping[str, str],
    sections: Collection[str] = SECTIONS,
) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return what file and environment say, and what the names were that the latter says it by."""
    unread = set(SECTIONS) - set(sections)
    read = _read_document(path, environment)
    document = _without_unset({name: read[name] for name in read if name not in unread})
    given: dict[Place, tuple[str, str]] = {
        place: (name, value)
        for name, place in environment_names().items()
        if place[0] not in unread
        and (value := environment.get(name))
        and not _is_service_link(name, value)
    }
    for secret in _secret_places():  # in either way, the environment wins
        if secret in given or _file_of(secret) in given:
            document[secret[0]].pop(secret[1], None)
            document[secret[0]].pop(_file_of(secret)[1], None)
    for place, (name, value) in given.items():
        _put(document, place, _plain(name, value, place))
    return document, {place: name for place, (name, _) in given.items()}


def _spread_urls(document: Mapping[str, Any]) -> None:
    """Put what a server's URL says into the server's own section, where it wins."""
    broker, store = document["broker"], document["store"]
    if is_server(broker.get("url"), "amqp", "amqps"):
        document["rabbitmq"].update(rabbitmq_values(broker.pop("url"), setting="broker.url"))
    if is_server(store.get("url"), "redis", "rediss"):
        document["redis"].update(redis_values(store.pop("url"), setting="store.url"))


def _secret_places() -> list[Place]:
    """Return each secret: a key with another one beside it for a file."""
    return [
        (section, key)
        for section, section_class in _SECTION_CLASSES.items()
        for key in section_class.model_fields
        if f"{key}_file" in section_class.model_fields
    ]


def _file_of(place: Place) -> Place:
    """Return the setting that names a secret's file."""
    return (*place[:-1], f"{place[-1]}_file")


def _secret_files(document: Mapping[str, Any]) -> dict[Place, str]:
    """Return the file of each secret that has one.

    Raises:
        ConfigError: a secret stands in the settings and in a file.
    """
    files = {}
    for place in _secret_places():
        section, key = _file_of(place)
        file = document[section].get(key)
        if file is None:
            continue
        if place[1] in document[section]:
            raise ConfigError(f"{section}: expected {place[1]} or {key}, got both")
        files[place] = str(file)
    return files


def _read_document(path: str | Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    chosen = chosen_file(path, environment)
    if chosen is None:
        return {}
    try:
        document = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{chosen}: expected a readable YAML file, got: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{chosen}: expected sections, got {type(document).__name__}")
    return document


def _without_unset(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what is ours and set: null and empty values count as unset."""
    kept = {name: document[name] for name in Settings.model_fields if _is_set(document.get(name))}
    for section in SECTIONS:
        values = kept.get(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{section}: expected keys with values, got {type(values).__name__}")
        others = OTHERS_KEYS.get(section, ())
        kept[section] = {k: v for k, v in values.items() if _is_set(v) and k not in others}
    return kept


def _is_set(value: object) -> bool:
    return value is not None and value != ""


def _is_service_link(name: str, value: str) -> bool:
    """Say whether Kubernetes or Docker set this for a service whose name makes ours (`redis`)."""
    return name.endswith("_PORT") and value.startswith(("tcp://", "udp://"))


def _plain(name: str, value: str, place: Place) -> object:
    """Read a mapping or a list in the environment as YAML (`["/db"]`), all else as text."""
    model = _SECTION_CLASSES[place[0]] if len(place) > 1 else Settings
    annotation = model.model_fields[place[-1]].annotation
    if not any(get_origin(part) in (dict, tuple) for part in (annotation, *get_args(annotation))):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: expected YAML, a mapping or a list, got: {error}") from error


def _put(document: dict[str, Any], place: Place, value: object) -> None:
    *sections, key = place
    for section in sections:
        document = document[section]
    document[key] = value


def _wrong_values(error: ValidationError, origins: Mapping[Place, str]) -> str:
    """Name each wrong key, what was expected and what came, but never a secret."""
    lines = []
    secrets = _secret_places()
    for wrong in error.errors(include_url=False):
        place = tuple(str(part) for part in wrong["loc"])
        key = ".".join(place)
        if place in origins:
            key = f"{origins[place]} ({key})"
        if wrong["type"] == "extra_forbidden":
            known = ", ".join(_SECTION_CLASSES[place[0]].model_fields)
            lines.append(f"{key}: no such key; expected one of: {known}")
        elif place[:2] in secrets:
            lines.append(f"{key}: {wrong['msg']}")
        else:
            lines.append(f"{key}: {wrong['msg']}, got {_shown(wrong['input'])}")
    return "wrong configuration: " + "; ".join(lines)


def _shown(value: object) -> str:
    """Show a value, but of a mapping or a list only its type: a password may be in it."""
    return repr(value) if isinstance(value, str | int | float) else type(value).__name__
