"""Makes machine code of the loops: ``python -m consumer.compiled.build``, in a process of its own.

numba takes half a second to load and some seconds to compile, and keeps a hundred megabytes; whoever only wants to run
the loops needs none of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from numba import njit, types

from consumer.compiled.lines import count_lines, take_apart
from consumer.compiled.load import EXTERNAL, SIGNATURES, target_machine
from consumer.compiled.samples import draw, gather

KINDS = {
    "u8": types.CPointer(types.uint8),
    "i8": types.CPointer(types.int8),
    "i32": types.CPointer(types.int32),
    "i64": types.CPointer(types.int64),
    "f64": types.CPointer(types.float64),
    "int": types.int64,
}
LOOPS: tuple[Callable[..., Any], ...] = (count_lines, take_apart, gather, draw)


def main() -> None:
    """Write names and object files of all loops to standard output, and what anybody else says there elsewhere."""
    with os.fdopen(os.dup(1), "wb") as stream:
        os.dup2(2, 1)
        for loop in LOOPS:
            name, code = compiled(loop)
            stream.write(f"{loop.__name__} {name} {len(code)}\n".encode())
            stream.write(code)


def compiled(loop: Callable[..., Any]) -> tuple[str, bytes]:
    """The symbol and the object file of one loop.

    Raises:
        RuntimeError: it calls something that is not there where it is to run.
    """
    signature = types.int64(*(KINDS[kind] for kind in SIGNATURES[loop.__name__].split()))
    made = njit(signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(loop)
    module = llvm.parse_assembly(made.inspect_llvm(made.signatures[0]))
    names = [function.name for function in module.functions if not function.is_declaration]
    called = {function.name for function in module.functions if function.is_declaration}
    foreign = {name for name in called if not name.startswith("llvm.")} - EXTERNAL
    if len(names) != 1 or foreign:
        raise RuntimeError(f"{loop.__name__} cannot stand alone: {names}, {foreign}")
    return names[0], target_machine().emit_object(module)


if __name__ == "__main__":
    main()
