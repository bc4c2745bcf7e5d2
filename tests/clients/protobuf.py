"""Protobuf messages (protobuf.dev, Encoding), written and read by hand: neither protoc nor generated code."""


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """A field: a number, a text, bytes or a message. What has the default value is left out."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value) if value else b""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def packed(number, values):
    """A field of many numbers."""
    return field(number, b"".join(map(varint, values))) if values else b""


def message(*fields):
    return b"".join(fields)


def put(path, value):
    """A field inside of messages, by the numbers on the way to it. A message may be written in parts."""
    for number in reversed(path):
        value = field(number, value)
    return value


def numbers(data):
    """The numbers of a field of many."""
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    return values


def read(data):
    """The fields of a message: a list of values, numbers or bytes, by field number."""
    fields, at = {}, 0

    def number():
        nonlocal at
        end = at
        while data[end] > 127:
            end += 1
        (value,) = numbers(data[at:end + 1])
        at = end + 1
        return value

    while at < len(data):
        key, value = number(), number()
        if key & 7 == 2:
            at, value = at + value, data[at:at + value]
        fields.setdefault(key >> 3, []).append(value)
    return fields


def get(data, path):
    """What `put` wrote, or nothing."""
    for number in path:
        values = read(data or b"").get(number, [None])
        data = b"".join(values) if isinstance(values[0], bytes) else values[-1]
    return data
