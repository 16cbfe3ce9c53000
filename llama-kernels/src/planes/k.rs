//! Blocks whose quants are made of parts that lie apart: Q5_1 and the K types. File layouts are ggml's.

use super::quants::{Quants, fifth_bits, nibbles, of_fifth_bits, of_nibbles, of_twos, twos};

/// File: scale, least value, a u32 whose bit i is the fifth bit of column i, nibbles.
pub(super) fn split_q5_1(block: &[u8], data: &mut Vec<u8>, scales: &mut Vec<u8>) {
    scales.extend_from_slice(&block[..4]);
    let quants: Quants = std::array::from_fn(|i| (block[4 + i / 8] >> (i % 8) & 1) << 4);
    scales.extend(fifth_bits(&quants));
    data.extend_from_slice(&block[8..]);
}

pub(super) fn join_q5_1(data: &[u8], record: &[u8], file: &mut Vec<u8>) {
    file.extend_from_slice(&record[..4]);
    let quants = of_fifth_bits(&record[4..]);
    let byte = |byte: usize| (0..8).fold(0, |bits, i| bits | (quants[8 * byte + i] >> 4) << i);
    file.extend((0..4).map(byte));
    file.extend_from_slice(data);
}

/// File: 16 bytes of s and l, 64 of quants, d, m.
pub(super) fn split_q2_k(block: &[u8], data: &mut Vec<u8>, scales: &mut Vec<u8>) {
    scales.extend_from_slice(&block[..16]);
    scales.extend_from_slice(&block[80..84]);
    for group in 0..8 {
        data.extend(twos(&file_twos(&block[16..80], group)));
    }
}

pub(super) fn join_q2_k(data: &[u8], record: &[u8], file: &mut Vec<u8>) {
    file.extend_from_slice(&record[..16]);
    let quants = groups(|group| of_twos(&data[8 * group..]));
    file.extend(to_file_twos(&quants));
    file.extend_from_slice(&record[16..]);
}

/// File: d, m, 12 bytes of s and l, 128 of nibbles.
pub(super) fn split_q4_k(block: &[u8], data: &mut Vec<u8>, scales: &mut Vec<u8>) {
    scales.extend_from_slice(&block[..4]);
    scales.extend(scale_words(&block[4..16]));
    for group in 0..8 {
        data.extend(nibbles(&file_nibbles(&block[16..], group)));
    }
}

pub(super) fn join_q4_k(data: &[u8], record: &[u8], file: &mut Vec<u8>) {
    file.extend_from_slice(&record[..4]);
    file.extend(to_file_scales(&record[4..]));
    let quants = groups(|group| of_nibbles(&data[16 * group..]));
    file.extend(to_file_nibbles(&quants));
}

/// File: as Q4_K, with 32 bytes of fifth bits before the nibbles.
pub(super) fn split_q5_k(block: &[u8], data: &mut Vec<u8>, scales: &mut Vec<u8>) {
    scales.extend_from_slice(&block[..4]);
    scales.extend(scale_words(&block[4..16]));
    for group in 0..8 {
        let fifth: Quants = std::array::from_fn(|i| (block[16 + i] >> group & 1) << 4);
        scales.extend(fifth_bits(&fifth));
        data.extend(nibbles(&file_nibbles(&block[48..], group)));
    }
}

pub(super) fn join_q5_k(data: &[u8], record: &[u8], file: &mut Vec<u8>) {
    file.extend_from_slice(&record[..4]);
    file.extend(to_file_scales(&record[4..16]));
    let fifth = groups(|group| of_fifth_bits(&record[16 + 4 * group..]));
    file.extend(
        (0..32).map(|i| (0..8).fold(0, |bits, group| bits | (fifth[group][i] >> 4) << group)),
    );
    let quants = groups(|group| of_nibbles(&data[16 * group..]));
    file.extend(to_file_nibbles(&quants));
}

/// File: 128 bytes of nibbles, 64 of the two bits above, 16 of s, d.
pub(super) fn split_q6_k(block: &[u8], data: &mut Vec<u8>, scales: &mut Vec<u8>) {
    scales.extend_from_slice(&block[192..208]);
    for group in 0..8 {
        scales.extend(twos(&file_twos(&block[128..192], group)));
        data.extend(nibbles(&file_nibbles_q6(block, group)));
    }
    scales.extend_from_slice(&block[208..210]);
    scales.extend([0; 2]);
}

pub(super) fn join_q6_k(data: &[u8], record: &[u8], file: &mut Vec<u8>) {
    let low = groups(|group| of_nibbles(&data[16 * group..]));
    for half in [0, 4] {
        for quarter in [half, half + 1] {
            file.extend((0..32).map(|i| low[quarter][i] | low[quarter + 2][i] << 4));
        }
    }
    let high = groups(|group| of_twos(&record[16 + 8 * group..]));
    file.extend(to_file_twos(&high));
    file.extend_from_slice(&record[..16]);
    file.extend_from_slice(&record[80..82]);
}

fn groups(quants: impl FnMut(usize) -> Quants) -> [Quants; 8] {
    std::array::from_fn(quants)
}

/// Of 64 bytes, each 32 hold 128 columns, the first 32 of them in the lowest bits.
fn file_twos(bytes: &[u8], group: usize) -> Quants {
    let (first, shift) = (group / 4 * 32, group % 4 * 2);
    std::array::from_fn(|i| bytes[first + i] >> shift & 3)
}

fn to_file_twos(quants: &[Quants; 8]) -> impl Iterator<Item = u8> + '_ {
    (0..64).map(move |byte| {
        let (first, i) = (byte / 32 * 4, byte % 32);
        (0..4).fold(0, |bits, quarter| {
            bits | (quants[first + quarter][i] & 3) << (2 * quarter)
        })
    })
}

/// Of 128 bytes, each 32 hold 64 columns, the first 32 of them in the low nibbles.
fn file_nibbles(bytes: &[u8], group: usize) -> Quants {
    let (first, shift) = (group / 2 * 32, group % 2 * 4);
    std::array::from_fn(|i| bytes[first + i] >> shift & 15)
}

fn to_file_nibbles(quants: &[Quants; 8]) -> impl Iterator<Item = u8> + '_ {
    (0..128).map(|byte| {
        let (group, i) = (byte / 32 * 2, byte % 32);
        quants[group][i] | quants[group + 1][i] << 4
    })
}

/// Of 128 bytes, each 64 hold 128 columns, the first 64 of them in the low nibbles.
fn file_nibbles_q6(bytes: &[u8], group: usize) -> Quants {
    let (first, shift) = (group / 4 * 64 + group % 2 * 32, group % 4 / 2 * 4);
    std::array::from_fn(|i| bytes[first + i] >> shift & 15)
}

/// Three words: the low nibbles of the eight s, those of the eight l, and the two bits above of the s (low half) and the l.
fn scale_words(packed: &[u8]) -> [u8; 12] {
    let (mut low_s, mut low_l, mut above) = (0u32, 0u32, 0u32);
    for group in 0..8 {
        let (s, l) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            (
                packed[group + 4] & 15 | packed[group - 4] >> 6 << 4,
                packed[group + 4] >> 4 | packed[group] >> 6 << 4,
            )
        };
        low_s |= u32::from(s & 15) << (4 * group);
        low_l |= u32::from(l & 15) << (4 * group);
        above |= u32::from(s >> 4) << (2 * group) | u32::from(l >> 4) << (16 + 2 * group);
    }
    let mut words = [0; 12];
    words[..4].copy_from_slice(&low_s.to_le_bytes());
    words[4..8].copy_from_slice(&low_l.to_le_bytes());
    words[8..].copy_from_slice(&above.to_le_bytes());
    words
}

/// [`scale_words`] undone.
fn to_file_scales(words: &[u8]) -> [u8; 12] {
    let nibble = |first: usize, group: usize| words[first + group / 2] >> (group % 2 * 4) & 15;
    let above = |first: usize, group: usize| words[first + group / 4] >> (group % 4 * 2) & 3;
    let s = |group| nibble(0, group) | above(8, group) << 4;
    let l = |group| nibble(4, group) | above(10, group) << 4;
    std::array::from_fn(|byte| match byte {
        0..4 => s(byte) | s(byte + 4) >> 4 << 6,
        4..8 => l(byte - 4) | l(byte) >> 4 << 6,
        _ => s(byte - 4) & 15 | (l(byte - 4) & 15) << 4,
    })
}
