"""Each service's OpenAPI document says what the service serves: no endpoint more, none less."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]


@pytest.fixture(params=["api-gateway", "product-service", "order-service", "service-registry"])
def app(request: pytest.FixtureRequest, tmp_path: Path, service_folder: Any) -> Iterator[Any]:
    with service_folder(request.param) as load:
        yield load("app").create_app({"STATE_DIR": str(tmp_path)})


def served(app: Any) -> set[tuple[str, str]]:
    return {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def test_the_document_and_the_service_have_the_same_endpoints(app: Any) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    documented = {(path, method) for path, item in document["paths"].items() for method in item}
    assert documented == served(app)


def test_path_parameters_and_references_of_the_document_exist(app: Any) -> None:
    document = app.test_client().get("/openapi.json").get_json()
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {given["name"] for given in operation.get("parameters", ()) if given["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
    for reference in re.findall(r"#/components/(\w+)/(\w+)", str(document)):
        assert reference[1] in document["components"][reference[0]], reference


def test_errors_are_json_whatever_is_asked(app: Any) -> None:
    client = app.test_client()
    for method, path in (("get", "/nowhere"), ("post", "/health"), ("delete", "/metrics")):
        answer = getattr(client, method)(path)
        assert answer.status_code in (404, 405)
        assert "error" in answer.get_json()
