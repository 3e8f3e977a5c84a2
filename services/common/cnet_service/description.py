"""The OpenAPI document of a service: its own part, and what all services have in common."""

from typing import Any


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the endpoints and answers that every service has (OpenAPI 3.1)."""
    text = {"type": "string"}
    failure = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": text, "field": text, "dependencies": {"type": "array", "items": text}},
        "additionalProperties": False,
    }
    state = {
        "type": "object",
        "required": ["service", "status"],
        "properties": {
            "service": text,
            "status": text,
            # /ready: what the service does without now, and why
            "degraded": {"type": "object", "additionalProperties": text},
        },
        "additionalProperties": False,
    }
    json_of = {
        "Error": {"$ref": "#/components/schemas/Error"},
        "State": {"$ref": "#/components/schemas/State"},
    }

    def answer(description: str, schema: object, **more: object) -> dict[str, object]:
        return {"description": description, "content": {"application/json": {"schema": schema}}, **more}

    retry_after = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    document["openapi"] = "3.1.0"
    document["components"]["schemas"] |= {"Error": failure, "State": state}
    document["components"]["responses"] = {
        "Invalid": answer("The input is wrong; `field` says where", json_of["Error"]),
        "NotFound": answer("There is no such thing", json_of["Error"]),
        "TooLarge": answer("The body is longer than 64 KiB", json_of["Error"]),
        "Unavailable": answer("A dependency is away; try again", json_of["Error"], headers=retry_after),
    }
    ready = {"200": answer("Ready", json_of["State"]), "503": {"$ref": "#/components/responses/Unavailable"}}
    metrics = {"description": "For Prometheus", "content": {"text/plain": {"schema": text}}}
    document["paths"] |= {
        "/health": {"get": {"summary": "Alive", "responses": {"200": answer("Alive", json_of["State"])}}},
        "/ready": {"get": {"summary": "Its dependencies answer", "responses": ready}},
        "/metrics": {"get": {"summary": "Measurements", "responses": {"200": metrics}}},
        "/openapi.json": {
            "get": {"summary": "This document", "responses": {"200": answer("OpenAPI", {"type": "object"})}}
        },
    }
    return document
