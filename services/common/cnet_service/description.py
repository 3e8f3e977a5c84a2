"""The OpenAPI document, generated from the endpoints and their models by flask-openapi3; strict JSON requests."""

import functools
from typing import Any

from flask import Request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from flask_openapi3.types import ResponseDict

from cnet_service.body import read_json_object
from cnet_service.errors import raise_invalid
from cnet_service.models import Error

# The answers of an endpoint: a model for each status.
Responses = ResponseDict

# flask-openapi3 adds its own answer to invalid input to every operation; the services never send this status.
UNUSED_STATUS = "422"


class JsonRequest(Request):
    """A request whose body is read by `read_json_object`."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """Return the body; raise InvalidError if it is not a JSON object."""
        return read_json_object()


class DescribedApp(OpenAPI):
    """A Flask application that validates requests with pydantic models and generates its OpenAPI document."""

    request_class = JsonRequest

    def __init__(self, name: str, description: str) -> None:
        super().__init__(
            name,
            info=Info(title=name, description=description, version="1"),
            security_schemes={},
            doc_ui=False,
            static_folder=None,
            validation_error_status=UNUSED_STATUS,
            validation_error_model=Error,
            validation_error_callback=raise_invalid,
        )

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document (3.1)."""
        for path in self.api_doc["paths"].values():
            for operation in path.values():
                del operation["responses"][UNUSED_STATUS]
        return self.api_doc
