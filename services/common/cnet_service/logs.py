"""The service's log: a line of JSON for each record, written to standard output in batches."""

import atexit
import functools
import json
import logging
import os
import sys
import threading
import time
from typing import TextIO

LINES_PER_WRITE = 100
FLUSH_SECONDS = 0.5


class BufferedHandler(logging.StreamHandler[TextIO]):
    """Writes many lines at once, at most half a second later; a warning is written immediately.

    A write for each line wakes its reader each time, which costs as much as a tenth of the request.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        threading.Thread(target=self._flush_for_ever, name="log", daemon=True).start()
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer the record's line; write all lines after a warning or when there are many."""
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING or len(self._lines) >= LINES_PER_WRITE:
            self.flush()

    def flush(self) -> None:
        """Write the buffered lines."""
        lines, self._lines = self._lines, []
        if lines and not self.stream.closed:
            self.stream.write("\n".join(lines) + "\n")
            self.stream.flush()

    def _flush_for_ever(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            with self.lock or threading.RLock():
                self.flush()


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `record.fields` are added to it."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._service, self._instance = service, instance

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": f"{format_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
            "instance": self._instance,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


@functools.lru_cache(1)
def format_second(seconds: int) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC, without a time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def set_up_logging(service: str, instance: str) -> None:
    """Write each record as one line of JSON to standard output."""
    # Skip the look-up of values that no line shows (Python's logging HOWTO, "Optimization"); gunicorn logs the pid.
    logging.logThreads = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = BufferedHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, instance))
    log = logging.getLogger("service")
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(os.environ.get("LOG_LEVEL", "INFO").upper())
