//! The instructions of a pickle (Python's `pickletools.py`): those that are obeyed, and the names of the others for messages.

pub(super) const PROTO: u8 = 0x80;
pub(super) const STOP: u8 = b'.';
pub(super) const MARK: u8 = b'(';
pub(super) const NONE: u8 = b'N';
pub(super) const NEW_TRUE: u8 = 0x88;
pub(super) const NEW_FALSE: u8 = 0x89;
pub(super) const BIN_INT: u8 = b'J';
pub(super) const BIN_INT1: u8 = b'K';
pub(super) const BIN_INT2: u8 = b'M';
pub(super) const LONG1: u8 = 0x8a;
pub(super) const BIN_UNICODE: u8 = b'X';
pub(super) const EMPTY_TUPLE: u8 = b')';
pub(super) const TUPLE: u8 = b't';
pub(super) const TUPLE1: u8 = 0x85;
pub(super) const TUPLE2: u8 = 0x86;
pub(super) const TUPLE3: u8 = 0x87;
pub(super) const EMPTY_DICT: u8 = b'}';
pub(super) const SET_ITEM: u8 = b's';
pub(super) const SET_ITEMS: u8 = b'u';
pub(super) const BIN_PUT: u8 = b'q';
pub(super) const LONG_BIN_PUT: u8 = b'r';
pub(super) const BIN_GET: u8 = b'h';
pub(super) const LONG_BIN_GET: u8 = b'j';
pub(super) const GLOBAL: u8 = b'c';
pub(super) const REDUCE: u8 = b'R';
pub(super) const BUILD: u8 = b'b';
pub(super) const BIN_PERSID: u8 = b'Q';

/// The name of an instruction that is not obeyed.
pub(super) fn name(opcode: u8) -> &'static str {
    match opcode {
        b'0' => "POP",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        b'F' => "FLOAT",
        b'G' => "BINFLOAT",
        b'I' => "INT",
        b'L' => "LONG",
        b'P' => "PERSID",
        b'S' => "STRING",
        b'T' => "BINSTRING",
        b'U' => "SHORT_BINSTRING",
        b'V' => "UNICODE",
        b'a' => "APPEND",
        b'd' => "DICT",
        b'e' => "APPENDS",
        b'g' => "GET",
        b'i' => "INST",
        b'l' => "LIST",
        b'o' => "OBJ",
        b'p' => "PUT",
        b']' => "EMPTY_LIST",
        b'B' => "BINBYTES",
        b'C' => "SHORT_BINBYTES",
        0x81 => "NEWOBJ",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x8b => "LONG4",
        0x8c => "SHORT_BINUNICODE",
        0x8d => "BINUNICODE8",
        0x8e => "BINBYTES8",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x93 => "STACK_GLOBAL",
        0x94 => "MEMOIZE",
        0x95 => "FRAME",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => "no instruction",
    }
}
