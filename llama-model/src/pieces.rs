//! A matrix cut into pieces that one staging buffer holds: which rows of which tensors go where.

use std::ops::Range;

use llama_weights::TensorRole;

use crate::matrices::{MatrixPlan, Rows};

/// Consecutive rows of a matrix.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Piece {
    /// The matrix's row that is the piece's first.
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) segments: Vec<Segment>,
}

/// Rows of one tensor, at the places `place[0]`, `place[0] + place[1]` and so on of a piece.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    pub(crate) role: TensorRole,
    pub(crate) rows: Range<usize>,
    pub(crate) place: [usize; 2],
}

/// How far pieces go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bounds {
    /// The row that no piece goes over, where a part ends; the last one is the matrix's end.
    pub(crate) end: usize,
    /// The most rows of a piece before it, at least 2.
    pub(crate) at_once: usize,
}

/// The pieces of a matrix within bounds, by row.
pub(crate) fn pieces(plan: &MatrixPlan, bounds: &[Bounds]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut piece = Piece::default();
    for part in &plan.parts {
        let mut done = 0;
        while done < part.len() {
            let at = piece.first_row + piece.rows;
            let room = (bounds.iter().find(|bounds| piece.first_row < bounds.end))
                .map_or(part.len(), |bounds| {
                    (bounds.at_once - piece.rows).min(bounds.end - at)
                });
            // Rows that alternate stay in twos.
            let room = match part {
                Rows::Of(..) => room,
                Rows::Alternating(_) => room / 2 * 2,
            };
            if room == 0 {
                let first_row = piece.first_row + piece.rows;
                pieces.push(std::mem::take(&mut piece));
                piece.first_row = first_row;
                continue;
            }
            let count = room.min(part.len() - done);
            piece.append(part, done..done + count);
            done += count;
        }
    }
    if piece.rows > 0 {
        pieces.push(piece);
    }
    pieces
}

impl Piece {
    /// Appends some rows of a part, counted from its first.
    fn append(&mut self, part: &Rows, rows: Range<usize>) {
        let mut segment = |role, of: &Range<usize>, some: Range<usize>, place| {
            self.segments.push(Segment {
                role,
                rows: of.start + some.start..of.start + some.end,
                place,
            });
        };
        let at = self.rows;
        self.rows += rows.len();
        match part {
            Rows::Of(role, of) => segment(*role, of, rows, [at, 1]),
            Rows::Alternating([(first, firsts), (second, seconds)]) => {
                let half = rows.start / 2..rows.end / 2;
                segment(*first, firsts, half.clone(), [at, 2]);
                segment(*second, seconds, half, [at + 1, 2]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in each row of the matrix, as the pieces say.
    fn arranged(pieces: &[Piece]) -> Vec<(TensorRole, usize)> {
        let mut found = Vec::new();
        for piece in pieces {
            assert_eq!(piece.first_row, found.len());
            let mut rows = vec![None; piece.rows];
            for Segment {
                role,
                rows: of,
                place: [first, step],
            } in &piece.segments
            {
                for (index, row) in of.clone().enumerate() {
                    let place = &mut rows[first + index * step];
                    assert_eq!(*place, None, "no place is written twice");
                    *place = Some((*role, row));
                }
            }
            found.extend(
                rows.into_iter()
                    .map(|row| row.expect("every place is written")),
            );
        }
        found
    }

    #[test]
    fn every_row_is_where_the_plan_has_it_however_it_is_cut() {
        let (a, b, c) = (
            TensorRole::Embedding,
            TensorRole::Output,
            TensorRole::OutputNorm,
        );
        let plan = MatrixPlan {
            name: "joined".to_owned(),
            parts: vec![
                Rows::Alternating([(a, 0..3), (a, 3..6)]),
                Rows::Of(c, 2..7),
                Rows::Alternating([(a, 6..10), (b, 0..4)]),
            ],
            columns: 1,
        };
        let mut expected: Vec<(TensorRole, usize)> = Vec::new();
        expected.extend((0..3).flat_map(|i| [(a, i), (a, 3 + i)]));
        expected.extend((2..7).map(|i| (c, i)));
        expected.extend((0..4).flat_map(|i| [(a, 6 + i), (b, i)]));
        for at_once in 2..25 {
            let bounds = [Bounds { end: 19, at_once }];
            let pieces = pieces(&plan, &bounds);
            assert!(pieces.iter().all(|piece| piece.rows <= at_once));
            assert_eq!(arranged(&pieces), expected, "{at_once} at once");
        }
        let whole = Bounds {
            end: 19,
            at_once: 19,
        };
        assert_eq!(pieces(&plan, &[whole]).len(), 1);
        // Three sections, each with its own number of rows at once.
        let bounds = [(6, 4), (11, 8), (19, 3)].map(|(end, at_once)| Bounds { end, at_once });
        let cut = pieces(&plan, &bounds);
        let ends: Vec<usize> = cut
            .iter()
            .map(|piece| piece.first_row + piece.rows)
            .collect();
        assert_eq!(ends, [4, 6, 11, 13, 15, 17, 19]);
        assert_eq!(arranged(&cut), expected);
    }
}
