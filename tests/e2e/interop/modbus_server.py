"""A Modbus TCP server that is not ours, with every type in every byte order.

Starts pymodbus on a free port of loopback, prints one JSON line that says where it
listens and what lies where, and serves until standard input ends. The registers are
laid out by `struct`, and pymodbus' own conversion must agree where it has one.
"""

import asyncio
import json
import struct
import sys

from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer

# Unit id of each order.
ORDERS = {"ABCD": 1, "CDAB": 2, "BADC": 3, "DCBA": 255}
VALUES = {
    "i16": ("h", [0, 1, -1, -32768, 32767, 0x0102]),
    "u16": ("H", [0, 1, 65535, 0x0102]),
    "i32": ("i", [0, -1, -(2**31), 2**31 - 1, 0x01020304]),
    "u32": ("I", [0, 1, 2**32 - 1, 0x01020304]),
    "i64": ("q", [0, -1, -(2**63), 2**63 - 1, 0x0102030405060708]),
    "u64": ("Q", [0, 1, 2**63 - 1, 0x0102030405060708, 2**63, 2**64 - 1]),
    "f32": ("f", [0.0, -0.5, 1.1, -273.15, 3.4e38, 1e-40, 16777217.0]),
    "f64": ("d", [0.0, -0.5, 1.1, -273.15, 1.7e308, 5e-324, 9007199254740993.0]),
}
# The widest request is 125 registers, so the table spans several.
FIRST = 10
SIZE = 1000


def words_of(code, value, order):
    """The registers of a value, by the vendors' names of byte orders."""
    raw = struct.pack(">" + code, value)
    words = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    # A single word has one order, the specification's.
    if order in ("BADC", "DCBA") and len(words) > 1:
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def agree_with_pymodbus(kind, value, order, words):
    """pymodbus knows the two orders of words."""
    types = ModbusClientMixin.DATATYPE
    datatype = {
        "i16": types.INT16, "u16": types.UINT16, "i32": types.INT32, "u32": types.UINT32,
        "i64": types.INT64, "u64": types.UINT64, "f32": types.FLOAT32, "f64": types.FLOAT64,
    }[kind]
    word_order = {"ABCD": "big", "CDAB": "little"}.get(order)
    if word_order:
        theirs = ModbusClientMixin.convert_to_registers(value, datatype, word_order=word_order)
        assert theirs == words, (kind, value, order, theirs, words)


def device(order):
    """A unit with the whole table in one order, and what a reader must find."""
    registers = [0] * SIZE
    bits = [i % 3 == 0 for i in range(SIZE)]
    table = []
    at = FIRST
    for kind, (code, values) in VALUES.items():
        for number, value in enumerate(values):
            words = words_of(code, value, order)
            agree_with_pymodbus(kind, value, order, words)
            registers[at : at + len(words)] = words
            # What the register holds: an f32 is not the number that was written down.
            held = struct.unpack(">" + code, struct.pack(">" + code, value))[0]
            for area in ("holding", "input"):
                table.append(
                    {"name": f"{area}_{kind}_{number}", "area": area, "address": at, "type": kind, "value": held}
                )
            # A hole here and there, read through or around.
            at += len(words) + number % 3
    registers[at] = 0b1000_0000_0001_0010
    for bit in range(16):
        value = bool(registers[at] >> bit & 1)
        table.append({"name": f"bit_{bit}", "area": "holding", "address": at, "bit": bit, "type": "bool", "value": value})
    for area in ("coil", "discrete"):
        for address in (0, 1, 2, 3, 15, 16, 17, 900):
            table.append(
                {"name": f"{area}_{address}", "area": area, "address": address, "type": "bool", "value": bits[address]}
            )
    # A block starts at 1 for the wire's address 0.
    block = lambda values: ModbusSequentialDataBlock(1, values)
    context = ModbusDeviceContext(di=block(bits), co=block(bits), hr=block(registers), ir=block(registers))
    return context, table


async def main():
    devices = {order: device(order) for order in ORDERS}
    context = ModbusServerContext(devices={ORDERS[order]: made for order, (made, _) in devices.items()}, single=False)
    server = ModbusTcpServer(context, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    units = [{"unit": unit, "order": order, "signals": devices[order][1]} for order, unit in ORDERS.items()]
    print(json.dumps({"ready": True, "address": f"127.0.0.1:{port}", "units": units}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
