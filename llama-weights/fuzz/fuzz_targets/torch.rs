//! An archive of `torch.save`, or its pickle alone.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use llama_weights_fuzz::Room;

static ROOM: LazyLock<Room> = LazyLock::new(Room::new);

fuzz_target!(|input: &[u8]| {
    ROOM.torch(input);
});
