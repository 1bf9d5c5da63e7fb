"""What numba lacks: eight bytes at once from any place, the lowest bit of a word, an array by its address."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD = ir.IntType(64)


@intrinsic
def word_at(_typing: Any, data: Any, place: Any) -> Any:
    """The eight bytes from this place on, the first one lowest."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        first = builder.bitcast(arguments[0], ir.IntType(8).as_pointer())
        loaded = builder.load(builder.bitcast(builder.gep(first, [arguments[1]]), _WORD.as_pointer()))
        loaded.align = 1
        return loaded

    return types.uint64(data, place), code


@intrinsic
def zeros_below(_typing: Any, word: Any) -> Any:
    """How many bits below the lowest one that is set; the word is not 0."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(word), code


@intrinsic
def doubles_at(_typing: Any, address: Any) -> Any:
    """The doubles at an address."""
    kind = types.CPointer(types.float64)

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(address), code
