//! Quants of a block of 32 columns in the order of the GPU: four columns to a word of bytes, nibbles of columns 0 to 15 low.

/// Quants of a block, one to a byte.
pub(super) type Quants = [u8; 32];

/// The low nibbles: byte j holds columns j (low) and 16 + j.
pub(super) fn nibbles(quants: &Quants) -> [u8; 16] {
    std::array::from_fn(|j| quants[j] & 15 | (quants[16 + j] & 15) << 4)
}

/// [`nibbles`] undone.
pub(super) fn of_nibbles(nibbles: &[u8]) -> Quants {
    std::array::from_fn(|i| nibbles[i % 16] >> (i / 16 * 4) & 15)
}

/// Bits 4 of all: bit `8j + 4h + w` is that of column `16h + 4w + j`, so that shifting by `4h + w` brings those of a word of four
/// columns under their bytes.
pub(super) fn fifth_bits(quants: &Quants) -> [u8; 4] {
    std::array::from_fn(|j| {
        (0..8).fold(0, |bits, place| {
            bits | (quants[4 * place + j] >> 4 & 1) << place
        })
    })
}

/// [`fifth_bits`] undone: 0 or 16 in each column.
pub(super) fn of_fifth_bits(bits: &[u8]) -> Quants {
    std::array::from_fn(|i| (bits[i % 4] >> (i / 4) & 1) << 4)
}

/// Bits 0 and 1 of all: bits `2w` and `2w + 1` of byte `4h + j` are those of column `16h + 4w + j`.
pub(super) fn twos(quants: &Quants) -> [u8; 8] {
    std::array::from_fn(|byte| {
        let (h, j) = (byte / 4, byte % 4);
        (0..4).fold(0, |bits, w| {
            bits | (quants[16 * h + 4 * w + j] & 3) << (2 * w)
        })
    })
}

/// [`twos`] undone.
pub(super) fn of_twos(twos: &[u8]) -> Quants {
    std::array::from_fn(|i| twos[i / 16 * 4 + i % 4] >> (i / 4 % 4 * 2) & 3)
}
