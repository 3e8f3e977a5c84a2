"""Headings and types of the columns in a capture's tables.

The keys are the names in the CSV files, which are a contract; the report and the data frames use the rest.
"""

TEXT, COUNT, NUMBER = "string", "Int64", "Float64"  # pandas' nullable types

# Column -> its heading in the report, and its type.
COLUMNS = {
    "source": ("from", TEXT),
    "destination": ("to", TEXT),
    "service": ("service", TEXT),
    "protocol": ("protocol", TEXT),
    "metric": ("figure", TEXT),
    "value": ("value", NUMBER),
    "reason": ("what", TEXT),
    "count": ("times", COUNT),
    "first": ("first at", TEXT),
    "second": ("seconds since the first packet", COUNT),
    "packets": ("packets", COUNT),
    "bytes": ("bytes", COUNT),
    "syn": ("times asked", COUNT),
    "syn_ack": ("answered", COUNT),
    "fin": ("ended", COUNT),
    "rst": ("reset", COUNT),
    "retransmissions": ("sent again", COUNT),
    "handshakes": ("handshakes", COUNT),
    "handshake_p50_ms": ("median ms", NUMBER),
    "handshake_p95_ms": ("95 % within ms", NUMBER),
    "handshake_max_ms": ("longest ms", NUMBER),
}
