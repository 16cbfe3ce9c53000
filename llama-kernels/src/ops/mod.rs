//! The kernels as operations: one type per kernel, made once with its tensors, recorded in every step.
//!
//! `X::new` checks shapes, selects the variant and binds; `x.record(&mut recorder, rows)` adds its dispatches
//! and allocates nothing. What an operation means is its function in [`reference`](crate::reference).
//!
//! Operations that split work by tiles may also write rows of their output past `rows`, up to the tile's end or
//! the tensor's; such rows hold nothing of worth before and after.

mod argmax;
mod attention;
mod attention_combine;
mod attention_tile;
mod embed;
mod fill;
mod fused;
mod gather_columns;
mod gather_rows;
mod matmul;
mod matmul_combine;
mod matvec;
mod multiply_peak;
mod product;
mod read_sum;
mod rms_norm;
mod rope;
mod sample;
mod shape;
mod swiglu;

pub use argmax::Argmax;
pub use attention::{Attention, Reach};
pub use attention_combine::AttentionCombine;
pub use attention_tile::AttentionTile;
pub use embed::Embed;
pub use fill::Fill;
pub use fused::{GatedMatmul, HeadsMatmul};
pub use gather_columns::GatherColumns;
pub use gather_rows::GatherRows;
pub use matmul::Matmul;
pub use matmul_combine::MatmulCombine;
pub use matvec::Matvec;
pub use multiply_peak::MultiplyPeak;
pub use product::{MatmulOptions, Norm};
pub use read_sum::ReadSum;
pub use rms_norm::RmsNorm;
pub use rope::Rope;
pub use sample::Sample;
pub use swiglu::SwiGlu;
