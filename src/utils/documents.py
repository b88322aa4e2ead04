"""JSON documents of this program's own formats, read without trust."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError, cause
from utils.manifest import Damage, regular_file


@dataclass(frozen=True)
class DocumentKind:
    """A format and how its documents are refused.

    what: how a sentence calls one. name, version: its entries `format` and version_key. most: bytes. advice: what to do
    about a document that cannot be used. error: what is raised.
    """

    what: str
    name: str
    version: int
    version_key: str
    most: int
    advice: str
    error: type[UserError]

    def read(self, path: Path) -> dict[str, Any]:
        """The document at `path`.

        Raises `error`, one sentence, for a file that is damaged, of another program or of a later release.
        """
        try:
            with regular_file(path) as file:
                raw = file.read(self.most + 1)
            content = json.loads(raw.decode("utf-8")) if len(raw) <= self.most else None
        except OSError as error:
            raise self.error(f"{path} cannot be read ({cause(error)}); {self.advice}") from error
        except Damage as damage:
            raise self.error(f"{path} {damage.reason}; {self.advice}") from damage
        except (ValueError, RecursionError) as error:
            raise self.error(f"{path} is damaged (it is no JSON); {self.advice}") from error
        if content is None:
            raise self.error(f"{path} is larger than {self.most >> 20} MiB, which no {self.what} is; {self.advice}")
        if not isinstance(content, dict) or content.get("format") != self.name:
            raise self.error(f"{path} is no {self.what} of this program; {self.advice}")
        version = content.get(self.version_key)
        if not isinstance(version, int) or isinstance(version, bool):  # "1" would be said to be another version than 1
            raise self.error(f"{path} is damaged: its '{self.version_key}' is no whole number; {self.advice}")
        if version != self.version:
            raise self.error(
                f"{path} has version {str(version)[:20]}, this release reads version {self.version}; update "
                "epymarl-offline"
            )
        return content
