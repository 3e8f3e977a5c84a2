"""The service registry: who is where, and healthy."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path

from flask import Flask, Response, request
from health import check, check_for_ever
from registry import Registry
from web import Invalid, create_web_app, error, json_object

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # a DNS label (RFC 1123, section 2.1)
MAX_PORT = 65535


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` stands in for the environment."""
    settings = os.environ if config is None else config
    registry = Registry(Path(settings.get("STATE_DIR", ".")) / "registry.sqlite")
    app = create_web_app("service-registry", settings.get("INSTANCE_ID", "service-registry"))
    check_for_ever(registry)

    @app.post("/register")
    def register() -> dict[str, str]:
        body = json_object()
        name, ip, port = read_name(body), read_ip(body), read_port(body)
        registry.register(name, ip, port, check(ip, port))
        return {"status": "registered", "service": name}

    @app.get("/services")
    def services() -> dict[str, list[dict[str, object]]]:
        listed: dict[str, list[dict[str, object]]] = {}
        for instance in registry.instances():
            listed.setdefault(instance.name, []).append(instance.shown())
        return listed

    @app.get("/discover/<name>")
    def discover(name: str) -> Response | dict[str, object] | list[dict[str, object]]:
        chosen = registry.choose(name)
        if chosen is None:
            return error(404, "Service not found")
        if request.args.get("all") == "1":
            return [instance.shown() for instance in registry.instances(name)]
        return chosen.shown()

    @app.delete("/deregister/<name>")
    def deregister(name: str) -> Response | dict[str, str]:
        ip = read_ip(request.args) if "ip" in request.args else None
        port = read_port({"port": request.args.get("port", type=int)}) if "port" in request.args else None
        if not registry.deregister(name, ip, port):
            return error(404, "Service not found")
        return {"status": "deregistered"}

    return app


def read_name(body: Mapping[str, object]) -> str:
    """Return a service's name, which is also its name in DNS."""
    name = body.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Invalid("name", "must be 1 to 63 lower-case letters, digits and hyphens")
    return name


def read_ip(body: Mapping[str, object]) -> str:
    """Return a unicast address: the registry will call it, so it must not be the registry itself."""
    try:
        address = ipaddress.ip_address(str(body.get("ip")))
    except ValueError:
        raise Invalid("ip", "must be an IPv4 or IPv6 address") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise Invalid("ip", "must be a unicast address that others can reach")
    return str(address)


def read_port(body: Mapping[str, object]) -> int:
    """Return a TCP port."""
    port = body.get("port")
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= MAX_PORT:
        raise Invalid("port", f"must be a whole number from 1 to {MAX_PORT}")
    return port
