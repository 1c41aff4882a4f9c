"""The values of operands, as docs/engine-protocol.md defines them: hashed, so that both sides know every element."""

import array
import os
import threading

SEEDS = {
    "gemm-a": 0x51ED270B,
    "gemm-b": 0xB5297A4D,
    "attention-q": 0x3C6EF372,
    "attention-k": 0xA54FF53A,
    "attention-v": 0x510E527F,
    "bandwidth-a": 0x2C1B3C6D,
    "bandwidth-b": 0x8F1445FB,
}
TRIAD_SCALE = 0.40625
WRITTEN = 1.5
BITS = {"f32": 24, "tf32": 24, "f16": 11, "bf16": 8}


def pcg(index):
    """The hash that operands are made of, of a 32-bit number."""
    state = (index * 747796405 + 2891336453) & 0xFFFFFFFF
    word = (((state >> ((state >> 28) + 4)) ^ state) * 277803737) & 0xFFFFFFFF
    return (word >> 22) ^ word


def unit(dtype, seed, index):
    """The element at `index` of the array that `seed` names: in [−1, 1), and exact in its type."""
    bits = BITS[dtype]
    return (pcg((index ^ seed) & 0xFFFFFFFF) >> (32 - bits)) / float(1 << (bits - 1)) - 1.0


def operand(dtype, seed, count, point=lambda: None):
    """The first `count` elements in f32: a NumPy array, or one of the module `array` where there is no NumPy."""
    try:
        import numpy
    except ImportError:
        return array.array("f", (unit(dtype, seed, index) for index in range(count)))
    values = numpy.empty(count, numpy.float32)
    # Pieces that stay in a core's cache; NumPy lets other threads run meanwhile.
    piece = 1 << 17
    starts = iter(range(0, count, piece))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                start = next(starts, None)
            if start is None or stopped.is_set():
                return
            _hash_into(numpy, values[start : start + piece], dtype, seed, start)

    stopped = threading.Event()
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(16, os.cpu_count() or 1))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.05)
                point()
    finally:
        stopped.set()
    return values


def _hash_into(numpy, out, dtype, seed, start):
    bits = BITS[dtype]
    u32 = numpy.uint32
    state = (numpy.arange(start, start + len(out), dtype=numpy.uint64) & 0xFFFFFFFF).astype(u32)
    state ^= u32(seed)
    state *= u32(747796405)
    state += u32(2891336453)
    word = state >> ((state >> u32(28)) + u32(4))
    word ^= state
    word *= u32(277803737)
    word ^= word >> u32(22)
    word >>= u32(32 - bits)
    numpy.multiply(word, numpy.float32(1.0 / (1 << (bits - 1))), out=out, casting="unsafe")
    out -= numpy.float32(1.0)
