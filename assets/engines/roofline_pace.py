"""How fast work goes that can't be tried whole: products that show matrix units, and prompts by their beginnings."""

import math
import time

# The products by which an engine shows whether it multiplies 16 bits on matrix units: the larger where one product in
# f32 takes less than PROBE_ONCE_S. Launches hide what a fast device does with the smaller.
PROBE_SIZES = (2048, 4096)
PROBE_ONCE_S = 0.05
# Seconds that each timing of a product takes at the least, after a warm-up as long; and how many timings there are.
PROBE_S = 0.05
PROBE_TIMES = 3
# Tokens by which a longer prompt is judged. The first of them are read twice, since the first time costs more.
LENGTHS = (16, 64)
# Tokens of a timed pass that are compared with another path at once, and the seconds after which no more are; and how
# far the logit of a token may lie below the largest, in standard deviations of all, by whether the model is in f32.
CHECKED_TOKENS = 16
CHECKED_S = 3.0
CHECKED_BELOW = {True: 1e-3, False: 0.25}


def probe(products, synchronize, clock=time.perf_counter):
    """The settings that tell how fast 16 and 32 bits are multiplied. `products(n)` makes two functions, of 16 bits and
    of f32, that launch so many products of n × n."""
    n, large = PROBE_SIZES
    launches = products(n)
    spent_s(launches[1], 1, synchronize, clock)
    if spent_s(launches[1], 1, synchronize, clock) * (large / n) ** 3 < PROBE_ONCE_S:
        n, launches = large, products(large)
    return probed(n, *(once_s(launch, synchronize, clock) for launch in launches))


def probed(n, half_s, single_s):
    """Those settings, of the seconds that a product took."""
    half, single = (f"{2 * n**3 / seconds / 1e12:.4g}" for seconds in (half_s, single_s))
    return {"probe-n": str(n), "probe-16-bit-tflops": half, "probe-f32-tflops": single}


def once_s(launch, synchronize, clock):
    """The least time of one product. As many are launched together as take PROBE_S, and as many before, untimed."""
    times, took_s = 1, spent_s(launch, 1, synchronize, clock)
    while took_s < PROBE_S and times < 1 << 16:
        times = math.ceil(times * min(8.0, max(1.2, 1.2 * PROBE_S / max(took_s, 1e-9))))
        took_s = spent_s(launch, times, synchronize, clock)
    return min(spent_s(launch, times, synchronize, clock) for _ in range(PROBE_TIMES)) / times


def spent_s(launch, times, synchronize, clock):
    """Seconds of so many products until all are done."""
    synchronize()
    start = clock()
    launch(times)
    synchronize()
    return max(clock() - start, 1e-9)


def judge(job, read_s, sequences, length, what):
    """Raises `Skipped` where `sequences` of `length` tokens, read once, would take longer than the entry has.

    `read_s(n)` reads the first n tokens of one sequence and gives the seconds. What is spent once, such as the reading
    of the weights, doesn't grow with the length: two lengths tell the two apart.
    """
    short, long = (min(tokens, length) for tokens in LENGTHS)
    read_s(short)
    short_s = read_s(short)
    # The truth can only be more.
    job.afford(short_s, what)
    long_s = read_s(long) if long > short else short_s
    wanted = sequences * length
    if long > short and extrapolated(short, short_s, long, long_s, wanted) > job.budget_s:
        # A machine that was busy for a moment makes a slope of nothing: looked at again before anything is skipped.
        short_s, long_s = min(short_s, read_s(short)), min(long_s, read_s(long))
    job.afford(extrapolated(short, short_s, long, long_s, wanted), what)


def extrapolated(short, short_s, long, long_s, wanted):
    """Seconds of `wanted` tokens on the line through two lengths."""
    each_s = max(long_s - short_s, 0.0) / (long - short) if long > short else long_s / long
    return long_s + each_s * (wanted - long)
