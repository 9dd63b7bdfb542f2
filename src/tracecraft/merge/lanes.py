"""Arithmetic on 16 and 32 bits that stays as narrow as its operands, for the compiled kernels.

Numba computes unsigned integers in 64 bits, which leaves a vector unit a half or a quarter of its
lanes. These few operations say to the compiler what is meant.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic


def _int(width: int) -> Any:
    return ir.IntType(width)


@intrinsic  # type: ignore[untyped-decorator]
def value(_: Any, raw: Any, shift: Any) -> Any:
    """The float32 whose bits are `raw` shifted left."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        bits = args[0] if args[0].type.width == 32 else builder.zext(args[0], _int(32))
        return builder.bitcast(builder.shl(bits, args[1]), ir.FloatType())

    return types.float32(raw, types.uint32), build


@intrinsic  # type: ignore[untyped-decorator]
def as_float(_: Any, bits: Any) -> Any:
    """The float32 of those bits."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), build


@intrinsic  # type: ignore[untyped-decorator]
def as_bits(_: Any, number: Any) -> Any:
    """The bits of a float32."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _int(32))

    return types.uint32(types.float32), build


@intrinsic  # type: ignore[untyped-decorator]
def unsigned(_: Any, bits: Any) -> Any:
    """Raw bits without their highest: of a float, the bits of its magnitude."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        width = args[0].type.width
        return builder.and_(args[0], ir.Constant(args[0].type, (1 << (width - 1)) - 1))

    return bits(bits), build


@intrinsic  # type: ignore[untyped-decorator]
def larger(_: Any, one: Any, two: Any) -> Any:
    """The larger of two unsigned integers of one type."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.select(builder.icmp_unsigned(">", args[0], args[1]), args[0], args[1])

    return one(one, one), build


@intrinsic  # type: ignore[untyped-decorator]
def smaller(_: Any, one: Any, two: Any) -> Any:
    """The smaller of two unsigned integers of one type."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.select(builder.icmp_unsigned("<", args[0], args[1]), args[0], args[1])

    return one(one, one), build


@intrinsic  # type: ignore[untyped-decorator]
def less(_: Any, one: Any, two: Any) -> Any:
    """The difference of two unsigned integers of one type, which wraps."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.sub(args[0], args[1])

    return one(one, one), build


@intrinsic  # type: ignore[untyped-decorator]
def plus_sign(_: Any, count: Any, bits: Any) -> Any:
    """`count` and one more where the highest bit is set."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        top = ir.Constant(args[1].type, args[1].type.width - 1)
        return builder.add(args[0], builder.lshr(args[1], top))

    return count(count, bits), build


@intrinsic  # type: ignore[untyped-decorator]
def plus_zero(_: Any, count: Any, number: Any) -> Any:
    """`count` and one more where the float32 is zero."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        zero = builder.fcmp_ordered("==", args[1], ir.Constant(ir.FloatType(), 0.0))
        return builder.add(args[0], builder.zext(zero, args[0].type))

    return count(count, number), build


@intrinsic  # type: ignore[untyped-decorator]
def beyond(_: Any, one: Any, two: Any) -> Any:
    """By how much the first of two unsigned integers of one type is larger, else zero."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        over = builder.icmp_unsigned(">", args[0], args[1])
        zero = ir.Constant(args[0].type, 0)
        return builder.select(over, builder.sub(args[0], args[1]), zero)

    return one(one, one), build


@intrinsic  # type: ignore[untyped-decorator]
def is_zero(_: Any, bits: Any) -> Any:
    """One byte: 1 where the integer is zero, else 0."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        zero = builder.icmp_unsigned("==", args[0], ir.Constant(args[0].type, 0))
        return builder.zext(zero, _int(8))

    return types.uint8(bits), build


@intrinsic  # type: ignore[untyped-decorator]
def code(_: Any, number: Any) -> Any:
    """The whole part of a float32 from 0 to below 2^15, as 16 bits."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.trunc(builder.fptosi(args[0], _int(32)), _int(16))

    return types.uint16(types.float32), build


@intrinsic  # type: ignore[untyped-decorator]
def first_bit(_: Any, word: Any) -> Any:
    """The place of the lowest bit that is set in a word that is not zero."""

    def build(_c: Any, builder: Any, _s: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(_int(1), 1))

    return types.uint64(types.uint64), build
