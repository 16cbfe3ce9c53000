//! What a pickle may not say. A refusal runs nothing and leaves no way round.

use super::written::{Archive, refused, refused_pickle, zip};
use crate::fixture::tensors;

const TRUSTED: &str = "the file is damaged or hostile, take it from a source you trust";

/// The refusal of a global; `found` is what is quoted.
fn not_allowed(at: usize, found: &str) -> String {
    format!(
        "byte {at}: expected a global that rebuilds tensors (torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter, \
         collections.OrderedDict or a storage type of torch), found \"{found}\"; nothing was run, take the checkpoint from a \
         source you trust"
    )
}

#[test]
fn os_system_by_global_and_reduce() {
    let victim = tempfile::tempdir().expect("a temporary directory");
    let touched = victim.path().join("touched");
    let command = format!("touch {}", touched.display());
    let mut pickle = b"\x80\x02cos\nsystem\n(X".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.bytes());
    pickle.extend(b"tR.");
    assert_eq!(refused_pickle(pickle), not_allowed(2, "os.system"));
    assert!(!touched.exists());
}

#[test]
fn globals_outside_the_list() {
    let hostile = [
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "_rebuild_tensor_v3"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch.storage", "FloatStorage"),
        ("collections", "OrderedDict\0"),
        ("torch", "FloatStorage "),
        ("", ""),
    ];
    for (module, name) in hostile {
        // As a bare value, and where a storage's type stands.
        let bare = format!("\u{2}c{module}\n{name}\n.");
        let message = refused_pickle([b"\x80", bare.as_bytes()].concat());
        let found = format!("{module}.{name}").escape_debug().to_string();
        assert_eq!(message, not_allowed(2, &found));
    }
}

#[test]
fn a_global_that_is_no_text() {
    assert_eq!(
        refused_pickle(b"\x80\x02cos\xff\x1b[2J\nsystem\n."),
        not_allowed(2, "os\u{fffd}\\u{1b}[2J.system")
    );
}

#[test]
fn other_ways_to_a_global() {
    for (pickle, at, opcode) in [
        (
            b"\x80\x02X\x02\0\0\0osX\x06\0\0\0system\x93.".as_slice(),
            20,
            "0x93 (STACK_GLOBAL)",
        ),
        (b"\x80\x02(ios\nsystem\n.", 3, "0x69 (INST)"),
        (b"\x80\x02(cos\nsystem\no.", 3, "GLOBAL"),
        (b"\x80\x02)\x81.", 3, "0x81 (NEWOBJ)"),
        (b"\x80\x02\x82\x01.", 2, "0x82 (EXT1)"),
        (b"\x80\x02Pos.system\n.", 2, "0x50 (PERSID)"),
        (b"\x80\x02]X\x01\0\0\0aa.", 2, "0x5d (EMPTY_LIST)"),
        (b"\x80\x02\xff.", 2, "0xff (no instruction)"),
    ] {
        let message = refused_pickle(pickle);
        if opcode == "GLOBAL" {
            assert_eq!(message, not_allowed(at, "os.system"));
            continue;
        }
        assert_eq!(
            message,
            format!(
                "byte {at}: expected an instruction of a dictionary of tensors, found {opcode}; \
                 save the checkpoint as torch.save(model.state_dict()) does, or take it from a source you trust"
            )
        );
    }
}

#[test]
fn calls_with_other_arguments() {
    let rebuild = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n".as_slice();
    assert_eq!(
        refused_pickle([rebuild, b")R."].concat()),
        format!(
            "byte 36: expected the arguments that torch gives the global, found a tuple of 0; {TRUSTED}"
        )
    );
    assert_eq!(
        refused_pickle([rebuild, b"NR."].concat()),
        format!("byte 36: expected a global and a tuple, found a global and None; {TRUSTED}")
    );
    assert_eq!(
        refused_pickle(b"\x80\x02X\x01\0\0\0f)R."),
        format!(
            "byte 9: expected a global and a tuple, found the text \"f\" and a tuple of 0; {TRUSTED}"
        )
    );
    assert_eq!(
        refused_pickle(b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R."),
        format!(
            "byte 25: expected the arguments that torch gives the global, found a tuple of 1; {TRUSTED}"
        )
    );
    assert_eq!(
        refused_pickle(b"\x80\x02ccollections\nOrderedDict\n)RX\x01\0\0\0ab."),
        format!(
            "byte 35: expected a dictionary and its attributes, found a dictionary and the text \"a\"; {TRUSTED}"
        )
    );
}

#[test]
fn a_storage_of_another_form() {
    for (tuple, shown) in [
        (b"(X\x06\0\0\0systemt".as_slice(), "a tuple of 1"),
        (b"X\x07\0\0\0storage", "the text \"storage\""),
        (
            b"(X\x07\0\0\0storageX\x01\0\0\0aX\x01\0\0\0bX\x01\0\0\0cK\x01t",
            "a tuple of 5",
        ),
    ] {
        let pickle = [b"\x80\x02".as_slice(), tuple, b"Q."].concat();
        let at = pickle.len() - 2;
        assert_eq!(
            refused_pickle(pickle),
            format!(
                "byte {at}: expected a storage as ('storage', type, key, location, number of elements), found {shown}; {TRUSTED}"
            )
        );
    }
}

#[test]
fn numbers_below_zero() {
    let mut archive = Archive::of(&tensors());
    archive.storages[3].numel = -1;
    let message = refused(archive.bytes());
    assert!(
        message.ends_with(&format!(
            "expected a number of elements of at least 0, found -1; {TRUSTED}"
        )),
        "{message}"
    );
    let spoil: [fn(&mut super::written::View); 5] = [
        |view| view.offset = -1,
        |view| view.shape[0] = -4,
        |view| view.strides[1] = i64::MIN,
        |view| view.strides.clear(),
        |view| view.shape = vec![1; 9],
    ];
    for (case, spoil) in spoil.iter().enumerate() {
        let mut archive = Archive::of(&tensors());
        spoil(archive.view("model.layers.0.self_attn.k_proj.weight"));
        let message = refused(archive.bytes());
        let expected = match case {
            3 => "expected a size and a stride of as many numbers, found 2 and 0".to_owned(),
            _ => "expected a size and a stride of at most 8 integers of at least 0, and an offset of at least 0, found others".to_owned(),
        };
        assert!(
            message.ends_with(&format!("{expected}; {TRUSTED}")),
            "{message}"
        );
    }
}

#[test]
fn memo_bomb() {
    // Indices up to 2³² would be a list of 64 GiB, were the memo a list.
    let mut pickle = b"\x80\x02}".to_vec();
    for index in 0..1000u32 {
        pickle.push(b'r');
        pickle.extend((u32::MAX - index).to_le_bytes());
    }
    pickle.extend(b"0.");
    assert_eq!(
        refused_pickle(pickle),
        "byte 5003: expected an instruction of a dictionary of tensors, found 0x30 (POP); \
         save the checkpoint as torch.save(model.state_dict()) does, or take it from a source you trust"
    );
}

#[test]
fn tuples_that_double() {
    // Each holds the one before it twice: 2^60 values when written out, 60 tuples here.
    let mut pickle = b"\x80\x02)q\x00".to_vec();
    for _ in 0..60 {
        pickle.extend(b"h\x00\x86q\x00");
    }
    pickle.push(b'.');
    assert_eq!(
        refused_pickle(pickle),
        "expected a dictionary of tensors, found a tuple of 2; save the checkpoint as torch.save(model.state_dict()) does"
    );
}

#[test]
fn more_instructions_than_any_checkpoint() {
    let mut pickle = b"\x80\x02".to_vec();
    for index in 0..1_000_000u32 {
        pickle.extend(b"Nr");
        pickle.extend(index.to_le_bytes());
    }
    assert_eq!(
        refused_pickle(pickle),
        "expected at most 262144 instructions, found more; no checkpoint of this architecture has so many"
    );
}

#[test]
fn depth_of_a_million() {
    let tuples = [b"\x80\x02)".as_slice(), &b"\x85".repeat(1_000_000), b"."].concat();
    assert_eq!(
        refused_pickle(tuples),
        "byte 66: expected values nested at most 64 deep, found one more; take the checkpoint from a source you trust"
    );
    let dictionaries = [
        b"\x80\x02".as_slice(),
        &b"}N".repeat(1_000_000),
        &b"s".repeat(1_000_000),
        b".",
    ]
    .concat();
    assert_eq!(
        refused_pickle(dictionaries),
        "expected at most 262144 instructions, found more; no checkpoint of this architecture has so many"
    );
    let marks = [b"\x80\x02".as_slice(), &b"(".repeat(1_000_000), b"."].concat();
    assert_eq!(
        refused_pickle(marks),
        "expected at most 262144 instructions, found more; no checkpoint of this architecture has so many"
    );
    let deep = [
        b"\x80\x02".as_slice(),
        &b"}N".repeat(100_000),
        b"N",
        &b"s".repeat(50_000),
        b".",
    ]
    .concat();
    assert_eq!(
        refused_pickle(deep),
        "byte 200067: expected values nested at most 64 deep, found one more; take the checkpoint from a source you trust"
    );
}

#[test]
fn another_protocol() {
    for (pickle, found) in [
        (b"\x80\x04}.".as_slice(), "protocol 4"),
        (b"\x80\xff}.", "protocol 255"),
        (b"(dp0\n.", "byte 0x28 first"),
    ] {
        assert_eq!(
            refused_pickle(pickle),
            format!(
                "expected a pickle of protocol 2, as torch.save writes, found {found}; save the checkpoint without pickle_protocol"
            )
        );
    }
}

#[test]
fn no_end() {
    for (pickle, at) in [
        (b"".as_slice(), 0),
        (b"\x80\x02", 2),
        (b"\x80\x02}X\xff\xff\xff\xffab", 3),
        (b"\x80\x02cos\nsystem", 2),
    ] {
        assert_eq!(
            refused_pickle(pickle),
            format!(
                "byte {at}: expected more of the pickle, found its end; download the file again"
            )
        );
    }
}

#[test]
fn an_empty_stack() {
    for (pickle, expected, found) in [
        (
            b"\x80\x02.".as_slice(),
            "byte 2: expected a value before the end",
            "nothing",
        ),
        (
            b"\x80\x02}(.",
            "byte 4: expected a value before the end",
            "nothing",
        ),
        (
            b"\x80\x02t.",
            "byte 2: expected a mark on the stack",
            "none",
        ),
        (
            b"\x80\x02N\x87.",
            "byte 3: expected more values on the stack",
            "1",
        ),
        (
            b"\x80\x02q\x00.",
            "byte 2: expected a value to remember",
            "nothing",
        ),
        (
            b"\x80\x02h\x07.",
            "byte 2: expected a value that was remembered",
            "none at 7 of the memo",
        ),
        (
            b"\x80\x02NNNs.",
            "byte 5: expected a dictionary before its items",
            "None",
        ),
        (
            b"\x80\x02}(Nu.",
            "byte 5: expected pairs of key and value",
            "1 values",
        ),
        (
            b"\x80\x02X\x01\0\0\0\xff.",
            "byte 2: expected text in UTF-8",
            "a wrong byte at 0 of the text",
        ),
        (
            b"\x80\x02\x8a\x09123456789.",
            "byte 2: expected an integer of at most 8 bytes",
            "one of 9",
        ),
    ] {
        assert_eq!(
            refused_pickle(pickle),
            format!("{expected}, found {found}; {TRUSTED}")
        );
    }
}

#[test]
fn no_dictionary() {
    assert_eq!(
        refused_pickle(b"\x80\x02K\x07."),
        "expected a dictionary of tensors, found the integer 7; save the checkpoint as torch.save(model.state_dict()) does"
    );
}

#[test]
fn the_same_name_twice() {
    let mut archive = Archive::of(&tensors());
    archive.views.push(archive.views[0].clone());
    assert_eq!(
        refused(zip(&archive.entries())),
        "data.pkl: expected every name once, found \"model.embed_tokens.weight\" twice; download the file again"
    );
}
