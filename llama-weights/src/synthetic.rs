//! Seeded random weights of any shape, made row by row when they are read: no file, no memory.
//!
//! Made for benchmarks and tests: activations and logits stay of order 1 to 10, and nothing says what they mean. The same
//! seed, shape and type give the same bytes within one version of this crate.

use std::ops::Range;

use half::{bf16, f16};

use crate::{DType, LayerPart, TensorRole};

/// Standard deviation of matrices and biases, as Llama's own initialisation has it.
const DEVIATION: f32 = 0.02;
/// Norm weights lie within this of 1.
const NORM_SPREAD: f32 = 0.125;

/// Where the values of one tensor come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded {
    key: u64,
    dtype: DType,
    norm: bool,
}

impl Seeded {
    pub(crate) fn new(seed: u64, role: TensorRole, dtype: DType) -> Self {
        Self {
            key: mix(seed ^ mix(number(role))),
            dtype,
            norm: role.is_norm(),
        }
    }

    /// Appends rows of `columns` elements in `dtype`'s layout. A value depends on seed, tensor, row and
    /// column alone, and F32 and F16 give equal values.
    pub(crate) fn append_rows(self, rows: Range<usize>, columns: usize, out: &mut Vec<u8>) {
        let random = rows.map(|row| Random(mix(self.key ^ mix(row as u64))));
        let blocks = columns / self.dtype.block_elements();
        match self.dtype {
            DType::F32 => {
                let levels = self.levels().map(|x| x.to_f32().to_le_bytes());
                random.for_each(|random| append_levels(&levels, columns, random, out));
            }
            DType::F16 => {
                let levels = self.levels().map(f16::to_le_bytes);
                random.for_each(|random| append_levels(&levels, columns, random, out));
            }
            DType::BF16 => {
                let levels = self
                    .levels()
                    .map(|x| bf16::from_f32(x.to_f32()).to_le_bytes());
                random.for_each(|random| append_levels(&levels, columns, random, out));
            }
            DType::Q8_0 => random.for_each(|random| append_q8_0(blocks, random, out)),
            DType::Q4_0 => random.for_each(|random| append_q4_0(blocks, random, out)),
            DType::Int4 => random.for_each(|random| append_int4(blocks, random, out)),
            DType::Q4_1
            | DType::Q5_0
            | DType::Q5_1
            | DType::Q2K
            | DType::Q3K
            | DType::Q4K
            | DType::Q5K
            | DType::Q6K => {
                let halves = halves(self.dtype);
                let bytes = self.dtype.block_bytes();
                random.for_each(|random| append_random(blocks, bytes, halves, random, out));
            }
        }
    }

    /// The 256 values that a random byte chooses from, evenly spaced; the standard deviation of such values is the
    /// largest of them divided by √3.
    fn levels(self) -> [f16; 256] {
        std::array::from_fn(|byte| {
            let even = (byte as f32 - 127.5) / 127.5;
            f16::from_f32(if self.norm {
                1.0 + even * NORM_SPREAD
            } else {
                even * DEVIATION * 3f32.sqrt()
            })
        })
    }
}

/// Eight values from each random number.
fn append_levels<const N: usize>(
    levels: &[[u8; N]; 256],
    columns: usize,
    mut random: Random,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.resize(start + columns * N, 0);
    for eight in out[start..].chunks_mut(8 * N) {
        let bytes = random.next().to_le_bytes();
        for (value, byte) in eight.chunks_exact_mut(N).zip(bytes) {
            value.copy_from_slice(&levels[usize::from(byte)]);
        }
    }
}

/// Quants are random bytes without −128; 73.3 is their standard deviation.
fn append_q8_0(blocks: usize, mut random: Random, out: &mut Vec<u8>) {
    let scale = f16::from_f32(DEVIATION / 73.3).to_le_bytes();
    for _ in 0..blocks {
        out.extend_from_slice(&scale);
        for _ in 0..4 {
            let quants = random.next().to_le_bytes();
            out.extend_from_slice(&quants.map(|q| q | u8::from(q == 0x80)));
        }
    }
}

/// Quants are random nibbles, −8 to 7: 4.64 is their root mean square. Their mean is −½, so the scale's sign is
/// random too.
fn append_q4_0(blocks: usize, mut random: Random, out: &mut Vec<u8>) {
    let scale = f16::from_f32(DEVIATION / 4.64);
    for _ in 0..blocks {
        let [a, b, c] = [random.next(), random.next(), random.next()];
        let signed = if c & 1 == 0 { scale } else { -scale };
        out.extend_from_slice(&signed.to_le_bytes());
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&b.to_le_bytes());
    }
}

/// Quants and zeros are random, the zeros 7 or 8, whose mean is that of the quants: their distance has a root mean square of √(4.61² + ½²).
fn append_int4(blocks: usize, mut random: Random, out: &mut Vec<u8>) {
    let scale = f16::from_f32(DEVIATION / 4.64).to_le_bytes();
    for _ in 0..blocks {
        let [a, b, c] = [random.next(), random.next(), random.next()];
        out.extend_from_slice(&scale);
        out.extend_from_slice(&(7 + (c & 1) as u16).to_le_bytes());
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&b.to_le_bytes());
    }
}

/// Of a block of random bits: the byte at which its scale stands, the standard deviation of the values where that is 1, and the least
/// value that makes their mean 0, in scales (negative where the format adds it, positive where it takes it away). With s, q and l as in
/// [`crate::quant`], uniform and independent, the deviation of d·s·q − m·l is √(E s² · E q² − (E s · E q)² + m² · var l).
fn halves(dtype: DType) -> (usize, f32, Option<f32>) {
    match dtype {
        DType::Q4_1 => (0, 4.61, Some(-7.5)),
        DType::Q5_0 => (0, 9.25, None),
        DType::Q5_1 => (0, 9.23, Some(-15.5)),
        DType::Q2K => (80, 13.9, Some(1.5)),
        DType::Q3K => (108, 43.3, None),
        DType::Q4K => (0, 258.3, Some(7.5)),
        DType::Q5K => (0, 526.9, Some(15.5)),
        DType::Q6K => (208, 1365.7, None),
        // Have their own functions, which no bit of a file format shall change: seeds keep their bytes.
        DType::F32 | DType::F16 | DType::BF16 | DType::Q8_0 | DType::Q4_0 | DType::Int4 => {
            (0, 1.0, None)
        }
    }
}

/// Blocks of random bits with the scale and least value that give the values their deviation. The sign of the scale is random, since
/// quants of a symmetric type have a mean of −½.
fn append_random(
    blocks: usize,
    bytes: usize,
    (at, deviation, least): (usize, f32, Option<f32>),
    mut random: Random,
    out: &mut Vec<u8>,
) {
    let scale = DEVIATION / deviation;
    for _ in 0..blocks {
        let start = out.len();
        out.resize(start + bytes, 0);
        let block = &mut out[start..];
        for eight in block.chunks_mut(8) {
            eight.copy_from_slice(&random.next().to_le_bytes()[..eight.len()]);
        }
        let signed = if random.next() & 1 == 0 {
            scale
        } else {
            -scale
        };
        block[at..at + 2].copy_from_slice(&f16::from_f32(signed).to_le_bytes());
        if let Some(least) = least {
            let least = f16::from_f32(signed * least).to_le_bytes();
            block[at + 2..at + 4].copy_from_slice(&least);
        }
    }
}

/// A number per tensor that does not depend on how the enums are laid out.
fn number(role: TensorRole) -> u64 {
    match role {
        TensorRole::Embedding => 0,
        TensorRole::OutputNorm => 1,
        TensorRole::Output => 2,
        TensorRole::Layer { index, part } => {
            let parts = LayerPart::ALL.len() as u64;
            let part = LayerPart::ALL.iter().position(|&p| p == part).unwrap_or(0);
            3 + index as u64 * parts + part as u64
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014): a counter through [`mix`].
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
