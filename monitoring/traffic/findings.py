"""The summary and the observations of a capture, with advice for each problem."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.traffic.packets import UNKNOWN
from monitoring.traffic.tables import Tables

_MANY_AGAIN, _MANY_RESETS, _SLOW_MILLISECONDS = 0.01, 0.02, 100
_TWENTY = 20  # fewer handshakes are not enough for "one in twenty"
_MAX_NAMED = 5


def summary(tables: Tables) -> str:
    """Return the executive summary, one paragraph."""
    tally, duration = tables.tally, tables.duration
    if not tally.packets:
        return "The capture has no packets."
    when = f" in {duration:,.1f} seconds ({_rate(tally.packets / duration)} packets/s)" if duration else ""
    pairs = tables.service_pairs()
    sentences = [
        f"{_many(tally.packets, 'packet')} with {_bytes(tally.bytes)} were seen{when}, between "
        f"{_many(len(pairs), 'pair')} of sender and receiver."
    ]
    protocol, count = tables.protocols()[0]
    share = f"{protocol} ({100 * count / tally.packets:.1f} %)"
    sentences.append(
        f"The most frequent protocol is {share}." if count < tally.packets else f"All of them are {protocol}."
    )
    if pairs:
        source, destination, packets = pairs[0]
        sentences.append(f"The busiest pair is {source} to {destination}: {_many(packets, 'packet')}.")
    if asked := tables.total("asked"):
        sentences.append(
            f"Connections asked for (SYN): {asked:,}; answered (SYN-ACK): {tables.total('answered'):,}."
        )
    return " ".join(sentences)


def observations(tables: Tables) -> list[str]:
    """Return the problems, the worst first, then the limits of the capture."""
    problems = [*_unanswered(tables), *_sent_again(tables), *_resets(tables), *_slow(tables)]
    return [*(problems or [_no_problem(tables)]), *_checks(tables), *_unread(tables)]


def _no_problem(tables: Tables) -> str:
    """Return the sentence for a capture without problems."""
    if not tables.pairs:
        return "No packet's IP addresses could be read, so nothing is known of connections."
    where = " in what could be read" if tables.tally.unread.counts else ""
    asked = "every connection was answered" if tables.total("syn") else "no connection was asked for"
    return f"No problem was found{where}: {asked}, and no segment was sent again."


def _unanswered(tables: Tables) -> Iterator[str]:
    rows = []
    for (source, destination), count in tables.pairs.items():
        back = tables.pairs.get((destination, source))
        missing = count.asked - (back.answered if back else 0)
        if missing > 0:
            rows.append((missing, count.asked, source, destination))
    for missing, asked, source, destination in sorted(rows, reverse=True)[:_MAX_NAMED]:
        yield (
            f"Not answered within the capture: {missing:,} of {_many(asked, 'connection')} from {source} to "
            f"{destination}. They were dropped, or nothing listens. "
            f"To find out why: sudo make explain FROM={source} TO={destination} PORT=..."
        )


def _sent_again(tables: Tables) -> Iterator[str]:
    rows = [
        (count.retransmissions / count.packets, count.retransmissions, pair)
        for pair, count in tables.pairs.items()
        if count.retransmissions > _MANY_AGAIN * count.packets
    ]
    named = sorted(rows, reverse=True)[:_MAX_NAMED]
    for share, times, (source, destination) in named:
        yield (
            f"{source} sent {_many(times, 'packet')} to {destination} again ({100 * share:.1f} % of its packets): "
            "they, or their answers, did not arrive in time. Look for drops: sudo make status, ip -s link"
        )
    again = tables.total("retransmissions")
    if again > sum(times for _, times, _ in named):
        yield (
            f"Sent again in all: {again:,} of {_many(tables.tally.packets, 'packet')} "
            f"({100 * again / tables.tally.packets:.2g} %). On a bridge of one machine it should be none."
        )


def _resets(tables: Tables) -> Iterator[str]:
    """Yield an observation when many connections were reset; the lab's own checks do not count."""
    pairs = {pair: count for pair, count in tables.pairs.items() if not tables.names.are_checking(*pair)}
    asked, resets = (sum(getattr(count, name) for count in pairs.values()) for name in ("syn", "rst"))
    if resets > max(_MANY_RESETS * asked, 1):
        (source, destination), worst = max(pairs.items(), key=lambda item: item[1].rst)
        yield (
            f"Resets (RST): {resets:,}, {worst.rst:,} of them from {source} to {destination}, which refused a "
            "connection or whose program ended one early. Is it allowed? sudo make explain "
            f"FROM={destination} TO={source} PORT=..."
        )


def _checks(tables: Tables) -> Iterator[str]:
    checks = [count for pair, count in tables.pairs.items() if tables.names.are_checking(*pair)]
    if packets := sum(count.packets for count in checks):
        resets = sum(count.rst for count in checks)
        ended = f", with {_many(resets, 'reset')}: a check closes its connection as soon as it has its answer"
        yield (
            f"Traffic of the lab itself: {_many(packets, 'packet')} of health checks by the host, and of the "
            f"registry's checks, heartbeats and discovery{ended if resets else ''}."
        )


def _slow(tables: Tables) -> Iterator[str]:
    for (source, destination), count in sorted(tables.pairs.items()):
        times = count.handshakes
        share, which = (0.95, "One in twenty of") if times.count >= _TWENTY else (1.0, "The slowest of")
        milliseconds = times.quantile(share) / 1e6
        if milliseconds > _SLOW_MILLISECONDS:
            yield (
                f"{which} {_many(times.count, 'handshake')} from {source} to {destination} took {milliseconds:,.0f} ms "
                f"or more: SYNs are lost and sent again after a second, or {destination} is overloaded (its accept "
                "queue: ss -ltn)."
            )


def _unread(tables: Tables) -> Iterator[str]:
    tally = tables.tally
    yield from tally.unread.remarks()
    if unknown := tally.protocols[UNKNOWN]:
        yield (
            f"The protocol of {_many(unknown, 'packet')} is unknown: the capture does not show it, as text does not "
            "for a later fragment."
        )
    if tally.without_size:
        yield (
            f"Without a known size: {_many(tally.without_size, 'packet')}, so bytes are a lower bound; tcpdump -e "
            "prints it, and pcap has it."
        )
    if untimed := tally.packets - sum(packets for packets, _ in tally.rates.values()):
        yield f"Without a time: {_many(untimed, 'packet')}, which the rates over time leave out."
    if tally.step > 1:
        yield f"The capture is long, so its rates over time have one row for each {tally.step:,} seconds."


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004 - two digits


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":  # noqa: PLR2004 - SI
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return ""
