//! Headers that lie: magic, version, counts, lengths, types, depth.

use crate::fixture::{good, refused, refused_bytes, with};
use crate::writer::{Gguf, Value};

/// An array whose type, count and values are given as they are.
fn array(kind: u32, count: u64, values: &[u8]) -> Value {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(count.to_le_bytes());
    bytes.extend(values);
    Value::Raw(9, bytes)
}

#[test]
fn empty_file() {
    assert_eq!(
        refused_bytes(""),
        "FILE: expected a GGUF file of at least 24 bytes, found 0; download the file again"
    );
}

#[test]
fn cut_after_the_magic() {
    assert_eq!(
        refused_bytes(&good().bytes()[..23]),
        "FILE: expected a GGUF file of at least 24 bytes, found 23; download the file again"
    );
}

#[test]
fn wrong_magic() {
    assert_eq!(
        refused(&with(|gguf| gguf.magic = *b"GG\x1bF")),
        "FILE: expected a file that begins with \"GGUF\", found \"GG\\x1bF\"; this is not a GGUF file, or it is damaged"
    );
}

#[test]
fn versions_0_1_and_99() {
    for version in [0, 1, 99] {
        assert_eq!(
            refused(&with(|gguf| gguf.version = version)),
            format!(
                "FILE: expected GGUF version 2 or 3, found {version}; \
                 convert the model again with a present llama.cpp, or download it in version 3"
            )
        );
    }
}

#[test]
fn big_endian() {
    assert_eq!(
        refused(&with(|gguf| gguf.version = 3u32.swap_bytes())),
        "FILE: expected a little-endian GGUF file, found a big-endian one of version 3; \
         download the model in little-endian form"
    );
}

#[test]
fn tensor_count_u64_max() {
    let mut file = good();
    file.counts = [Some(u64::MAX), None];
    let most = (file.bytes().len() as u64 - 24) / 24;
    assert_eq!(
        refused(&file),
        format!(
            "FILE: expected at most {most} tensors in a file of this length, found a count of 18446744073709551615; the file is damaged"
        )
    );
}

#[test]
fn key_count_u64_max() {
    let mut file = good();
    file.counts = [None, Some(u64::MAX)];
    let most = (file.bytes().len() as u64 - 24) / 13;
    assert_eq!(
        refused(&file),
        format!(
            "FILE: expected at most {most} metadata keys in a file of this length, found a count of 18446744073709551615; \
             the file is damaged"
        )
    );
}

#[test]
fn more_keys_than_any_file_has() {
    // A file long enough for a million keys.
    let mut bytes = with(|gguf| gguf.counts = [None, Some(1_000_000)]).bytes();
    bytes.resize(13_000_100, 0);
    assert_eq!(
        refused_bytes(bytes),
        "FILE: expected at most 65536 metadata keys in a file of this length, found a count of 1000000; the file is damaged"
    );
}

#[test]
fn one_key_too_many_is_read_as_what_follows() {
    let message = refused(&with(|gguf| gguf.counts = [None, Some(16)]));
    assert!(message.starts_with("FILE: "), "{message}");
}

#[test]
fn key_longer_than_the_file() {
    let mut bytes = Gguf::empty().header();
    bytes[16] = 1;
    bytes.extend(1_000_000_007u64.to_le_bytes());
    bytes.extend([b'k'; 100]);
    let left = bytes.len() - 32;
    assert_eq!(
        refused_bytes(bytes),
        format!(
            "FILE: metadata key: expected 1000000007 bytes at byte 32, found {left} before the file ends; \
             the file is damaged or cut, download it again"
        )
    );
}

#[test]
fn key_longer_than_keys_are() {
    let mut bytes = Gguf::empty().header();
    bytes[16] = 1;
    bytes.extend(65_536u64.to_le_bytes());
    bytes.resize(200_000, b'k');
    assert_eq!(
        refused_bytes(bytes),
        "FILE: metadata key at byte 32: expected at most 65535 bytes, found a length of 65536; the file is damaged"
    );
}

#[test]
fn key_that_is_not_utf8() {
    let mut bytes = Gguf::empty().header();
    bytes[16] = 1;
    bytes.extend(2u64.to_le_bytes());
    bytes.extend([0xff; 100]);
    assert_eq!(
        refused_bytes(bytes),
        "FILE: metadata key at byte 32: expected UTF-8, found other bytes; the file is damaged"
    );
}

#[test]
fn string_longer_than_the_file() {
    let mut file = Gguf::empty();
    file.set("general.name", Value::Raw(8, u64::MAX.to_le_bytes().into()));
    let bytes = file.bytes();
    assert_eq!(
        refused_bytes(&bytes),
        format!(
            "FILE: general.name: expected 18446744073709551615 bytes at byte 56, found {} before the file ends; \
             the file is damaged or cut, download it again",
            bytes.len() - 56
        )
    );
}

#[test]
fn array_overflow() {
    // f64, u8 and strings, which take 8 bytes at least.
    for (kind, count) in [(12, 1 << 61), (0, u64::MAX), (8, 1 << 61)] {
        let mut file = Gguf::empty();
        file.set("a", array(kind, count, &[0; 64]));
        let bytes = file.bytes();
        assert_eq!(
            refused_bytes(&bytes),
            format!(
                "FILE: a: expected 18446744073709551615 bytes at byte 49, found {} before the file ends; \
                 the file is damaged or cut, download it again",
                bytes.len() - 49
            )
        );
    }
}

#[test]
fn nesting_10_000_deep() {
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        nested.extend(9u32.to_le_bytes());
        nested.extend(1u64.to_le_bytes());
    }
    assert_eq!(
        refused(&with(|gguf| gguf.set("a", Value::Raw(9, nested)))),
        "FILE: \"a\": expected arrays nested at most 4 deep, found more; the file is damaged"
    );
}

#[test]
fn value_type_255() {
    assert_eq!(
        refused(&with(|gguf| gguf.set("a", Value::Raw(255, vec![0; 8])))),
        "FILE: \"a\": expected a value type from 0 to 12, found 255; the file is damaged"
    );
    assert_eq!(
        refused(&with(|gguf| gguf.set("a", array(13, 1, &[0; 8])))),
        "FILE: \"a\": expected a value type from 0 to 12, found 13; the file is damaged"
    );
}

#[test]
fn duplicate_keys() {
    let file = with(|gguf| {
        let again = gguf.metadata[2].clone();
        gguf.metadata.push(again);
    });
    assert_eq!(
        refused(&file),
        "FILE: expected every metadata key once, found \"llama.embedding_length\" twice; download the file again"
    );
}

#[test]
fn cut_within_the_metadata() {
    let bytes = good().bytes();
    assert_eq!(
        refused_bytes(&bytes[..600]),
        "FILE: tokenizer.ggml.tokens: expected 5 bytes at byte 599, found 1 before the file ends; \
         the file is damaged or cut, download it again"
    );
}
