"""Services stand alone in folders with modules of the same names: tests import from one at a time."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import pytest

SERVICES = Path(__file__).parents[2] / "services"


@contextmanager
def folder_of(service: str) -> Iterator[Callable[[str], ModuleType]]:
    """Yield an import function for a service's modules and cnet_service; remove them afterwards."""
    folder = str(SERVICES / service)
    names = {path.stem for path in Path(folder).glob("*.py")}
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(folder)
        for name in list(sys.modules):
            if name in names or name.partition(".")[0] == "cnet_service":
                del sys.modules[name]
        unregister_metrics()


def unregister_metrics() -> None:
    from prometheus_client import REGISTRY  # noqa: PLC0415  as the services import it

    for collector in list(REGISTRY._collector_to_names):
        REGISTRY.unregister(collector)


@pytest.fixture
def gateway() -> Iterator[Callable[[str], ModuleType]]:
    with folder_of("api-gateway") as load:
        yield load


@pytest.fixture
def registry() -> Iterator[Callable[[str], ModuleType]]:
    with folder_of("service-registry") as load:
        yield load


@pytest.fixture
def service_folder() -> Callable[[str], AbstractContextManager[Callable[[str], ModuleType]]]:
    return folder_of
