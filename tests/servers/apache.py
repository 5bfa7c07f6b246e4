"""An Apache of its own: one folder of documents, listed by mod_autoindex in each of its forms."""

from __future__ import annotations

import os

from tests.servers.process import Server

MODULES = "/usr/lib/apache2/modules"
CONFIG = """\
ServerRoot {server.folder}
ServerName localhost
PidFile {server.folder}/apache.pid
Listen {server.host}:{server.port}
ErrorLog {server.folder}/error.log
LogLevel warn
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule autoindex_module {modules}/mod_autoindex.so
LoadModule mime_module {modules}/mod_mime.so
TypesConfig /dev/null
DocumentRoot {server.root}
AddIcon (TXT,/icons/text.gif) .txt
AddIcon (CMP,/icons/compressed.gif) .gz
AddIcon /icons/folder.gif ^^DIRECTORY^^
AddIcon /icons/back.gif ..
DefaultIcon /icons/unknown.gif
AddEncoding x-gzip .gz
<Directory {server.root}>
  Options Indexes FollowSymLinks
  Require all granted
</Directory>
{forms}
"""
#: Path -> the options that make its form (mod_autoindex, IndexOptions).
FORMS = {
    "plain": "-FancyIndexing",
    "fancy": "FancyIndexing",
    "table": "FancyIndexing HTMLTable",
    "xhtml": "FancyIndexing HTMLTable XHTML",
    "noicons": "FancyIndexing SuppressIcon",
    "wide": "FancyIndexing NameWidth=* FoldersFirst IconsAreLinks VersionSort",
}
FORM = """\
Alias /{name}/ {root}/
<Location /{name}/>
  IndexOptions {options}
</Location>
"""


class ApacheServer(Server):
    """Apache 2.4; `root` is listed under `/plain/`, `/fancy/` and the other `FORMS`."""

    program = "apache2"
    package = "apache2-bin"

    def __init__(self) -> None:
        super().__init__()
        self.root = self.folder / "root"
        self.root.mkdir()
        forms = "".join(
            FORM.format(name=name, root=self.root, options=options)
            for name, options in FORMS.items()
        )
        (self.folder / "apache.conf").write_text(
            CONFIG.format(
                server=self,
                modules=MODULES,
                forms=forms,
                user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            )
        )

    def command(self) -> list[str]:
        config = str(self.folder / "apache.conf")
        return [self.program_path, "-D", "FOREGROUND", "-f", config]
