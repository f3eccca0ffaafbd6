"""How a service is set up. Settings travel to worker processes as JSON; the token never does, it stays in the environment."""

from __future__ import annotations

import ipaddress
import os

from pydantic import BaseModel, ConfigDict, Field

from tutelage.errors import InputError
from tutelage.serving.doors import LOOPBACK

TOKEN = "TUTELAGE_TOKEN"  # noqa: S105  the variable's name
SETTINGS = "TUTELAGE_SERVE"


class Settings(BaseModel):
    """A service's settings; see `tutelage serve --help`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    host: str = "127.0.0.1"
    port: int = Field(default=8400, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    allow_hosts: tuple[str, ...] = ()
    most_texts: int = Field(default=1_000, ge=1)
    most_bytes: int = Field(default=4 << 20, ge=1_000)
    queue: int = Field(default=4_096, ge=1)
    rate: float = Field(default=0.0, ge=0)
    patience: float = Field(default=30.0, gt=0)
    reload_seconds: float = Field(default=2.0, gt=0)
    marker: str | None = None
    samples: str | None = None
    keep_texts: bool = True

    @property
    def hosts(self) -> set[str]:
        """Names that requests may ask for."""
        own = {self.host} if self.host not in ("0.0.0.0", "::") else set()  # noqa: S104
        return {*LOOPBACK, *own, *self.allow_hosts}


def token_for(settings: Settings) -> str | None:
    """The token that clients must show. Raises: InputError: the service would be open to others without one."""
    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(settings.host):
        raise InputError(
            f"--host {settings.host} lets other machines in: set a token in the environment variable {TOKEN} first "
            "(clients send it as `Authorization: Bearer …`)"
        )
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable()):
        raise InputError(f"the token in {TOKEN} must have at least 16 printable ASCII characters")
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
