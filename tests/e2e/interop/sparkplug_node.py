"""A Sparkplug B edge node that is not ours: pysparkplug.

    sparkplug_node.py HOST PORT

Connects, tells its births, and prints one JSON line when it has. For each line on standard
input it updates its device with the value in it; at the end of input it leaves with its
death. It writes aliases beside names, in data too, as its library does.
"""

import json
import sys
import threading
import time

import pysparkplug as psp

HOST, PORT = sys.argv[1], int(sys.argv[2])
VALUES = {
    "i8": (psp.DataType.INT8, -128),
    "i16": (psp.DataType.INT16, -32768),
    "i32": (psp.DataType.INT32, -(2**31)),
    "i64": (psp.DataType.INT64, -(2**63)),
    "u8": (psp.DataType.UINT8, 255),
    "u16": (psp.DataType.UINT16, 65535),
    "u32": (psp.DataType.UINT32, 2**32 - 1),
    "u64": (psp.DataType.UINT64, 2**63 - 1),
    "f32": (psp.DataType.FLOAT, -0.5),
    "f64": (psp.DataType.DOUBLE, 0.1),
    "bool": (psp.DataType.BOOLEAN, True),
    "text": (psp.DataType.STRING, "가열 중"),
}


def metric(name, kind, value, alias):
    return psp.Metric(timestamp=psp.get_current_timestamp(), name=name, datatype=kind, value=value, alias=alias)


metrics = [metric(name, kind, value, alias) for alias, (name, (kind, value)) in enumerate(VALUES.items(), 1)]
rebirth = metric("Node Control/Rebirth", psp.DataType.BOOLEAN, False, 100)
told = threading.Event()
node = psp.EdgeNode("interop", "peer", [rebirth], cmd_callback=lambda *_: told.set())
node.register(psp.Device("rig", metrics))
node.connect(HOST, port=PORT)
print(json.dumps({"values": {name: value for name, (_, value) in VALUES.items()}}), flush=True)
for line in sys.stdin:
    if line.strip() == "leave":
        break
    value = float(line)
    node.update_device("rig", [metric("f64", psp.DataType.DOUBLE, value, 10)])
node.disconnect()
# The goodbye is on its way in a thread of the library.
time.sleep(0.2)
