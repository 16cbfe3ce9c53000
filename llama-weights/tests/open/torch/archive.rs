//! What the zip of an archive may not be, and where its storages must lie.

use super::written::{Archive, Entry, bin, refused, zip};
use crate::fixture::tensors;

const TRUSTED: &str = "the file is damaged or hostile, take it from a source you trust";
const KEY: &str = "model.layers.0.self_attn.k_proj.weight";

fn good() -> Vec<Entry> {
    Archive::of(&tensors()).entries()
}

#[test]
fn legacy_container() {
    let legacy = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    assert_eq!(
        refused(legacy),
        "expected a PyTorch archive (a zip file), found a bare pickle, as torch wrote before 1.6; \
         load it with torch and save it again, or download a safetensors form"
    );
}

#[test]
fn tar_container() {
    let mut tar = vec![0; 1024];
    tar[..9].copy_from_slice(b"sys_info\0");
    tar[257..265].copy_from_slice(b"ustar\x0000");
    assert_eq!(
        refused(tar),
        "expected a PyTorch archive (a zip file), found a TAR file, as torch wrote before 0.2; \
         load it with torch and save it again, or download a safetensors form"
    );
}

#[test]
fn another_file() {
    for (bytes, found) in [
        (b"".as_slice(), "an empty file"),
        (b"\x80\x02}", "a file that begins with 80 02 7d"),
        (b"<!DOCTYPE html>", "a file that begins with 3c 21 44 4f"),
    ] {
        assert_eq!(
            refused(bytes),
            format!(
                "expected a PyTorch archive (a zip file), found {found}; download the file again"
            )
        );
    }
}

#[test]
fn zip_bomb() {
    // 100 KB of zeros that expand to 4 GiB, in an entry that is read and in one that is not.
    for name in ["archive/data/3", "archive/extra"] {
        let mut entries = good();
        entries.retain(|entry| entry.name != name);
        entries.push(Entry {
            method: 8,
            expanded: Some(u32::MAX - 1),
            ..Entry::new(name, vec![0; 100_000])
        });
        assert_eq!(
            refused(zip(&entries)),
            format!(
                "{name:?}: expected an entry stored as it is, found 100000 bytes that expand to 4294967294; \
                 save the checkpoint with torch.save, which compresses nothing"
            )
        );
    }
}

#[test]
fn entries_that_share_bytes() {
    let mut entries = good();
    // The second header is the first one's.
    entries.push(Entry {
        header: Some(0),
        ..Entry::new("archive/data/99", entries[0].data.clone())
    });
    assert_eq!(
        refused(zip(&entries)),
        format!(
            "\"archive/data/99\": expected bytes of its own, found them shared with \"archive/data.pkl\"; {TRUSTED}"
        )
    );
    // Data that reaches into the directory.
    let mut entries = good();
    let last = entries.last_mut().expect("an entry");
    last.data = b"3\n".to_vec();
    let mut file = zip(&entries);
    let lengths: Vec<usize> = (0..file.len() - 4)
        .filter(|&at| file[at..at + 4] == 2u32.to_le_bytes())
        .collect();
    for at in lengths.iter().rev().take(2) {
        file[*at] = 40;
    }
    assert_eq!(
        refused(file),
        format!(
            "\"archive/version\": expected bytes of its own, found them shared with \"the directory\"; {TRUSTED}"
        )
    );
}

#[test]
fn entry_names_that_leave_the_archive() {
    let long = format!("archive/{}", "x".repeat(250));
    let hostile = [
        "../x",
        "archive/../../etc/passwd",
        "/etc/passwd",
        "archive\\x",
        "C:x",
        "archive//x",
        "archive/./x",
        "archive/",
        "archive/x\0",
        "",
        long.as_str(),
    ];
    for name in hostile {
        let mut entries = good();
        entries.push(Entry::new(name, b"x"));
        let shown = if name == long {
            format!("{:?}…", &name[..80])
        } else {
            format!("{name:?}")
        };
        assert_eq!(
            refused(zip(&entries)),
            format!(
                "expected entries with plain names of at most 255 bytes, found {shown}; \
                 the file is hostile, take it from a source you trust"
            )
        );
    }
}

#[test]
fn an_entry_twice() {
    let mut entries = good();
    entries.push(entries[5].clone());
    assert_eq!(
        refused(zip(&entries)),
        format!("expected every entry once, found \"archive/data/3\" twice; {TRUSTED}")
    );
}

#[test]
fn an_encrypted_entry() {
    let mut entries = good();
    entries[5].flags |= 1;
    assert_eq!(
        refused(zip(&entries)),
        "\"archive/data/3\": expected an entry stored as it is, found it encrypted; save the checkpoint with torch.save"
    );
}

#[test]
fn an_entry_outside_the_file() {
    let mut entries = good();
    entries[5].header = Some(1_000_000);
    let file = zip(&entries);
    assert_eq!(
        refused(&file),
        format!(
            "\"archive/data/3\": expected 128 bytes behind a header at 1000000, found a file of {} bytes without them; \
             download the file again",
            file.len()
        )
    );
}

#[test]
fn truncated_directory() {
    let file = zip(&good());
    for length in [4, file.len() / 2, file.len() - 22, file.len() - 1] {
        let message = refused(&file[..length]);
        let cut = "expected the directory of a zip at the file's end, found none: the file is cut short; download it again";
        let within = "expected the directory of a zip, found Unexpected end of file; download the file again";
        assert!(message == cut || message == within, "{length}: {message}");
    }
    // The end is there, the directory before it is not whole.
    let end = file.len() - 22;
    let mut cut = file.clone();
    cut.drain(end - 30..end);
    assert_eq!(
        refused(cut),
        "expected the directory of a zip, found Unexpected end of file; download the file again"
    );
}

#[test]
fn a_directory_of_another_length() {
    let mut file = zip(&good());
    let end = file.len() - 22;
    for (count, message) in [
        (
            14u16,
            "expected 14 entries in the directory of the zip, found more; download the file again",
        ),
        (
            16,
            "expected 16 entries in the directory of the zip, found 15; download the file again",
        ),
    ] {
        file[end + 8..end + 10].copy_from_slice(&count.to_le_bytes());
        file[end + 10..end + 12].copy_from_slice(&count.to_le_bytes());
        assert_eq!(refused(&file), message);
    }
}

#[test]
fn zip64_with_more_entries_than_any_checkpoint() {
    let mut file = zip(&good());
    let end = file.split_off(file.len() - 22);
    let at = file.len() as u64;
    let directory = u64::from(u32::from_le_bytes(end[16..20].try_into().expect("4 bytes")));
    file.extend(b"PK\x06\x06");
    file.extend(44u64.to_le_bytes());
    file.extend([45, 0, 45, 0]);
    file.extend([0; 8]);
    for number in [u64::MAX, u64::MAX, at - directory, directory] {
        file.extend(number.to_le_bytes());
    }
    file.extend(b"PK\x06\x07\0\0\0\0");
    file.extend(at.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(&end[..8]);
    file.extend([0xff; 12]);
    file.extend([0, 0]);
    assert_eq!(
        refused(file),
        "expected at most 65536 entries in the zip, found 18446744073709551615; this is no checkpoint"
    );
}

#[test]
fn no_pickle_and_two() {
    let mut entries = good();
    let pickle = entries.remove(0);
    for (name, found) in [
        ("archive/constants.pkl", "none"),
        ("data.pkl", "none"),
        ("a/b/data.pkl", "none"),
    ] {
        let mut entries = entries.clone();
        entries.push(Entry::new(name, &pickle.data));
        assert_eq!(
            refused(zip(&entries)),
            format!(
                "expected one data.pkl in a folder of the zip, found {found}; this is no file of torch.save"
            )
        );
    }
    let mut entries = good();
    entries.push(Entry::new("other/data.pkl", &pickle.data));
    assert_eq!(
        refused(zip(&entries)),
        "expected one data.pkl in a folder of the zip, found several; this is no file of torch.save"
    );
}

#[test]
fn big_endian() {
    let mut entries = good();
    entries[1].data = b"big".to_vec();
    assert_eq!(
        refused(zip(&entries)),
        "byteorder: expected \"little\", found \"big\"; save the checkpoint on a little-endian machine"
    );
}

#[test]
fn a_storage_that_is_not_there() {
    let mut entries = good();
    entries.remove(5);
    assert_eq!(
        refused(zip(&entries)),
        format!(
            "{KEY:?}: expected its storage \"data/3\" in the zip, found none; download the file again"
        )
    );
}

#[test]
fn a_storage_of_another_length() {
    let mut archive = Archive::of(&tensors());
    archive.storages[3].bytes.pop();
    assert_eq!(
        refused(archive.bytes()),
        format!(
            "{KEY:?}: expected 32 elements of 4 bytes in \"data/3\", found 127 bytes; download the file again"
        )
    );
    let mut archive = Archive::of(&tensors());
    archive.storages[3].numel = i64::MAX;
    assert_eq!(
        refused(archive.bytes()),
        format!(
            "{KEY:?}: expected 9223372036854775807 elements of 4 bytes in \"data/3\", found 128 bytes; download the file again"
        )
    );
}

#[test]
fn storage_shorter_than_stride_times_shape() {
    let most = i64::MAX;
    for (offset, shape, strides) in [
        (1, [4, 8], [8, 1]),
        (0, [4, 8], [9, 1]),
        (0, [5, 8], [8, 1]),
        (32, [4, 8], [0, 0]),
        (most, [4, 8], [8, 1]),
        (0, [4, 8], [most, most]),
        (0, [most, most], [most, most]),
    ] {
        let mut archive = Archive::of(&tensors());
        let view = archive.view(KEY);
        (view.offset, view.shape, view.strides) = (offset, shape.to_vec(), strides.to_vec());
        assert_eq!(
            refused(archive.bytes()),
            format!(
                "{KEY:?}: expected shape {shape:?} with strides {strides:?} from element {offset} within its storage, \
                 found a storage of 32 elements; the file is damaged"
            )
        );
    }
}

#[test]
fn elements_shown_more_than_once() {
    for (shape, strides) in [
        ([1 << 40, 8], [0, 1]),
        ([5, 8], [1, 1]),
        ([i64::MAX, i64::MAX], [0, 0]),
    ] {
        let mut archive = Archive::of(&tensors());
        let view = archive.view(KEY);
        (view.shape, view.strides) = (shape.to_vec(), strides.to_vec());
        assert_eq!(
            refused(archive.bytes()),
            format!(
                "{KEY:?}: expected a storage with an element for each of shape {shape:?}, found a storage of 32 elements; \
                 save the tensor after contiguous()"
            )
        );
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let file = Archive::of(&tensors()).bytes();
    let directory = bin();
    for length in (0..file.len()).step_by(13) {
        directory.write("pytorch_model.bin", &file[..length]);
        directory.refusal();
    }
}
