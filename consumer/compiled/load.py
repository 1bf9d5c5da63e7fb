"""The loops as machine code in this process.

The object file is made once (`consumer.compiled.build`) and kept in the user's cache folder under a name that follows
from all that it depends on: the source, the versions of numba and llvmlite, and the processor. llvmlite links it into
this process, which takes a tenth of a second; numba is not loaded at all.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import platformdirs

from consumer.python import environment

# Of each loop, what it takes: pointers to elements of a type, and whole numbers.
SIGNATURES = {
    "count_lines": "u8 int",
    "take_apart": "u8 int int i32 i8 f64 f64 f64 i64 int i64",
    "gather": "i32 f64 f64 i64 int f64 f64 i64 u8 u8 f64 i64 i64 i64 i32 f64 f64 i64",
    "draw": "i32 f64 f64 int i32 f64 i64",
}
EXTERNAL = {"floor", "memset", "memcpy"}  # what the loops may call, which is there in every process
PATIENCE = 300.0  # seconds for the compiler; it takes some five
SOURCES = ("build", "lines", "load", "numbers", "pointers", "samples")
_lock = threading.Lock()


class Unavailable(Exception):
    """There is no compiler here, or it cannot make the loops: the plain way has to do."""


def loops() -> Any:
    """The loops by name: functions that take addresses and numbers, and run without holding the interpreter.

    Raises:
        Unavailable: whatever the reason; it is logged once.
    """
    with _lock:  # several deliveries at once: one of them compiles
        found = _loops()
    if isinstance(found, Unavailable):
        raise found
    return found


def loaded() -> bool:
    """Whether `loops` has been called, so that it costs nothing to call it again."""
    return bool(_loops.cache_info().currsize)


@cache
def kept() -> bool:
    """Whether the machine code is there from an earlier time, so that `loops` takes a tenth of a second, not five."""
    try:
        return _place().is_file()
    except Exception:  # noqa: BLE001 - as in `_loops`, which will say what it is
        return False


@cache
def _loops() -> Any:
    try:
        return _linked(_object_files())
    except Exception as error:  # noqa: BLE001 - numba and llvmlite fail in many ways, and the plain way is always there
        logging.getLogger(__name__).warning("results.compiled_unavailable: %s", error)
        return Unavailable(str(error))


def target_machine() -> Any:
    """Code for this very processor."""
    import llvmlite.binding as llvm

    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    intel = llvm.get_process_triple().startswith("x86")
    return target.create_target_machine(  # as numba itself makes it
        cpu=llvm.get_host_cpu_name(),
        features=features,
        opt=3,
        reloc="static" if intel else "default",
        codemodel="jitdefault",
        jit=True,
    )


def _object_files() -> bytes:
    place = _place()
    try:
        data = place.read_bytes()
        if hashlib.sha256(data[32:]).digest() == data[:32]:
            return data[32:]
    except OSError:
        pass
    # Through a pipe, since a file would stay if this process were killed; not where the user is, for numba takes
    # settings from there.
    command = [sys.executable, "-P", "-m", "consumer.compiled.build"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, timeout=PATIENCE, check=False, env=environment()
    )
    if done.returncode:
        raise Unavailable(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
    _keep(place, hashlib.sha256(done.stdout).digest() + done.stdout)
    return done.stdout


def _place() -> Path:
    return Path(platformdirs.user_cache_dir("simcourier")) / "compiled" / f"loops-{_fingerprint()}"


def _keep(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # which does not stay if the disk is full
            made = Path(folder) / path.name
            made.write_bytes(data)
            made.replace(path)
    except OSError as error:  # it is made again the next time
        logging.getLogger(__name__).warning("results.compiled_not_kept: %s", error)


def _fingerprint() -> str:
    """All that the machine code depends on."""
    import llvmlite.binding as llvm

    known = hashlib.sha256()
    try:
        parts = [version("numba"), version("llvmlite"), sys.version]
    except PackageNotFoundError as error:
        raise Unavailable("numba is not installed") from error
    parts += [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    known.update("\n".join(parts).encode())
    here = Path(__file__).parent
    tables = here.parent / "statistics" / "tables.py"
    for path in (*(here / f"{name}.py" for name in SOURCES), here.parent / "formats" / "datalines.py", tables):
        known.update(path.read_bytes())
    return known.hexdigest()[:32]


def _linked(files: bytes) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    symbols: dict[str, str] = {}
    place = 0
    while place < len(files):
        end = files.index(b"\n", place)
        name, symbol, size = files[place:end].decode().split()
        place = end + 1 + int(size)
        engine.add_object_file(llvm.ObjectFileRef.from_data(files[end + 1 : place]))
        symbols[name] = symbol
    engine.finalize_object()
    # Whoever holds a function keeps the engine, and with it the code.
    found = {name: _callable(engine, symbol, SIGNATURES[name]) for name, symbol in symbols.items()}
    linked = SimpleNamespace(engine=engine, **found)
    _try_out(linked)
    return linked


def _try_out(linked: Any) -> None:
    """Take one line apart: whether the pieces were put together rightly."""
    data = np.frombuffer(bytearray(b"7\t12\t0.25\t-1.5e3\n") + bytes(32), np.uint8)
    ids, widths, columns = np.zeros(1, np.int32), np.zeros(1, np.int8), np.zeros((3, 1))
    others, state = np.zeros(4, np.int64), np.zeros(3, np.int64)
    linked.take_apart(data, 0, len(data) - 32, ids, widths, *columns, others, 1, state)
    if (ids[0], widths[0], columns.ravel().tolist(), state.tolist()) != (7, 3, [12, 0.25, -1500], [1, 0, 1]):
        raise Unavailable("the compiled loops do not count right")


def _callable(engine: Any, symbol: str, signature: str) -> Callable[..., int]:
    """The function at a symbol. numba's own calling convention: places for the result and for an error come first."""
    kinds = [ctypes.c_int64 if kind == "int" else ctypes.c_void_p for kind in signature.split()]
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *kinds)
    native = prototype(engine.get_function_address(symbol))

    def call(*arguments: Any) -> int:
        result, error = ctypes.c_int64(), ctypes.c_void_p()
        given = [value if isinstance(value, int) else value.ctypes.data for value in arguments]
        if native(ctypes.byref(result), ctypes.byref(error), *given):
            raise RuntimeError(symbol)  # the loops raise nothing
        return result.value

    return call
