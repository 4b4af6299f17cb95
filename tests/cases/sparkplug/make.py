"""Writes messages.json of each case, with the payloads that pysparkplug encodes."""

import json
from datetime import datetime, timezone
from pathlib import Path

from pysparkplug import DataType, Metric
from pysparkplug import _protobuf as protobuf

# 2026-11-23 00:00 UTC, milliseconds; seconds of a case count from here.
BEGIN = 1_795_392_000_000
HERE = Path(__file__).parent
TOPIC = {"N": "spBv1.0/plant-1/{}/line-3", "D": "spBv1.0/plant-1/{}/line-3/press"}


def ms(second):
    return BEGIN + round(second * 1000)


def payload(seq, metrics, sent=None):
    made = protobuf.Payload()
    if sent is not None:
        made.timestamp = ms(sent)
    if seq is not None:
        made.seq = seq
    made.metrics.extend(metrics)
    return made.SerializeToString().hex()


def metric(name, kind, value, at=None, alias=None, **more):
    """As it stands in a birth: with name and type."""
    time = None if at is None else ms(at)
    return Metric(timestamp=time, name=name, datatype=kind, value=value, alias=alias, **more).to_pb(True)


def data(alias, kind, value, at=None, **more):
    """As it stands in data: with its alias alone."""
    time = None if at is None else ms(at)
    return Metric(timestamp=time, name=None, datatype=kind, value=value, alias=alias, **more).to_pb(False)


def session(number):
    return metric("bdSeq", DataType.UINT64, number)


def with_quality(made, code):
    made.properties.keys.append("Quality")
    value = made.properties.values.add()
    value.type, value.int_value = DataType.INT32, code
    return made


def template(name, members, alias=None, definition=False):
    made = protobuf.Metric(name=name, datatype=DataType.TEMPLATE)
    if alias is not None:
        made.alias = alias
    made.template_value.is_definition = definition
    if not definition:
        made.template_value.template_ref = "types/motor"
    made.template_value.metrics.extend(members)
    return made


def case(name, messages):
    rows = []
    for message in messages:
        kind, at, hexadecimal = message
        rows.append({"topic": TOPIC[kind[0]].format(kind), "at": at, "payload": hexadecimal})
    text = "[\n" + ",\n".join("  " + json.dumps(row) for row in rows) + "\n]\n"
    (HERE / name / "messages.json").write_text(text)


# Every type: the extremes of each number, and the same through aliases, where only the birth
# tells the type.
NUMBERS = [
    ("i8", DataType.INT8, [-128, 127]),
    ("i16", DataType.INT16, [-32768, 32767]),
    ("i32", DataType.INT32, [-(2**31), 2**31 - 1]),
    ("i64", DataType.INT64, [-(2**63), 2**63 - 1]),
    ("u8", DataType.UINT8, [255, 0]),
    ("u16", DataType.UINT16, [65535, 0]),
    ("u32", DataType.UINT32, [2**32 - 1, 0]),
    ("u64", DataType.UINT64, [2**63 - 1, 2**64 - 1]),
    ("f32", DataType.FLOAT, [-0.5, float("inf")]),
    ("f64", DataType.DOUBLE, [0.1, -1.7e308]),
    ("bool", DataType.BOOLEAN, [True, False]),
    ("string", DataType.STRING, ["가열 중", ""]),
    ("text", DataType.TEXT, ["text", "t"]),
    ("uuid", DataType.UUID, ["6e3a1c52-0f0e-4c59-9a40-6a3f1fd0a9d1"] * 2),
]
case(
    "every-type",
    [
        (
            "NBIRTH",
            1,
            payload(
                0,
                [session(0)]
                + [metric(name, kind, values[0], 0.5, alias) for alias, (name, kind, values) in enumerate(NUMBERS, 1)]
                + [metric("time", DataType.DATETIME, datetime(2026, 11, 23, tzinfo=timezone.utc), 0.5, 90)],
                1,
            ),
        ),
        (
            "NDATA",
            2,
            payload(
                1, [data(alias, kind, values[1], 1.5) for alias, (_, kind, values) in enumerate(NUMBERS, 1)], 2
            ),
        ),
    ],
)

ARRAYS = [
    ("i8s", DataType.INT8_ARRAY, (1, -2, 3)),
    ("i16s", DataType.INT16_ARRAY, (1, -2, 3)),
    ("i32s", DataType.INT32_ARRAY, (1, -2, 3)),
    ("i64s", DataType.INT64_ARRAY, (1, -2, 3)),
    ("u8s", DataType.UINT8_ARRAY, (1, 255, 3)),
    ("u16s", DataType.UINT16_ARRAY, (1, 65535, 3)),
    ("u32s", DataType.UINT32_ARRAY, (1, 2**32 - 1, 3)),
    ("u64s", DataType.UINT64_ARRAY, (1, 2, 3)),
    ("f32s", DataType.FLOAT_ARRAY, (1.0, -0.5, 3.0)),
    ("f64s", DataType.DOUBLE_ARRAY, (1.0, 0.1, 3.0)),
    ("bools", DataType.BOOLEAN_ARRAY, (False, True, True, False, False, False, False, False, True)),
    ("strings", DataType.STRING_ARRAY, ("하나", "둘", "셋")),
]
case(
    "arrays",
    [("DBIRTH", 1, payload(0, [metric(name, kind, values, 0.5, at) for at, (name, kind, values) in enumerate(ARRAYS)], 1))],
)

# A session with data by alias and by name, a message that is missed, a birth with other aliases.
FLOW = [metric("Temp/Zone 1", DataType.FLOAT, 850.5, 0, 1), metric("Temp/Zone 2", DataType.FLOAT, 851.5, 0, 2)]
SWAPPED = [metric("Temp/Zone 1", DataType.FLOAT, 860.5, 9, 2), metric("Temp/Zone 2", DataType.FLOAT, 861.5, 9, 1)]
case(
    "aliases",
    [
        ("DDATA", 1, payload(4, [data(1, DataType.FLOAT, 1.0, 0)], 1)),
        ("NBIRTH", 2, payload(0, [session(3)], 2)),
        ("DBIRTH", 3, payload(1, FLOW, 3)),
        ("DDATA", 4, payload(2, [data(1, DataType.FLOAT, 852.0, 3.5)], 4)),
        ("DDATA", 5, payload(3, [metric("Temp/Zone 2", DataType.FLOAT, 853.0, 4.5)], 5)),
        ("DDATA", 6, payload(5, [data(2, DataType.FLOAT, 854.0, 5.5)], 6)),
        ("DDATA", 7, payload(6, [metric("Temp/Zone 1", DataType.FLOAT, 855.0, 6.5)], 7)),
        ("NBIRTH", 8, payload(0, [session(4)], 8)),
        ("DBIRTH", 9, payload(1, SWAPPED, 9)),
        ("DDATA", 10, payload(2, [data(1, DataType.FLOAT, 862.0, 9.5), data(3, DataType.FLOAT, 1.0, 9.5)], 10)),
    ],
)

case(
    "deaths",
    [
        ("NBIRTH", 1, payload(0, [session(255), metric("Volts", DataType.DOUBLE, 24.0, 0.5)], 1)),
        ("DBIRTH", 2, payload(1, FLOW, 2)),
        ("NDEATH", 3, payload(None, [session(254)])),
        ("DDEATH", 4, payload(2, [], 4)),
        ("DBIRTH", 5, payload(3, FLOW, 5)),
        ("NDEATH", 6, payload(None, [session(255)])),
        ("NBIRTH", 7, payload(0, [session(0), metric("Volts", DataType.DOUBLE, 24.0, 0.5)], 7)),
        ("NDEATH", 8, payload(None, [session(255)])),
    ],
)

case(
    "quality-and-history",
    [
        ("DBIRTH", 100, payload(0, FLOW, 100)),
        (
            "DDATA",
            101,
            payload(
                1,
                [
                    data(1, DataType.FLOAT, 700.0, 50, is_historical=True),
                    data(1, DataType.FLOAT, 701.0, 51, is_historical=True),
                    data(2, DataType.FLOAT, None, 100.5, is_null=True),
                ],
                101,
            ),
        ),
        ("DDATA", 102, payload(2, [with_quality(data(1, DataType.FLOAT, 702.0, 101.5), 0)], 102)),
        ("DDATA", 103, payload(3, [with_quality(data(1, DataType.FLOAT, 703.0, 102.5), 500)], 103)),
        ("DDATA", 104, payload(4, [with_quality(data(1, DataType.FLOAT, 704.0, 103.5), 192)], 104)),
        ("DDATA", 105, payload(5, [with_quality(data(1, DataType.FLOAT, 705.0, 104.5), 64)], 105)),
        ("DDATA", 106, payload(6, [data(1, DataType.FLOAT, 706.0, 105.5, is_transient=True)], 106)),
        ("DDATA", 107, payload(7, [data(1, DataType.FLOAT, 707.0)], 106.5)),
        ("DDATA", 108, payload(8, [data(1, DataType.FLOAT, 708.0, 100_000)], 108)),
    ],
)

table = protobuf.Metric(name="Recipe", datatype=DataType.DATASET, alias=5)
table.dataset_value.num_of_columns = 1
table.dataset_value.columns.append("step")
table.dataset_value.types.append(DataType.INT32)
table.dataset_value.rows.add().elements.add().int_value = 1
SPEED = metric("Speed", DataType.INT16, -1500, 0.5)
INNER = template("Drive", [metric("Torque", DataType.DOUBLE, 1.5)])
case(
    "templates-and-tables",
    [
        (
            "DBIRTH",
            1,
            payload(
                0,
                [
                    template("types/motor", [metric("Speed", DataType.INT16, 0)], definition=True),
                    template("Motor 1", [SPEED, INNER], alias=4),
                    table,
                    metric("Picture", DataType.FILE, b"\x89PNG", 0.5, 6),
                ],
                1,
            ),
        ),
        ("DDATA", 2, payload(1, [template("", [metric("Speed", DataType.INT16, 1200, 1.5)], alias=4)], 2)),
    ],
)

case(
    "broken",
    [
        ("NBIRTH", 1, payload(0, [session(0), metric("Volts", DataType.DOUBLE, 24.0, 0.5, 1)], 1)),
        ("NDATA", 2, b'{"Volts": 24.0}'.hex()),
        ("NDATA", 3, payload(2, [data(1, DataType.DOUBLE, 24.0, 2.5)], 3)),
        ("NBIRTH", 4, payload(0, [session(0), metric("Volts", DataType.DOUBLE, 24.0, 3.5, 1)], 4)),
        ("NDATA", 5, payload(1000, [data(1, DataType.DOUBLE, 24.0, 4.5)], 5)),
        ("NDATA", 6, ""),
        ("DDATA", 7, payload(3, [metric("Temp/Zone 1", DataType.STRING, "hot", 6.5)], 7)),
        ("DDATA", 8, payload(4, [metric("n" * 2000, DataType.STRING, "hot", 6.5)], 8)),
    ],
)
