"""Compiled kernels: the decorator that caches them, and the few instructions numba lacks.

Only kernels import this module: it loads numba. Compiled code lies in the user's cache folder
under the digest of all kernel sources, because numba's own check (time and size of the one file
that holds the function) misses a changed callee and a reproducible wheel's constant times.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

KERNELS = ("jit.py", "sketch.py", "overlap.py", "sha1.py", "grams.py", "jsonscan.py")
"""The files that hold compiled code."""

_I8, _I32, _I64, _I128 = (ir.IntType(bits) for bits in (8, 32, 64, 128))
_BYTES = ir.VectorType(_I8, 64)
_LANES = ir.VectorType(_I32, 16)


def _cache_folder() -> Path:
    sources = b"".join(
        (Path(__file__).with_name(name)).read_bytes()
        for name in KERNELS
        if Path(__file__).with_name(name).exists()
    )
    stamp = hashlib.blake2b(sources + numba.__version__.encode(), digest_size=6).hexdigest()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tracecraft" / "kernels" / stamp


_FOLDER = numba.config.CACHE_DIR or str(_cache_folder())


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled on first call and kept for later processes where a disk allows."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, _FOLDER
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    except RuntimeError:  # numba: no place on this machine can hold a cache
        return numba.njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A small function that its callers swallow whole."""
    return numba.njit(inline="always")(function)  # type: ignore[no-any-return]


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _read(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(_pointer(builder, address, kind))
    value.align = 1
    return value


def _write(builder: Any, value: Any, address: Any, kind: Any) -> None:
    builder.store(value, _pointer(builder, address, kind)).align = 1


def _all(byte: int) -> Any:
    return ir.Constant(_BYTES, [byte] * 64)


@intrinsic  # type: ignore[untyped-decorator]
def load64(typing: Any, address: Any) -> Any:
    """The eight bytes at an address, little end first."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _read(builder, given[0], _I64)

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def load8(typing: Any, address: Any) -> Any:
    """The byte at an address."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.zext(_read(builder, given[0], _I8), _I64)

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def store64(typing: Any, address: Any, value: Any) -> Any:
    """Write eight bytes, little end first."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _write(builder, given[1], given[0], _I64)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def store8(typing: Any, address: Any, value: Any) -> Any:
    """Write the lowest byte."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _write(builder, builder.trunc(given[1], _I8), given[0], _I8)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def copy_block(typing: Any, source: Any, target: Any) -> Any:
    """Copy 64 bytes."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _write(builder, _read(builder, given[0], _BYTES), given[1], _BYTES)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def lower_block(typing: Any, address: Any) -> Any:
    """Make the ASCII capitals among the 64 bytes at an address small."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        text = _read(builder, given[0], _BYTES)
        capital = builder.icmp_unsigned("<=", builder.sub(text, _all(ord("A"))), _all(25))
        small = builder.add(text, builder.select(capital, _all(32), _all(0)))
        _write(builder, small, given[0], _BYTES)
        return context.get_dummy_value()

    return types.void(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def space_mask(typing: Any, address: Any) -> Any:
    """Bit i: byte i of the 64 at the address is ASCII white space as `str.split` sees it."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        text = _read(builder, given[0], _BYTES)
        controls = builder.icmp_unsigned("<=", builder.sub(text, _all(9)), _all(4))
        separators = builder.icmp_unsigned("<=", builder.sub(text, _all(28)), _all(4))
        return builder.bitcast(builder.or_(controls, separators), _I64)

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def beyond_mask(typing: Any, address: Any) -> Any:
    """Bit i: byte i of the 64 at the address is not ASCII."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        text = _read(builder, given[0], _BYTES)
        return builder.bitcast(builder.icmp_signed("<", text, _all(0)), _I64)

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def halting_mask(typing: Any, address: Any) -> Any:
    """Bit i: byte i of the 64 at the address ends a run of a JSON string: a quote, a backslash
    or a control character.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        text = _read(builder, given[0], _BYTES)
        marks = builder.or_(
            builder.icmp_unsigned("==", text, _all(ord('"'))),
            builder.icmp_unsigned("==", text, _all(ord("\\"))),
        )
        halts = builder.or_(marks, builder.icmp_unsigned("<", text, _all(32)))
        return builder.bitcast(halts, _I64)

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def byte_mask(typing: Any, address: Any, byte: Any) -> Any:
    """Bit i: byte i of the 64 at the address is this one."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        text = _read(builder, given[0], _BYTES)
        none = ir.Constant(_BYTES, ir.Undefined)
        first = builder.insert_element(none, builder.trunc(given[1], _I8), ir.Constant(_I32, 0))
        every = builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(_I32, 64), [0] * 64))
        return builder.bitcast(builder.icmp_unsigned("==", text, every), _I64)

    return types.uint64(types.uint64, types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(typing: Any, bits: Any) -> Any:
    """Where the lowest set bit is; 64 for 0."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def ones(typing: Any, bits: Any) -> Any:
    """How many bits are set."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ctpop(given[0])

    return types.uint64(types.uint64), code


@intrinsic  # type: ignore[untyped-decorator]
def mum(typing: Any, left: Any, right: Any) -> Any:
    """The two halves of a 128-bit product, xored."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        product = builder.mul(*(builder.zext(value, _I128) for value in given))
        high = builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)
        return builder.xor(builder.trunc(product, _I64), high)

    return types.uint64(types.uint64, types.uint64), code


UNROLLED = 2
"""Hashes that one turn of `least_images` takes. Their number must be a multiple of it: the caller
repeats the last one."""


def _everywhere(builder: Any, value: Any) -> Any:
    none = ir.Constant(_LANES, ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, none, ir.Constant(_LANES, [0] * 16))


def least_images(vectors: int) -> Any:
    """An instruction: the least `a*h + b` mod 2**32 over all hashes h, for 16 × `vectors` (a, b).

    The running minima stay in registers for the whole loop, which a compiler does not find.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        hashes, count, a_at, b_at, out = given

        def place(base: Any, k: int) -> Any:
            return builder.add(base, ir.Constant(_I64, 64 * k))

        def all_at(base: Any) -> list[Any]:
            return [_read(builder, place(base, k), _LANES) for k in range(vectors)]

        a, b, first = all_at(a_at), all_at(b_at), all_at(out)
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("images", "imaged"))
        zero = ir.Constant(_I64, 0)
        builder.cbranch(builder.icmp_signed(">", count, zero), loop, done)
        builder.position_at_end(loop)
        i = builder.phi(_I64)
        i.add_incoming(zero, entry)
        least = [builder.phi(_LANES) for _ in range(vectors)]
        after = list(least)
        for n in range(UNROLLED):
            at = builder.add(hashes, builder.shl(i, ir.Constant(_I64, 2)))
            at = builder.add(at, ir.Constant(_I64, 4 * n))
            same = _everywhere(builder, _read(builder, at, _I32))
            for k in range(vectors):
                image = builder.add(builder.mul(same, a[k]), b[k])
                less = builder.icmp_unsigned("<", image, after[k])
                after[k] = builder.select(less, image, after[k])
        step = builder.add(i, ir.Constant(_I64, UNROLLED))
        builder.cbranch(builder.icmp_signed("<", step, count), loop, done)
        i.add_incoming(step, loop)
        for k in range(vectors):
            least[k].add_incoming(first[k], entry)
            least[k].add_incoming(after[k], loop)
        builder.position_at_end(done)
        for k in range(vectors):
            found = builder.phi(_LANES)
            found.add_incoming(first[k], entry)
            found.add_incoming(after[k], loop)
            after[k] = found
        for k in range(vectors):
            _write(builder, after[k], place(out, k), _LANES)
        return context.get_dummy_value()

    def images(typing: Any, hashes: Any, count: Any, a: Any, b: Any, out: Any) -> Any:
        word = types.uint64
        return types.void(word, types.int64, word, word, word), code

    return intrinsic(images)
