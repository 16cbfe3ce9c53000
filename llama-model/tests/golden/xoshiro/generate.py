"""Writes xoshiro_42.in: floor(100 u) for the first 16 numbers of xoshiro256++ seeded by SplitMix64(42).

A second implementation, in arbitrary-precision integers, of what src/random.rs does in u64.
"""

from pathlib import Path

MASK = (1 << 64) - 1


def split_mix(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def rotate(x, k):
    return ((x << k) | (x >> (64 - k))) & MASK


def xoshiro256pp(state):
    s = list(state)
    while True:
        yield (rotate((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)


# The authors' published outputs for the state 1, 2, 3, 4.
check = xoshiro256pp([1, 2, 3, 4])
assert [next(check) for _ in range(3)] == [41943041, 58720359, 3588806011781223]

seeds = split_mix(42)
numbers = xoshiro256pp([next(seeds) for _ in range(4)])
values = [int(100 * ((next(numbers) >> 11) / 2**53)) for _ in range(16)]
Path(__file__).with_name("xoshiro_42.in").write_text(f"{values}\n")
