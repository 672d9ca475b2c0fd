"""The environment variables of a worker: what decides numbers is fixed, whatever the shell says.

The key of a run says nothing of the shell that it is started from, so nothing that changes its numbers may come from
there: float32, the same random numbers, the same precision of products, wherever it is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from benchmark.execution.machine import gpus

FIXED = {"JAX_ENABLE_X64": "0", "JAX_DEFAULT_PRNG_IMPL": "threefry2x32", "JAX_THREEFRY_PARTITIONABLE": "1"}
PASSED_ON = (
    *("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_*_VISIBLE_DEVICES"),
    *("JAX_COMPILATION_CACHE_*", "JAX_PERSISTENT_CACHE_*", "JAX_ENABLE_COMPILATION_CACHE", "JAX_EXPLAIN_CACHE_MISSES"),
    *("JAX_LOG_*", "JAX_LOGGING_LEVEL", "JAX_DEBUG_*", "JAX_DUMP_IR_*", "JAX_TRACEBACK_*", "JAX_CHECK_TRACER_LEAKS"),
    *("JAX_INCLUDE_*", "JAX_CPU_GET_*_TIMEOUT_MINUTES", "JAX_RAISE_PERSISTENT_CACHE_ERRORS"),
)
"""Variables of JAX that can't change a number: where it runs, its cache, what it says."""


def kept_from_workers() -> list[str]:
    """Variables of JAX's that workers do not get, since they could change numbers."""
    mine = (name for name in os.environ if name.startswith("JAX_"))
    others = (name for name in mine if not any(fnmatch(name, pattern) for pattern in PASSED_ON))
    return sorted(name for name in others if os.environ[name] != FIXED.get(name))


def told() -> list[str]:
    """A line for people, where there is anything to tell."""
    if not (names := kept_from_workers()):
        return []
    return [f"not passed on to workers, whose numbers they could change: {', '.join(names)}"]


def of_worker(site: Mapping[str, Any]) -> dict[str, str]:
    """A worker's variables. On a CPU: one thread for each product, and half the time to compile at equal speed. On a
    GPU that several workers share: its share of the memory; where PyTorch wants some of it, too, JAX takes what it uses
    and no more.

    A traceback ends in its error, not in JAX's words about what it left out.
    """
    own = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    own["JAX_TRACEBACK_FILTERING"] = "off"
    if not gpus():
        flags = "--xla_backend_optimization_level=1 --xla_cpu_multi_thread_eigen=false"
        own["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", flags)
    if site["device_share"] < 1.0:
        own["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * site['device_share']:.3f}"
    if site.get("beside_torch"):
        own["XLA_PYTHON_CLIENT_PREALLOCATE"] = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    kept = kept_from_workers()
    return {name: value for name, value in os.environ.items() if name not in kept} | FIXED | own
