"""The key and the hosts that may have it.

A form, or a run folder that somebody else has made, can name any address as its endpoint. So the key is taken out of the
environment when the workbench starts, and goes back only for a moment, or into the environment of one child process, and
only where the endpoint is one that the owner named at start (`--key-host`). Elsewhere a request is sent without a key.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tutelage.errors import InputError
from tutelage.pipeline.config import TeacherConfig
from tutelage.teachers.llm.endpoint import OPENAI_URL
from tutelage.teachers.llm.trust import origin, trust

KEY = "OPENAI_API_KEY"


class KeyRing:
    """The key of `OPENAI_API_KEY`, which leaves the environment, and the origins that it may be sent to."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._key = os.environ.pop(KEY, "")
        self._hosts = frozenset(hosts)
        self._mutex = threading.Lock()
        if self._key:
            for host in hosts:  # who names an address on the command line means it
                trust(host)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The origins, sorted."""
        return tuple(sorted(self._hosts))

    @property
    def there(self) -> bool:
        """Whether there is a key at all."""
        return bool(self._key)

    def may_have_it(self, address: str) -> bool:
        """Whether the key may be sent to an address."""
        return bool(self._key) and origin(address) in self._hosts

    def environment(self, teacher: TeacherConfig) -> dict[str, str]:
        """The environment of a child process that asks this teacher: with the key only if its host may have it."""
        address = address_of(teacher)
        given = {KEY: self._key} if address and self.may_have_it(address) else {}
        return {name: value for name, value in os.environ.items() if name != KEY} | given

    @contextmanager
    def lent(self, teacher: TeacherConfig) -> Iterator[None]:
        """While it lasts, a chat model that is made for this teacher finds the key, if its host may have it.

        Raises: InputError: the host wants a key that it may not have.
        """
        address = address_of(teacher)
        given = bool(address) and self.may_have_it(str(address))
        if address and not given and origin(address) == origin(OPENAI_URL):
            why = "there is none in OPENAI_API_KEY" if not self._key else "it may not be sent there"
            raise InputError(
                f"{OPENAI_URL} needs a key, and {why}; start the workbench with OPENAI_API_KEY set and --key-host {OPENAI_URL}"
            )
        with self._mutex:
            if given:
                os.environ[KEY] = self._key
            try:
                yield
            finally:
                os.environ.pop(KEY, None)


def address_of(teacher: TeacherConfig) -> str | None:
    """The endpoint that a teacher asks; None for one that asks none."""
    if "openai:" not in teacher.spec:
        return None
    return teacher.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
