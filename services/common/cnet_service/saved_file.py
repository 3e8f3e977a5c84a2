"""A state file: complete after a crash; a failure to write it never fails the service."""

import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("service")


class SavedFile:
    """A file that is replaced as a whole; a failure to write it is logged once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.can_write = True
        self._written: bytes | None = None

    def read(self) -> bytes | None:
        """Return the file's bytes, None if there is no such file or it cannot be read."""
        try:
            self._written = self.path.read_bytes()
        except FileNotFoundError:
            log.info("no %s yet", self.path)
        except OSError as failure:
            log.warning("cannot read %s: %s", self.path, failure)
        return self._written

    def write(self, data: bytes) -> None:
        """Replace the file by rename if `data` is new; `can_write` is then true if that worked."""
        if data == self._written and self.can_write:
            return
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as failure:
            if self.can_write:
                log.warning("cannot write %s, continuing without it: %s", self.path, failure)
            self.can_write = False
            with suppress(OSError):  # a read-only file system refuses the removal too
                new.unlink()
            return
        if not self.can_write:
            log.warning("%s is written again", self.path)
        self._written, self.can_write = data, True
