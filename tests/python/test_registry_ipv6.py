"""The registry of a lab with both families: whose addresses are whose, and what HTTP and DNS say of them."""

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, DNSRecord

Load = Callable[[str], ModuleType]
TABLE = """192.0.2.30\t5000\tproduct-service\tproduct-1
2001:db8::30\t5000\tproduct-service\tproduct-1
192.0.2.31\t5000\tproduct-service\tproduct-2
2001:db8::31\t5000\tproduct-service\tproduct-2
"""
ONE = {
    "name": "product-service",
    "instance_id": "product-1",
    "ip": "192.0.2.30",
    "ip6": "2001:db8::30",
    "port": 5000,
    "ttl": 3600,
}


@pytest.fixture
def app(registry: Load, tmp_path: Path) -> Any:
    (tmp_path / "owners.tsv").write_text(TABLE)
    return registry("app").create_app(
        {
            "STATE_DIR": str(tmp_path),
            "OWNERS": "owners.tsv",
            "CONFIGURED": "store=192.0.2.60:5432/3,plain=192.0.2.61:80/3",
            "CONFIGURED_IP6": "store=2001:db8::60",
        }
    )


def send(app: Any, sender: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = app.test_client().open(path, method=method, json=body, environ_overrides={"REMOTE_ADDR": sender})
    return answer.status_code, answer.json


@pytest.mark.parametrize("sender", ["192.0.2.30", "2001:db8::30"])
def test_an_instance_registers_both_addresses_from_either_and_renews_and_leaves_from_both(
    app: Any, sender: str
) -> None:
    assert send(app, sender, "POST", "/register", ONE)[0] == 200
    status, listed = send(app, sender, "GET", "/discover/product-service?all=1")
    assert [(one["ip"], one["ip6"]) for one in listed] == [("192.0.2.30", "2001:db8::30")]
    assert status == 200
    for own in ("192.0.2.30", "2001:db8::30"):
        assert send(app, own, "PUT", "/heartbeat/product-service/product-1")[0] == 200
    for other in ("192.0.2.31", "2001:db8::31"):
        assert send(app, other, "PUT", "/heartbeat/product-service/product-1")[0] == 403
        assert send(app, other, "DELETE", "/deregister/product-service/product-1")[0] == 403
    assert send(app, sender, "DELETE", "/deregister/product-service/product-1")[0] == 200


@pytest.mark.parametrize(
    ("sender", "change"),
    [
        ("192.0.2.30", {"ip6": "2001:db8::31"}),  # its twin's
        ("2001:db8::30", {"ip": "192.0.2.31"}),
        ("192.0.2.30", {"ip6": "2001:db8::99"}),  # not in the table
        ("2001:db8::31", {}),  # neither address is the sender's
        ("192.0.2.31", {}),
        ("192.0.2.99", {"name": "new", "instance_id": "new-1", "ip": "192.0.2.99", "ip6": "2001:db8::99"}),
    ],
)
def test_an_address_of_another_node_is_refused(app: Any, sender: str, change: dict[str, str]) -> None:
    status, answer = send(app, sender, "POST", "/register", ONE | change)
    assert (status, "error" in answer) == (403, True)
    assert send(app, sender, "GET", "/discover/product-service")[0] == 404


@pytest.mark.parametrize("ip6", ["192.0.2.30", "::1", "fe80::1", "x", ""])
def test_what_is_no_ipv6_address_is_a_400_with_the_field(app: Any, ip6: str) -> None:
    status, answer = send(app, "192.0.2.30", "POST", "/register", ONE | {"ip6": ip6})
    assert (status, answer["field"]) == (400, "ip6")


def test_who_sends_only_ip_is_shown_without_ip6_and_stored_as_before(app: Any, tmp_path: Path) -> None:
    only_ip = {field: value for field, value in ONE.items() if field != "ip6"}
    assert send(app, "192.0.2.30", "POST", "/register", only_ip)[0] == 200
    (listed,) = send(app, "192.0.2.99", "GET", "/services")[1]["product-service"]
    assert listed.keys() == {"instance_id", "ip", "port", "registered_at", "health"}
    assert "ip6" not in (tmp_path / "registrations.json").read_text()


def test_both_addresses_survive_a_restart(registry: Load, app: Any, tmp_path: Path) -> None:
    assert send(app, "192.0.2.30", "POST", "/register", ONE)[0] == 200
    restored = registry("store").Store(tmp_path / "registrations.json").load()
    assert [one.addresses for one in restored] == [("2001:db8::30", "192.0.2.30")]


# --- DNS


@pytest.fixture
def zone(registry: Load, tmp_path: Path) -> Any:
    text, text_ip6 = "both=192.0.2.30:80/3,four=192.0.2.31:80/3", "both=2001:db8::30"
    configured = registry("configured").read_configured(text, text_ip6)
    store = registry("store").Store(tmp_path / "registrations.json")
    return registry("zone").Zone(registry("registry").Registry(store, configured))


def ask(zone: Any, name: str, kind: str) -> tuple[str, list[str]]:
    """Return the answer's code and its records, each as `TYPE DATA`: answers, authority, additional ones."""
    reply = DNSRecord.parse(zone.answer(DNSRecord.question(name, kind)).pack())
    records = [
        f"{QTYPE[record.rtype]} {str(record.rdata).split()[0]}"
        for record in (*reply.rr, *reply.auth, *reply.ar)
    ]
    return RCODE[reply.header.rcode], records


def test_a_name_has_records_of_its_families_and_no_data_for_the_other(zone: Any) -> None:
    assert ask(zone, "both.lab", "A") == ("NOERROR", ["A 192.0.2.30"])
    assert ask(zone, "both.lab", "AAAA") == ("NOERROR", ["AAAA 2001:db8::30"])
    assert ask(zone, "both.both.lab", "AAAA") == ("NOERROR", ["AAAA 2001:db8::30"])
    assert ask(zone, "both.lab", "SRV") == ("NOERROR", ["SRV 0", "AAAA 2001:db8::30", "A 192.0.2.30"])
    assert ask(zone, "four.lab", "AAAA") == ("NOERROR", ["SOA service-registry.lab."])
    assert ask(zone, "none.lab", "AAAA") == ("NXDOMAIN", ["SOA service-registry.lab."])


def test_an_address_of_each_family_has_its_name(zone: Any) -> None:
    for address in ("192.0.2.30", "2001:db8::30"):
        name = ip_address(address).reverse_pointer
        for written in (name, name.upper()):
            assert ask(zone, written, "PTR") == ("NOERROR", ["PTR both.both.lab."])


@pytest.mark.parametrize(
    "name",
    [
        ip_address("2001:db8::31").reverse_pointer,
        ip_address("2001:db8::30").reverse_pointer.removeprefix("0."),
        "0." + ip_address("2001:db8::30").reverse_pointer,
        ip_address("2001:db8::30").reverse_pointer.replace("0.", "00.", 1),
        ip_address("2001:db8::30").reverse_pointer.replace("0.", "x.", 1),
        "ip6.arpa",
    ],
)
def test_other_names_of_ip6_arpa_are_not_the_labs(zone: Any, name: str) -> None:
    assert zone.answer(DNSRecord.question(name, "PTR")) is None
