//! Seeded random Unicode text and ids for several test binaries: the same seed, the same texts.
#![allow(dead_code, reason = "each test binary uses a part")]

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform below `bound`, to the tiny bias of a remainder.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// What is hard: spaces, controls, literals of special tokens, combining marks, scripts, emoji.
const HARD: [&str; 40] = [
    " ",
    "  ",
    "   ",
    "     ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\0",
    "\u{7f}",
    "\u{a0}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{2581}",
    "\u{301}",
    "\u{fffd}",
    "<s>",
    "</s>",
    "<unk>",
    "<0x0A>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "the",
    " and",
    "ing",
    "Hello",
    "0",
    "1234",
    "é",
    "ß",
    "日本",
    "語",
    "מלה",
    "العالم",
    "😀",
    "👩\u{200d}💻",
    "🇫🇷",
    "𝕳",
];

/// Up to 40 characters or hard pieces each.
pub(crate) fn texts(seed: u64, count: usize) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..count).map(|_| text(&mut random)).collect()
}

fn text(random: &mut Random) -> String {
    // Each text has its own mixture, so that some are all letters and some all noise.
    let mixture = random.below(5);
    let mut text = String::new();
    for _ in 0..random.below(40) {
        match (mixture, random.below(8)) {
            (0, _) | (1, 0..4) => text.push(char::from(b'a' + random.below(26) as u8)),
            (1, 4..6) | (2, 0..2) => text.push(' '),
            (3, _) => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
            (4, 0..4) => text.extend(char::from_u32(random.below(0x800) as u32)),
            _ => text.push_str(HARD[random.below(HARD.len())]),
        }
    }
    text
}

/// What decoding the ids of `text` gives: a `▁` is a space.
pub(crate) fn after_round_trip(text: &str) -> String {
    text.replace('\u{2581}', " ")
}

/// Lists of ids below `vocab_size`, half of them mostly bytes (ids 3 to 258).
pub(crate) fn id_lists(seed: u64, count: usize, vocab_size: usize) -> Vec<Vec<u32>> {
    let mut random = Random::new(seed);
    let bytes = vocab_size.min(259);
    (0..count)
        .map(|n| {
            let bound = if n % 2 == 0 { bytes } else { vocab_size };
            (0..random.below(20))
                .map(|_| random.below(bound) as u32)
                .collect()
        })
        .collect()
}
