//! The step buffer: everything that changes from step to step, written once per step. Its reader is
//! `wgsl/module/step.wesl`, which describes the words in the same order.

use wgpu::BufferUsages;

use super::{bind::Bind, device::Gpu, memory::Allocation};
use crate::Error;

/// Words before the page tables.
const HEADER_WORDS: usize = 8;

/// Words of a row record before the angles: token, position, sequence, row of the logits of this number.
const RECORD_WORDS: usize = 4;

/// Words at the end of a record: the random number.
const DRAW_WORDS: usize = 2;

/// Marks a token that is to be taken from what a row of the step before chose (`STEP_CHOSEN`).
const CHOSEN: u32 = 1 << 31;

/// Positions of a sequence at most: kernels count past the last one by as much as a workgroup.
const MAX_POSITIONS: usize = 1 << 31;

/// The largest step that a buffer holds. All counts, none in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLayout {
    /// Rows of a step.
    pub max_rows: usize,
    /// Page tables of a step.
    pub max_sequences: usize,
    /// Pages in a table.
    pub pages_per_sequence: usize,
    /// Positions in a page: a power of two, at least 16.
    pub page_size: usize,
    /// Pairs that RoPE rotates in a head: half of `head_dim`.
    pub rope_pairs: usize,
}

/// One row of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepRow {
    /// What goes in.
    pub token: TokenSource,
    /// Its place in its sequence, from 0.
    pub position: u32,
    /// Its page table's number in this step.
    pub sequence: u32,
    /// Whether what comes out is wanted.
    pub wants_logits: bool,
    /// A random number, for rows that draw a token; any other row's is not looked at.
    pub draw: u64,
}

/// Where a row's token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// The id is known.
    Id(u32),
    /// It is what this row of the step before chose, so that steps run ahead without a read-back.
    Chosen(u32),
}

/// The buffer of one step after the other.
#[derive(Debug)]
pub struct StepBuffer {
    allocation: Allocation,
    layout: StepLayout,
}

impl StepLayout {
    fn table_words(&self) -> usize {
        self.max_sequences
            .saturating_mul(self.pages_per_sequence)
            .next_multiple_of(4)
    }

    fn record_words(&self) -> usize {
        (RECORD_WORDS + 2 * self.rope_pairs + DRAW_WORDS).next_multiple_of(4)
    }

    fn words(&self) -> usize {
        (HEADER_WORDS + self.table_words())
            .saturating_add(self.max_rows.saturating_mul(self.record_words()))
    }
}

impl StepBuffer {
    /// A buffer for steps up to `layout`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a page size that is no power of two from 16 on and for more than 2^31 positions; those of an allocation.
    pub fn new(gpu: &Gpu, layout: StepLayout) -> Result<Self, Error> {
        if !layout.page_size.is_power_of_two() || layout.page_size < 16 {
            return Err(shape(
                "positions per page",
                "a power of two, at least 16",
                layout.page_size,
            ));
        }
        let positions = (layout.pages_per_sequence).saturating_mul(layout.page_size);
        if positions > MAX_POSITIONS {
            let expected = format!("at most {MAX_POSITIONS}");
            return Err(shape("positions of a sequence", &expected, positions));
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let allocation = Allocation::new(
            gpu,
            "step",
            (layout.words() as u64).saturating_mul(4),
            usage,
        )?;
        Ok(Self { allocation, layout })
    }

    /// Writes a step: its rows, a page table for each of its sequences, and for each row the cosine and sine of each
    /// pair's angle.
    ///
    /// The write is ordered after all submitted steps.
    ///
    /// # Errors
    /// [`Error::Shape`] where the parts do not fit each other or the layout; faults of the device.
    pub fn write(
        &self,
        gpu: &Gpu,
        rows: &[StepRow],
        page_tables: &[&[u32]],
        angles: &[f32],
    ) -> Result<(), Error> {
        self.check(rows, page_tables, angles)?;
        let words = self.words(rows, page_tables, angles);
        gpu.write(self.allocation.buffer(), 0, bytemuck::cast_slice(&words))
    }

    /// What it holds at most.
    pub fn layout(&self) -> &StepLayout {
        &self.layout
    }

    /// The buffer, to bind as `step`.
    pub fn binding(&self) -> Bind<'_> {
        Bind::of(&self.allocation)
    }

    fn check(&self, rows: &[StepRow], page_tables: &[&[u32]], angles: &[f32]) -> Result<(), Error> {
        let layout = &self.layout;
        let at_most = |what, limit: usize, found: usize| {
            if found <= limit {
                Ok(())
            } else {
                Err(shape(what, &format!("at most {limit}"), found))
            }
        };
        at_most("rows", layout.max_rows, rows.len())?;
        at_most("sequences", layout.max_sequences, page_tables.len())?;
        for table in page_tables {
            at_most(
                "pages of a sequence",
                layout.pages_per_sequence,
                table.len(),
            )?;
        }
        let expected = rows.len() * 2 * layout.rope_pairs;
        if angles.len() != expected {
            return Err(shape(
                "cosines and sines",
                &expected.to_string(),
                angles.len(),
            ));
        }
        for row in rows {
            let Some(table) = page_tables.get(row.sequence as usize) else {
                return Err(shape(
                    "sequence of a row",
                    &format!("below {}", page_tables.len()),
                    row.sequence as usize,
                ));
            };
            let room = table.len() * layout.page_size;
            if row.position as usize >= room {
                return Err(shape(
                    "position of a row",
                    &format!("below {room}, the room of its pages"),
                    row.position as usize,
                ));
            }
            let (what, value, limit) = match row.token {
                TokenSource::Id(id) => ("token id", id, CHOSEN),
                TokenSource::Chosen(chosen) => (
                    "row of the step before",
                    chosen,
                    u32::try_from(layout.max_rows).unwrap_or(CHOSEN),
                ),
            };
            if value >= limit {
                return Err(shape(what, &format!("below {limit}"), value as usize));
            }
        }
        Ok(())
    }

    /// The words of a checked step, to the last row's record; what lies behind is never read.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the buffer's words fit its binding, below 2^32; random numbers are cut in two"
    )]
    fn words(&self, rows: &[StepRow], page_tables: &[&[u32]], angles: &[f32]) -> Vec<u32> {
        let layout = &self.layout;
        let first_record = HEADER_WORDS + layout.table_words();
        let record_words = layout.record_words();
        let wanted: Vec<u32> = (0..)
            .zip(rows)
            .filter(|(_, row)| row.wants_logits)
            .map(|(index, _)| index)
            .collect();

        let mut words = vec![0; first_record + rows.len() * record_words];
        words[..6].copy_from_slice(&[
            rows.len() as u32,
            wanted.len() as u32,
            first_record as u32,
            record_words as u32,
            layout.pages_per_sequence as u32,
            layout.page_size.trailing_zeros(),
        ]);
        for (sequence, table) in page_tables.iter().enumerate() {
            let at = HEADER_WORDS + sequence * layout.pages_per_sequence;
            words[at..at + table.len()].copy_from_slice(table);
        }
        for (index, row) in rows.iter().enumerate() {
            let record = &mut words[first_record + index * record_words..][..record_words];
            record[0] = match row.token {
                TokenSource::Id(id) => id,
                TokenSource::Chosen(chosen) => CHOSEN | chosen,
            };
            record[1] = row.position;
            record[2] = row.sequence;
            record[3] = wanted.get(index).copied().unwrap_or(0);
            let row_angles = &angles[index * 2 * layout.rope_pairs..][..2 * layout.rope_pairs];
            let draw = [row.draw as u32, (row.draw >> 32) as u32];
            record[record_words - DRAW_WORDS..].copy_from_slice(&draw);
            for (word, angle) in record[RECORD_WORDS..].iter_mut().zip(row_angles) {
                *word = angle.to_bits();
            }
        }
        words
    }
}

fn shape(what: &str, expected: &str, found: usize) -> Error {
    Error::Shape {
        op: "step",
        what: what.to_owned(),
        expected: expected.to_owned(),
        found: found.to_string(),
    }
}
