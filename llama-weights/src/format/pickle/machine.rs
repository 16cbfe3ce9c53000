//! The stack machine. It takes one instruction after the other and never recurses: a tuple is a range of one list of values, a
//! dictionary, storage or tensor an index, so that neither nesting nor a cycle costs stack, not even when they are dropped.
//!
//! Every instruction adds a bounded number of bytes, so the limit of instructions is the limit of memory.

use std::collections::HashMap;
use std::fmt;

use super::fault::PickleFault;
use super::global::Global;
use super::{Storage, Tensor, opcode};
use crate::error::Excerpt;

/// A tensor takes some 50 instructions, and 70B has 723 tensors.
pub(super) const INSTRUCTION_LIMIT: usize = 1 << 18;
/// torch's own nesting is 4.
const DEPTH_LIMIT: u32 = 64;
/// More dimensions than any tensor of any model.
const RANK_LIMIT: usize = 8;

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Boolean(bool),
    Integer(i64),
    Text(&'a str),
    Global(Global),
    /// A range of [`Machine::items`].
    Tuple {
        start: u32,
        length: u32,
        depth: u32,
    },
    /// Index into [`Machine::dictionaries`].
    Dictionary(usize),
    /// Index into [`Machine::storages`].
    Storage(usize),
    /// Index into [`Machine::tensors`].
    Tensor(usize),
}

#[derive(Debug)]
pub(super) struct Dictionary<'a> {
    pub(super) pairs: Vec<(Value<'a>, Value<'a>)>,
    depth: u32,
}

/// A machine that has stopped.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) result: Value<'a>,
    pub(super) dictionaries: Vec<Dictionary<'a>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Tensor<'a>>,
    items: Vec<Value<'a>>,
    stack: Vec<Value<'a>>,
    /// Lengths that the stack had at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pickle: &'a [u8],
    /// The byte that is read next.
    next: usize,
    /// Where the present instruction is.
    at: usize,
}

impl<'a> Machine<'a> {
    /// Runs a whole pickle.
    pub(super) fn run(pickle: &'a [u8]) -> Result<Self, PickleFault> {
        let mut machine = Self {
            result: Value::None,
            dictionaries: Vec::new(),
            storages: Vec::new(),
            tensors: Vec::new(),
            items: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            pickle,
            next: 0,
            at: 0,
        };
        machine.protocol()?;
        for _ in 0..INSTRUCTION_LIMIT {
            machine.at = machine.next;
            let [instruction] = machine.take()?;
            if instruction == opcode::STOP {
                machine.result = machine.pop("a value before the end")?;
                return Ok(machine);
            }
            machine.step(instruction)?;
        }
        Err(PickleFault::TooLong {
            limit: INSTRUCTION_LIMIT,
        })
    }

    fn protocol(&mut self) -> Result<(), PickleFault> {
        match self.take()? {
            [opcode::PROTO, 2] => Ok(()),
            [opcode::PROTO, version] => Err(PickleFault::Protocol {
                found: format!("protocol {version}"),
            }),
            [byte, _] => Err(PickleFault::Protocol {
                found: format!("byte {byte:#04x} first"),
            }),
        }
    }

    fn step(&mut self, instruction: u8) -> Result<(), PickleFault> {
        match instruction {
            opcode::NONE => self.stack.push(Value::None),
            opcode::NEW_TRUE => self.stack.push(Value::Boolean(true)),
            opcode::NEW_FALSE => self.stack.push(Value::Boolean(false)),
            opcode::BIN_INT => {
                let integer = i32::from_le_bytes(self.take()?);
                self.stack.push(Value::Integer(integer.into()));
            }
            opcode::BIN_INT1 => {
                let [integer] = self.take()?;
                self.stack.push(Value::Integer(integer.into()));
            }
            opcode::BIN_INT2 => {
                let integer = u16::from_le_bytes(self.take()?);
                self.stack.push(Value::Integer(integer.into()));
            }
            opcode::LONG1 => self.long()?,
            opcode::BIN_UNICODE => self.text()?,
            opcode::MARK => self.marks.push(self.stack.len()),
            opcode::EMPTY_TUPLE => self.tuple(self.stack.len())?,
            opcode::TUPLE1 => self.tuple_of(1)?,
            opcode::TUPLE2 => self.tuple_of(2)?,
            opcode::TUPLE3 => self.tuple_of(3)?,
            opcode::TUPLE => {
                let mark = self.pop_mark()?;
                self.tuple(mark)?;
            }
            opcode::EMPTY_DICT => self.dictionary(),
            opcode::SET_ITEM => {
                let start = self.length_without(2)?;
                self.set_items(start)?;
            }
            opcode::SET_ITEMS => {
                let mark = self.pop_mark()?;
                self.set_items(mark)?;
            }
            opcode::BIN_PUT => {
                let [index] = self.take()?;
                self.put(index.into())?;
            }
            opcode::LONG_BIN_PUT => {
                let index = u32::from_le_bytes(self.take()?);
                self.put(index)?;
            }
            opcode::BIN_GET => {
                let [index] = self.take()?;
                self.get(index.into())?;
            }
            opcode::LONG_BIN_GET => {
                let index = u32::from_le_bytes(self.take()?);
                self.get(index)?;
            }
            opcode::GLOBAL => self.global()?,
            opcode::BIN_PERSID => self.storage()?,
            opcode::REDUCE => self.reduce()?,
            opcode::BUILD => self.build()?,
            found => {
                return Err(PickleFault::Instruction {
                    at: self.at,
                    found,
                    name: opcode::name(found),
                });
            }
        }
        Ok(())
    }

    /// An integer of at most 8 bytes in two's complement.
    fn long(&mut self) -> Result<(), PickleFault> {
        let [length] = self.take()?;
        let bytes = self.take_slice(length.into())?;
        let sign = bytes
            .last()
            .map_or(0, |byte| if byte & 0x80 == 0 { 0 } else { 0xff });
        let mut wide = [sign; 8];
        let Some(low) = wide.get_mut(..bytes.len()) else {
            let found = format!("one of {length}");
            return self.operand("an integer of at most 8 bytes", found);
        };
        low.copy_from_slice(bytes);
        self.stack.push(Value::Integer(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn text(&mut self) -> Result<(), PickleFault> {
        let length = u32::from_le_bytes(self.take()?);
        let bytes = self.take_slice(length as usize)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.stack.push(Value::Text(text)),
            Err(error) => {
                let found = format!("a wrong byte at {} of the text", error.valid_up_to());
                return self.operand("text in UTF-8", found);
            }
        }
        Ok(())
    }

    fn tuple_of(&mut self, length: usize) -> Result<(), PickleFault> {
        let start = self.length_without(length)?;
        self.tuple(start)
    }

    /// Makes a tuple of what lies on the stack from `start`.
    fn tuple(&mut self, start: usize) -> Result<(), PickleFault> {
        let depth = self.depth_of(&self.stack[start..])?;
        // The limit of instructions keeps both far below u32.
        let tuple = Value::Tuple {
            start: self.items.len() as u32,
            length: (self.stack.len() - start) as u32,
            depth,
        };
        self.items.extend(self.stack.drain(start..));
        self.stack.push(tuple);
        Ok(())
    }

    fn dictionary(&mut self) {
        self.stack.push(Value::Dictionary(self.dictionaries.len()));
        self.dictionaries.push(Dictionary {
            pairs: Vec::new(),
            depth: 1,
        });
    }

    /// Moves the pairs on the stack from `start` into the dictionary before them.
    fn set_items(&mut self, start: usize) -> Result<(), PickleFault> {
        let depth = self.depth_of(&self.stack[start..])?;
        let count = self.stack.len() - start;
        if !count.is_multiple_of(2) {
            return self.operand("pairs of key and value", format!("{count} values"));
        }
        let under = start.checked_sub(1).map(|under| self.stack[under]);
        let Some(Value::Dictionary(index)) = under else {
            return self.operand("a dictionary before its items", shown(under));
        };
        let dictionary = &mut self.dictionaries[index];
        dictionary.depth = dictionary.depth.max(depth);
        let mut values = self.stack.drain(start..);
        while let (Some(key), Some(value)) = (values.next(), values.next()) {
            dictionary.pairs.push((key, value));
        }
        Ok(())
    }

    /// Levels of a container of these values.
    fn depth_of(&self, values: &[Value<'a>]) -> Result<u32, PickleFault> {
        let depth = |value: &Value<'_>| match *value {
            Value::Tuple { depth, .. } => depth,
            Value::Dictionary(index) => self.dictionaries[index].depth,
            _ => 0,
        };
        let inner = values.iter().map(depth).max().unwrap_or(0);
        // A dictionary that is put into itself counts itself once more each time.
        if inner >= DEPTH_LIMIT {
            return Err(PickleFault::TooDeep {
                at: self.at,
                limit: DEPTH_LIMIT,
            });
        }
        Ok(inner + 1)
    }

    fn put(&mut self, index: u32) -> Result<(), PickleFault> {
        let Some(&value) = self.stack.last() else {
            return self.operand("a value to remember", shown(None));
        };
        self.memo.insert(index, value);
        Ok(())
    }

    fn get(&mut self, index: u32) -> Result<(), PickleFault> {
        let Some(&value) = self.memo.get(&index) else {
            let found = format!("none at {index} of the memo");
            return self.operand("a value that was remembered", found);
        };
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self) -> Result<(), PickleFault> {
        let module = self.line()?;
        let name = self.line()?;
        match Global::named(&module, &name) {
            Some(global) => self.stack.push(Value::Global(global)),
            None => {
                return Err(PickleFault::Global {
                    at: self.at,
                    global: format!("{module}.{name}"),
                });
            }
        }
        Ok(())
    }

    /// `('storage', type, key, location, numel)`; the location is a device of the machine that wrote the file.
    fn storage(&mut self) -> Result<(), PickleFault> {
        const EXPECTED: &str = "a storage as ('storage', type, key, location, number of elements)";
        let identity = self.pop(EXPECTED)?;
        let &[
            Value::Text("storage"),
            Value::Global(Global::Storage(kind)),
            Value::Text(key),
            Value::Text(_),
            Value::Integer(numel),
        ] = self.items_of(identity)
        else {
            return self.operand(EXPECTED, identity.to_string());
        };
        let Ok(numel) = u64::try_from(numel) else {
            return self.operand("a number of elements of at least 0", numel.to_string());
        };
        self.stack.push(Value::Storage(self.storages.len()));
        self.storages.push(Storage { kind, key, numel });
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), PickleFault> {
        let arguments = self.pop("arguments of a global")?;
        let callee = self.pop("a global before its arguments")?;
        let result = match (callee, self.items_of(arguments)) {
            (Value::Global(Global::OrderedDictionary), []) => {
                self.dictionary();
                return Ok(());
            }
            (
                Value::Global(Global::RebuildParameter),
                [
                    tensor @ Value::Tensor(_),
                    Value::Boolean(_),
                    Value::Dictionary(_),
                ],
            ) => *tensor,
            (
                Value::Global(Global::RebuildTensor),
                &[
                    Value::Storage(storage),
                    Value::Integer(offset),
                    size,
                    stride,
                    Value::Boolean(_),
                    Value::Dictionary(_),
                ],
            ) => self.rebuild(storage, offset, size, stride)?,
            (Value::Global(_), _) if matches!(arguments, Value::Tuple { .. }) => {
                return self.operand(
                    "the arguments that torch gives the global",
                    arguments.to_string(),
                );
            }
            _ => return self.operand("a global and a tuple", format!("{callee} and {arguments}")),
        };
        self.stack.push(result);
        Ok(())
    }

    fn rebuild(
        &mut self,
        storage: usize,
        offset: i64,
        size: Value<'a>,
        stride: Value<'a>,
    ) -> Result<Value<'a>, PickleFault> {
        const EXPECTED: &str =
            "a size and a stride of at most 8 integers of at least 0, and an offset of at least 0";
        let numbers = |value| -> Option<Vec<u64>> {
            let items = matches!(value, Value::Tuple { .. }).then(|| self.items_of(value))?;
            let natural = |item: &Value<'_>| match *item {
                Value::Integer(integer) => u64::try_from(integer).ok(),
                _ => None,
            };
            (items.len() <= RANK_LIMIT).then(|| items.iter().map(natural).collect())?
        };
        let (Some(shape), Some(strides), Ok(offset)) =
            (numbers(size), numbers(stride), u64::try_from(offset))
        else {
            return self.operand(EXPECTED, "others".to_owned());
        };
        if shape.len() != strides.len() {
            let found = format!("{} and {}", shape.len(), strides.len());
            return self.operand("a size and a stride of as many numbers", found);
        }
        let tensor = Value::Tensor(self.tensors.len());
        self.tensors.push(Tensor {
            name: "",
            storage: self.storages[storage],
            offset,
            shape,
            strides,
        });
        Ok(tensor)
    }

    /// The state of a dictionary is its attributes (torch's `_metadata`), which carry no weights: left unread.
    fn build(&mut self) -> Result<(), PickleFault> {
        let state = self.pop("a state")?;
        let object = self.stack.last().copied();
        match (object, state) {
            (Some(Value::Dictionary(_)), Value::Dictionary(_)) => Ok(()),
            _ => {
                let found = format!("{} and {state}", shown(object));
                self.operand("a dictionary and its attributes", found)
            }
        }
    }

    fn items_of(&self, tuple: Value<'a>) -> &[Value<'a>] {
        match tuple {
            Value::Tuple { start, length, .. } => {
                &self.items[start as usize..start as usize + length as usize]
            }
            _ => &[],
        }
    }

    /// What lies below an open mark is out of reach, as in Python.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self, expected: &'static str) -> Result<Value<'a>, PickleFault> {
        if self.stack.len() > self.floor() {
            if let Some(value) = self.stack.pop() {
                return Ok(value);
            }
        }
        self.operand(expected, shown(None))
    }

    fn pop_mark(&mut self) -> Result<usize, PickleFault> {
        match self.marks.pop() {
            Some(mark) => Ok(mark),
            None => self.operand("a mark on the stack", "none".to_owned()),
        }
    }

    /// The stack's length without its last `count` values.
    fn length_without(&self, count: usize) -> Result<usize, PickleFault> {
        let available = self.stack.len() - self.floor();
        if available < count {
            return self.operand("more values on the stack", available.to_string());
        }
        Ok(self.stack.len() - count)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], PickleFault> {
        let bytes = self.take_slice(N)?;
        bytes
            .try_into()
            .map_err(|_| PickleFault::Truncated { at: self.at })
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], PickleFault> {
        let end = self.next.checked_add(length);
        let bytes = end.and_then(|end| self.pickle.get(self.next..end));
        let bytes = bytes.ok_or(PickleFault::Truncated { at: self.at })?;
        self.next += length;
        Ok(bytes)
    }

    /// Bytes up to a line's end, as text.
    fn line(&mut self) -> Result<std::borrow::Cow<'a, str>, PickleFault> {
        let rest = &self.pickle[self.next..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or(PickleFault::Truncated { at: self.at })?;
        self.next += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]))
    }

    fn operand<T>(&self, expected: &'static str, found: String) -> Result<T, PickleFault> {
        Err(PickleFault::Operand {
            at: self.at,
            expected,
            found,
        })
    }
}

fn shown(value: Option<Value<'_>>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| value.to_string())
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Boolean(_) => f.write_str("a boolean"),
            Self::Integer(integer) => write!(f, "the integer {integer}"),
            Self::Text(text) => write!(f, "the text {}", Excerpt(text)),
            Self::Global(_) => f.write_str("a global"),
            Self::Tuple { length, .. } => write!(f, "a tuple of {length}"),
            Self::Dictionary(_) => f.write_str("a dictionary"),
            Self::Storage(_) => f.write_str("a storage"),
            Self::Tensor(_) => f.write_str("a tensor"),
        }
    }
}
