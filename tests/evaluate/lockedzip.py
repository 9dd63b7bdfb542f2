"""A zip archive with a password, by PKWARE's traditional encryption (APPNOTE.TXT 6.1)."""

import struct
import zlib
from pathlib import Path


def _row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value


_TABLE = [_row(byte) for byte in range(256)]


def _crc(key: int, byte: int) -> int:
    return (key >> 8) ^ _TABLE[(key ^ byte) & 0xFF]


def _encrypted(data: bytes, password: bytes) -> bytes:
    keys = [0x12345678, 0x23456789, 0x34567890]

    def update(byte: int) -> None:
        keys[0] = _crc(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = _crc(keys[2], keys[1] >> 24)

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in data:
        word = keys[2] | 2
        out.append(byte ^ ((word * (word ^ 1) >> 8) & 0xFF))
        update(byte)
    return bytes(out)


def write_locked_zip(path: Path, name: str, data: bytes, password: str) -> None:
    """One stored, encrypted file."""
    crc = zlib.crc32(data)
    body = _encrypted(bytes(11) + bytes([crc >> 24]) + data, password.encode())
    label = name.encode()
    shared = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 33, crc, len(body), len(data), len(label), 0)
    local = b"PK\x03\x04" + shared + label + body
    central = b"PK\x01\x02" + struct.pack("<H", 20) + shared
    central += struct.pack("<HHHII", 0, 0, 0, 0, 0) + label
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + b"PK\x05\x06" + end)
