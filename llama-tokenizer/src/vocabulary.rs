//! The pieces by id and by text, checked once. Knows nothing of merging.

use std::collections::HashMap;
use std::sync::Arc;

use crate::draft::Draft;
use crate::error::{DOWNLOAD_AGAIN, Error, Origin, quote};
use crate::piece::{Piece, PieceKind, byte_of};

/// `▁`, which stands for a space in every piece.
pub(crate) const SPACE: char = '\u{2581}';

/// Pieces by id and ids by text. No two pieces have one text.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    entries: Vec<Option<Entry>>,
    ids: HashMap<Arc<str>, u32>,
    strips_prefix: bool,
}

#[derive(Debug)]
struct Entry {
    piece: Arc<str>,
    kind: PieceKind,
    surface: Surface,
}

/// What a piece decodes to.
#[derive(Debug)]
pub(crate) enum Surface {
    /// Its text, with spaces for `▁`.
    Text(Box<str>),
    Byte(u8),
    Unknown,
    Nothing,
}

impl Vocabulary {
    /// Takes the pieces of `draft`.
    ///
    /// # Errors
    /// An empty vocabulary, an empty piece, two pieces of one text, a byte piece that names no
    /// byte, and a vocabulary with neither an unknown piece nor all 256 bytes.
    pub(crate) fn new(draft: &Draft) -> Result<Self, Error> {
        let origin = Origin(&draft.file);
        let mut vocabulary = Self {
            entries: Vec::with_capacity(draft.pieces.len()),
            ids: HashMap::with_capacity(draft.pieces.len()),
            strips_prefix: draft.rules.strips_prefix,
        };
        let mut bytes = 0;
        let mut has_unknown = false;
        for (id, piece) in draft.pieces.iter().enumerate() {
            let entry = piece
                .as_ref()
                .map(|piece| Entry::new(origin, id, piece))
                .transpose()?;
            if let Some(entry) = &entry {
                bytes += usize::from(entry.kind == PieceKind::Byte);
                has_unknown |= entry.kind == PieceKind::Unknown;
                let id = u32::try_from(id).map_err(|_| {
                    origin.invalid(
                        "vocabulary",
                        "fewer than 2^32 pieces",
                        "more",
                        DOWNLOAD_AGAIN,
                    )
                })?;
                if let Some(first) = vocabulary.ids.insert(Arc::clone(&entry.piece), id) {
                    return Err(origin.invalid(
                        format!("piece {id}"),
                        "a text of its own",
                        format!("{}, which is piece {first} too", quote(&entry.piece)),
                        DOWNLOAD_AGAIN,
                    ));
                }
            }
            vocabulary.entries.push(entry);
        }
        if vocabulary.ids.is_empty() {
            return Err(origin.invalid("vocabulary", "pieces", "none", DOWNLOAD_AGAIN));
        }
        let has_all_bytes = draft.rules.byte_fallback && bytes == 256;
        if !has_unknown && !has_all_bytes {
            return Err(origin.invalid(
                "vocabulary",
                "an unknown piece or all of `<0x00>` to `<0xFF>`, for text that has no piece",
                format!("no unknown piece and {bytes} bytes"),
                DOWNLOAD_AGAIN,
            ));
        }
        Ok(vocabulary)
    }

    /// One more than the largest id.
    pub(crate) fn size(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn strips_prefix(&self) -> bool {
        self.strips_prefix
    }

    pub(crate) fn id(&self, piece: &str) -> Option<u32> {
        self.ids.get(piece).copied()
    }

    pub(crate) fn piece(&self, id: u32) -> Option<&str> {
        Some(&self.entry(id)?.piece)
    }

    pub(crate) fn kind(&self, id: u32) -> Option<PieceKind> {
        Some(self.entry(id)?.kind)
    }

    /// The kind of the piece with this text.
    pub(crate) fn kind_of(&self, piece: &str) -> Option<PieceKind> {
        self.kind(self.id(piece)?)
    }

    pub(crate) fn surface(&self, id: u32) -> Option<&Surface> {
        Some(&self.entry(id)?.surface)
    }

    pub(crate) fn known_surface(&self, id: u32) -> Result<&Surface, Error> {
        self.surface(id).ok_or(Error::UnknownId {
            id,
            vocab_size: self.size(),
        })
    }

    /// Every piece with its id, ascending.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u32, &str, PieceKind)> {
        (0..).zip(&self.entries).filter_map(|(id, entry)| {
            let entry = entry.as_ref()?;
            Some((id, &*entry.piece, entry.kind))
        })
    }

    fn entry(&self, id: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(id).ok()?)?.as_ref()
    }
}

impl Entry {
    fn new(origin: Origin<'_>, id: usize, piece: &Piece) -> Result<Self, Error> {
        let Piece { text, kind, .. } = piece;
        if text.is_empty() {
            return Err(origin.invalid(
                format!("piece {id}"),
                "a text",
                "an empty one",
                DOWNLOAD_AGAIN,
            ));
        }
        let surface = match kind {
            PieceKind::Control => Surface::Nothing,
            PieceKind::Unknown => Surface::Unknown,
            PieceKind::Byte => Surface::Byte(byte_of(text).ok_or_else(|| {
                origin.invalid(
                    format!("piece {id}"),
                    "a byte such as `<0x0A>`",
                    quote(text),
                    DOWNLOAD_AGAIN,
                )
            })?),
            PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused => {
                Surface::Text(text.replace(SPACE, " ").into())
            }
        };
        Ok(Self {
            piece: text.as_str().into(),
            kind: *kind,
            surface,
        })
    }
}
