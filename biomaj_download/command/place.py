"""Which service a command speaks to: that of the configuration, or the one that is named."""

from __future__ import annotations

from pathlib import Path

import click

from biomaj_download.serving import embedded_in
from biomaj_download.settings import Settings, load_settings

#: Where the service is looked for; BIOMAJ_DOWNLOAD_URL in the environment.
URL_VARIABLE = "BIOMAJ_DOWNLOAD_URL"

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where `biomaj-download serve` keeps its queue (default: the broker of the settings).",
)
url_option = click.option(
    "--url",
    envvar=URL_VARIABLE,
    show_envvar=True,
    help="The service's web interface (default: web.local_endpoint of the settings, else"
    " http://127.0.0.1:5000).",
)


def settings_of(data: Path | None) -> Settings:
    """Return the settings; `data`: those of `biomaj-download serve` there.

    Raises:
        ConfigError: the configuration is wrong.
    """
    settings = load_settings()
    return settings if data is None else embedded_in(data, settings)


def url_of(given: str | None, settings: Settings) -> str:
    """Return the address of the service's web interface."""
    web = settings.web
    url = given or web.local_endpoint_download or web.local_endpoint
    return (url or f"http://127.0.0.1:{web.port}").rstrip("/")


def token_of(settings: Settings) -> str | None:
    """Return the token that the web interface may want; None: none is known."""
    token = settings.web.token
    return None if token is None else token.get_secret_value()
