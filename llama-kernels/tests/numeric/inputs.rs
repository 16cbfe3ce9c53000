//! Seeded inputs, each as the GPU's object and as what the reference takes.

use half::f16;
use llama_kernels::{
    Error, Gpu, StepBuffer, StepLayout, StepRow, Tensor, TokenSource, WeightFormat, WeightMatrix,
    padded, reference,
};

pub(crate) const FORMATS: [WeightFormat; 10] = WeightFormat::ALL;

/// The weight format of the variant that is tried; all where none is.
pub(crate) fn formats(gpu: &Gpu) -> Vec<WeightFormat> {
    let choice = gpu.preferred().and_then(|variant| variant.slot("weight"));
    let tried = |format: &WeightFormat| choice.is_none_or(|name| name == format.name());
    FORMATS.into_iter().filter(tried).collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from [-1, 1).
    pub(crate) fn value(&mut self) -> f32 {
        (self.word() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.value()).collect()
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// The numbers 0 .. count in some order.
    pub(crate) fn order(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// Rows of `columns` values with each row padded, as the reference takes them.
pub(crate) fn pad(values: &[f32], columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len() / columns * padded(columns));
    for row in values.chunks_exact(columns) {
        out.extend_from_slice(row);
        out.resize(out.len() + padded(columns) - columns, 0.0);
    }
    out
}

/// The values of padded rows.
pub(crate) fn unpad(rows: &[f32], columns: usize) -> Vec<f32> {
    rows.chunks_exact(padded(columns))
        .flat_map(|row| &row[..columns])
        .copied()
        .collect()
}

/// A tensor of the given values, and the same padded.
pub(crate) fn tensor(
    gpu: &Gpu,
    label: &str,
    columns: usize,
    values: &[f32],
) -> Result<(Tensor, Vec<f32>), Error> {
    let tensor = gpu.tensor(label, values.len() / columns, columns)?;
    gpu.write_f32(&tensor, 0, values)?;
    Ok((tensor, pad(values, columns)))
}

/// As many columns, or the next number that rows of this format can have.
pub(crate) fn whole_blocks(format: WeightFormat, columns: usize) -> usize {
    columns.next_multiple_of(format.block_columns())
}

/// A random matrix in a format, and its decoded rows.
pub(crate) fn weights(
    gpu: &Gpu,
    format: WeightFormat,
    rows: usize,
    columns: usize,
    random: &mut Random,
) -> Result<(WeightMatrix, Vec<f32>), Error> {
    let bytes = file_rows(format, rows, columns, random);
    let matrix = WeightMatrix::new(gpu, "weights", format, rows, columns)?;
    matrix.write_rows(gpu, 0, &bytes)?;
    let mut decoded = Vec::new();
    reference::decode_rows(format, columns, &bytes, &mut decoded);
    Ok((matrix, decoded))
}

/// Random rows in the file's layout of a format; every quant and sign occurs.
pub(crate) fn file_rows(
    format: WeightFormat,
    rows: usize,
    columns: usize,
    random: &mut Random,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows * format.file_row_bytes(columns));
    let blocks = rows * columns / format.block_columns();
    let quants = |bytes: &mut Vec<u8>, count: usize, random: &mut Random| {
        bytes.extend((0..count).map(|_| random.word() as u8));
    };
    let half = |bytes: &mut Vec<u8>, random: &mut Random, size: f32| {
        bytes.extend(f16::from_f32(random.value() * size).to_le_bytes());
    };
    for _ in 0..blocks {
        let bytes = &mut bytes;
        match format {
            WeightFormat::F32 => bytes.extend(random.value().to_le_bytes()),
            WeightFormat::F16 => half(bytes, random, 1.0),
            WeightFormat::Q8_0 | WeightFormat::Q4_0 => {
                half(bytes, random, 1.0 / 16.0);
                quants(bytes, format.file_block_bytes() - 2, random);
            }
            WeightFormat::Int4 => {
                half(bytes, random, 1.0 / 16.0);
                bytes.extend((random.below(17) as u16).to_le_bytes());
                quants(bytes, 16, random);
            }
            WeightFormat::Q5_1 => {
                half(bytes, random, 1.0 / 16.0);
                half(bytes, random, 1.0);
                quants(bytes, 20, random);
            }
            WeightFormat::Q2K => {
                quants(bytes, 80, random);
                half(bytes, random, 1.0 / 32.0);
                half(bytes, random, 1.0 / 32.0);
            }
            WeightFormat::Q4K | WeightFormat::Q5K => {
                half(bytes, random, 1.0 / 512.0);
                half(bytes, random, 1.0 / 64.0);
                quants(bytes, format.file_block_bytes() - 4, random);
            }
            WeightFormat::Q6K => {
                quants(bytes, 208, random);
                half(bytes, random, 1.0 / 2048.0);
            }
        }
    }
    bytes
}

/// A step buffer of the given rows with one page table per sequence; angles are all zero pairs of length
/// `pairs` unless given.
pub(crate) fn step(
    gpu: &Gpu,
    rows: &[StepRow],
    tables: &[&[u32]],
    page_size: usize,
    pairs: usize,
    angles: &[f32],
) -> Result<StepBuffer, Error> {
    let longest = tables.iter().map(|table| table.len()).max().unwrap_or(1);
    let layout = StepLayout {
        max_rows: rows.len(),
        max_sequences: tables.len(),
        pages_per_sequence: longest,
        page_size,
        rope_pairs: pairs,
    };
    let step = StepBuffer::new(gpu, layout)?;
    step.write(gpu, rows, tables, angles)?;
    Ok(step)
}

/// A row of the only sequence, wanted or not.
pub(crate) fn step_row(token: u32, position: usize, wants_logits: bool) -> StepRow {
    StepRow {
        token: TokenSource::Id(token),
        position: position as u32,
        sequence: 0,
        wants_logits,
        draw: 0,
    }
}
