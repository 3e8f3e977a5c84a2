"""The service registry: the instances of each service and their health; over HTTP and, with DNS_PORT, over DNS."""

import os
from collections.abc import Mapping
from pathlib import Path

import dns_server
from checks import check_for_ever, is_answering
from cnet_service.app import create_service_app
from cnet_service.description import DescribedApp, Responses
from cnet_service.errors import error_response
from cnet_service.models import Error, Unavailable
from configured import read_configured
from flask import Flask, Response, g, request
from instances import Instance
from models import (
    Deregistered,
    Discovered,
    DiscoverQuery,
    InstancePath,
    Registered,
    Registration,
    Renewed,
    ServicePath,
    Services,
    WaitQuery,
)
from owners import NotOwnerError, Owners
from registry import RefusedError, Registry
from store import Store
from zone import Zone

NOT_FOUND = "Service not found"
REGISTER: Responses = {200: Registered, 400: Error, 403: Error, 409: Error, 413: Error, 503: Unavailable}
RENEW: Responses = {200: Renewed, 403: Error, 404: Error}
DEREGISTER: Responses = {200: Deregistered, 403: Error, 404: Error}
DISCOVER: Responses = {200: Discovered, 400: Error, 404: Error, 503: Unavailable}

Answer = Response | dict[str, object]


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` replaces the environment.

    CONFIGURED has services that cannot register themselves (NAME=IP:PORT[/LEASE], comma-separated), CONFIGURED_IP6
    the IPv6 addresses of some (NAME=IP6, comma-separated), OPERATORS the addresses that may deregister any
    instance, OWNERS the file in STATE_DIR with the node of each address.
    """
    settings = os.environ if config is None else config
    state = Path(settings.get("STATE_DIR", "."))
    owners = Owners(state / settings["OWNERS"] if settings.get("OWNERS") else None)
    store = Store(state / "registrations.json")
    configured = read_configured(settings.get("CONFIGURED", ""), settings.get("CONFIGURED_IP6", ""))
    registry = Registry(store, configured, owners)
    operators = settings.get("OPERATORS", "").split(",")
    instance = settings.get("INSTANCE_ID", "service-registry")
    app = create_service_app("service-registry", instance, "The instances of each service and their health.")
    add_registration(app, registry)
    add_deregistration(app, registry, operators)
    add_discovery(app, registry)
    check_for_ever(registry)
    if "DNS_PORT" in settings:
        dns_server.start(
            Zone(registry),
            [settings.get("SERVICE_IP", "127.0.0.1"), *filter(None, [settings.get("SERVICE_IP6")])],
            int(settings["DNS_PORT"]),
            [resolver for resolver in settings.get("DNS_FORWARD", "").split(",") if resolver],
        )
    return app


def add_registration(app: DescribedApp, registry: Registry) -> None:
    """Serve registrations and heartbeats: an instance may register only its own address."""

    @app.post("/register", summary="Register an instance, or renew it", responses=REGISTER)
    def register(body: Registration) -> Answer:
        if request.remote_addr not in (body.ip, body.ip6):
            return error_response(
                403,
                f"ip: {' or '.join(filter(None, (body.ip, body.ip6)))} is not your address, {request.remote_addr}",
                field="ip",
            )
        instance = Instance(body.name, body.id, body.ip, body.port, "", body.ttl, ip6=body.ip6)
        try:
            registry.check(instance)  # before a connection to an address that may be another node's
            instance.answers = is_answering(instance)
            registry.register(instance)
        except NotOwnerError as failure:
            return error_response(403, str(failure))
        except RefusedError as failure:
            return error_response(409, str(failure))
        return Registered(service=instance.name, instance_id=instance.instance_id).model_dump()

    @app.put("/heartbeat/<name>/<instance_id>", summary="Renew a lease", responses=RENEW)
    def heartbeat(path: InstancePath) -> Answer:
        instance = registry.find(path.name, path.instance_id)
        if instance is None:
            return error_response(404, NOT_FOUND)
        if request.remote_addr not in instance.addresses:
            return refuse_address()
        registry.renew(path.name, path.instance_id)
        g.quiet = True  # each instance sends one heartbeat per second
        return Renewed().model_dump()


def add_deregistration(app: DescribedApp, registry: Registry, operators: list[str]) -> None:
    """Serve deregistrations: an instance may remove its own, an operator any."""

    @app.delete(
        "/deregister/<name>", summary="Remove the caller's instances, as the host all", responses=DEREGISTER
    )
    def deregister(path: ServicePath) -> Answer:
        return remove(registry.instances(path.name))

    @app.delete("/deregister/<name>/<instance_id>", summary="Remove one instance", responses=DEREGISTER)
    def deregister_one(path: InstancePath) -> Answer:
        instance = registry.find(path.name, path.instance_id)
        return remove([instance] if instance else [])

    def remove(found: list[Instance]) -> Answer:
        registered = [instance for instance in found if not instance.permanent]
        if not registered:
            return error_response(404, NOT_FOUND)
        address = request.remote_addr
        if address not in operators:
            registered = [instance for instance in registered if address in instance.addresses]
        if not registered:
            return refuse_address()
        for instance in registered:
            registry.deregister(instance)
        return Deregistered().model_dump()


def refuse_address() -> Response:
    """Refuse a request for an instance at another address."""
    return error_response(403, f"no such instance is at your address, {request.remote_addr}")


def add_discovery(app: DescribedApp, registry: Registry) -> None:
    """Serve look-ups. ?index=N&wait=SECONDS waits until the index is not N; X-Index is the index of the answer."""

    @app.get("/services", summary="All instances by name", responses={200: Services, 400: Error})
    def services(query: WaitQuery) -> dict[str, list[dict[str, object]]]:
        wait_for_change(query)
        listed: dict[str, list[dict[str, object]]] = {}
        for instance in registry.instances():
            listed.setdefault(instance.name, []).append(instance.shown_in_list())
        return listed

    @app.get("/discover/<name>", summary="The next healthy instance, or with all=1 all", responses=DISCOVER)
    def discover(path: ServicePath, query: DiscoverQuery) -> Answer | list[dict[str, object]]:
        wait_for_change(query)
        known = registry.instances(path.name)
        if not known:
            return error_response(404, NOT_FOUND)
        if query.all == "1":
            return [instance.shown_in_list() for instance in known]
        chosen = registry.choose(path.name)
        if chosen is None:
            return error_response(503, f"No instance of {path.name} is healthy", {"Retry-After": "1"})
        return chosen.shown()

    def wait_for_change(query: WaitQuery) -> None:
        registry.wait(query.index, query.wait)
        g.index = registry.index  # read before the instances: a change in between is reported the next time

    @app.after_request
    def show_index(response: Response) -> Response:
        if "index" in g:
            response.headers["X-Index"] = str(g.index)
        return response
