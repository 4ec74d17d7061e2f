# SPDX-License-Identifier: LGPL-2.1-or-later
"""Just enough of protobuf to speak to containerd's CRI plugin: messages are lists of (field number, value)."""


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def encode(*fields):
    """Values: int and bool, str, bytes (also of a message), dict (a map of strings)."""
    out = b""
    for number, value in fields:
        if isinstance(value, dict):
            for key, text in value.items():
                out += encode((number, encode((1, key), (2, text))))
        elif isinstance(value, int):
            out += varint(number << 3) + varint(int(value))
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        shift += 7
        if byte < 128:
            return value, at


def decode(data):
    """{field number: [values]}: ints, and bytes of everything that has a length."""
    fields, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            size, at = read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = 8 if key & 7 == 1 else 4
            value, at = data[at : at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields
