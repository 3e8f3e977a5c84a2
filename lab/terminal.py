"""A rich console for text from elsewhere: it has no markup or emoji names, and control characters are escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from lab.escape import for_terminal


class Console(RichConsole):
    """rich's console without markup: give styles as arguments or as Text, not within a string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError again, for lab/as_command.py; rich would exit with 1, which has another meaning."""
        raise BrokenPipeError

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render, with the text of each segment escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(for_terminal(segment.text), segment.style)
