"""The service registry: who is where, and healthy; over HTTP and, where DNS_PORT is given, DNS."""

import os
from collections.abc import Mapping
from pathlib import Path

import dns_server
from checks import answers, check_for_ever
from cnet_service.app import create_service_app
from cnet_service.body import read_json_object
from cnet_service.errors import error_response
from fields import read_all, read_configured, read_index, read_instance, read_wait
from flask import Flask, Response, g, request
from instances import Instance
from owners import NotOwnerError, Owners
from registry import Refused, Registry
from store import Store
from zone import Zone

NOT_FOUND = "Service not found"

DOCUMENT = Path(__file__).with_name("openapi.json")


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` stands in for the environment.

    CONFIGURED has services that cannot register themselves (NAME=IP:PORT[/LEASE], comma-separated), OPERATORS
    the addresses that may deregister any instance, OWNERS the file in STATE_DIR that says who may register where.
    """
    settings = os.environ if config is None else config
    state = Path(settings.get("STATE_DIR", "."))
    owners = Owners(state / settings["OWNERS"] if settings.get("OWNERS") else None)
    store = Store(state / "registry.sqlite")
    registry = Registry(store, read_configured(settings.get("CONFIGURED", "")), owners)
    operators = settings.get("OPERATORS", "").split(",")
    app = create_service_app("service-registry", settings.get("INSTANCE_ID", "service-registry"), DOCUMENT)
    add_registration(app, registry, operators)
    add_discovery(app, registry)
    check_for_ever(registry)
    if "DNS_PORT" in settings:
        dns_server.start(
            Zone(registry),
            (settings.get("SERVICE_IP", "127.0.0.1"), int(settings["DNS_PORT"])),
            [resolver for resolver in settings.get("DNS_FORWARD", "").split(",") if resolver],
        )
    return app


def add_registration(app: Flask, registry: Registry, operators: list[str]) -> None:
    """Serve what instances say of themselves: an instance may register only its own address."""

    @app.post("/register")
    def register() -> Response | dict[str, object]:
        instance = read_instance(read_json_object())
        if instance.ip != request.remote_addr:
            return error_response(
                403, f"ip: {instance.ip} is not your address, {request.remote_addr}", field="ip"
            )
        instance.answers = answers(instance)
        try:
            registry.register(instance)
        except NotOwnerError as failure:
            return error_response(403, str(failure))
        except Refused as failure:
            return error_response(409, str(failure))
        return {"status": "registered", "service": instance.name, "instance_id": instance.instance_id}

    @app.put("/heartbeat/<name>/<instance_id>")
    def heartbeat(name: str, instance_id: str) -> Response | dict[str, str]:
        instance = registry.find(name, instance_id)
        if instance is None:
            return error_response(404, NOT_FOUND)
        if instance.ip != request.remote_addr:
            return not_yours()
        registry.renew(name, instance_id)
        g.quiet = True  # one a second from each instance
        return {"status": "renewed"}

    @app.delete("/deregister/<name>")
    def deregister(name: str) -> Response | dict[str, str]:
        return remove(registry.instances(name))

    @app.delete("/deregister/<name>/<instance_id>")
    def deregister_one(name: str, instance_id: str) -> Response | dict[str, str]:
        instance = registry.find(name, instance_id)
        return remove([instance] if instance else [])

    def remove(found: list[Instance]) -> Response | dict[str, str]:
        registered = [instance for instance in found if not instance.permanent]
        if not registered:
            return error_response(404, NOT_FOUND)
        address = request.remote_addr
        if address not in operators:
            registered = [instance for instance in registered if instance.ip == address]
        if not registered:
            return not_yours()
        for instance in registered:
            registry.deregister(instance)
        return {"status": "deregistered"}


def not_yours() -> Response:
    """Refuse what concerns another address."""
    return error_response(403, f"no such instance is at your address, {request.remote_addr}")


def add_discovery(app: Flask, registry: Registry) -> None:
    """Serve what clients ask. ?index=N&wait=SECONDS waits until the index is another than N.

    The header X-Index has the index of the answer.
    """

    @app.get("/services")
    def services() -> Response | dict[str, list[dict[str, object]]]:
        wait_for_change()
        listed: dict[str, list[dict[str, object]]] = {}
        for instance in registry.instances():
            listed.setdefault(instance.name, []).append(instance.shown_in_list())
        return listed

    @app.get("/discover/<name>")
    def discover(name: str) -> Response | dict[str, object] | list[dict[str, object]]:
        wants_all = read_all(request.args.get("all", "0"))
        wait_for_change()
        known = registry.instances(name)
        if not known:
            return error_response(404, NOT_FOUND)
        if wants_all:
            return [instance.shown_in_list() for instance in known]
        chosen = registry.choose(name)
        if chosen is None:
            return error_response(503, f"No instance of {name} is healthy", {"Retry-After": "1"})
        return chosen.shown()

    def wait_for_change() -> None:
        seconds = read_wait(request.args.get("wait", "10"))
        if "index" in request.args:
            registry.wait(read_index(request.args["index"]), seconds)
        g.index = registry.index  # before the instances are read: a change in between is told the next time

    @app.after_request
    def show_index(response: Response) -> Response:
        if "index" in g:
            response.headers["X-Index"] = str(g.index)
        return response
