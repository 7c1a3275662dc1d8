"""How fast samples are kept and read again: `python -m tests.benchmarks.store [COUNT]`."""

import gc
import sys
import tempfile
import time
from pathlib import Path

from autotts.store import database
from autotts.store.samples import Samples
from tests.store.world import sample


def main(count: int = 300_000) -> None:
    """Put so many samples, close, and open them again; seconds are of processor time where that is said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "autotts.db"
        engine = database.open(f"sqlite:///{path}")
        items = [sample(number) for number in range(count)]
        gc.collect()
        begun = time.perf_counter()
        with Samples(engine) as samples:
            for order, reply in items:
                samples.put(order, reply)
            put = time.perf_counter() - begun
        closed = time.perf_counter() - begun
        size = path.stat().st_size
        keys = [order.key for order, _ in items]
        del items, samples
        gc.collect()
        begun, cpu = time.perf_counter(), time.process_time()
        with Samples(engine) as samples:
            read, read_cpu = time.perf_counter() - begun, time.process_time() - cpu
            begun = time.perf_counter()
            for key in keys:
                samples.get(key)
            got = time.perf_counter() - begun
        engine.dispose()
    print(f"{count:,} samples, {size / count:.0f} bytes each on disk")
    print(f"put       {count / put:12,.0f} /s")
    print(f"committed {count / closed:12,.0f} /s")
    print(f"read      {count / read:12,.0f} /s  ({read:.1f} s, {read_cpu:.1f} s of processor time)")
    print(f"first get {count / got:12,.0f} /s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
