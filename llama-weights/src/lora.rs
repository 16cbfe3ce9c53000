//! LoRA adapters (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models") on top of a checkpoint: what each changes,
//! and the arithmetic that merges the changes into rows as they are read.
//!
//! Nothing of a tensor's size is kept: a row of the base is converted, changed and handed out. How an adapter is stored is the
//! business of `format/peft`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::checkpoint::Stored;
use crate::format::peft;
use crate::mapping::Mapping;
use crate::{Checkpoint, Error, TensorRole};

/// A LoRA adapter that a [`Checkpoint`] has taken on; see [`Checkpoint::add_lora`].
#[derive(Debug)]
pub struct LoraAdapter {
    pub(crate) directory: PathBuf,
    pub(crate) file: Mapping,
    pub(crate) scale: f32,
    pub(crate) rank: usize,
    pub(crate) alpha: f64,
    pub(crate) rank_stabilized: bool,
    pub(crate) base_model: Option<String>,
    pub(crate) changes: BTreeMap<TensorRole, Change>,
}

/// What an adapter does to one tensor; one of the two at least is there.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Stands in the base's place, before any product is added.
    pub(crate) replacement: Option<Stored>,
    pub(crate) product: Option<Product>,
}

/// `scaling · left · right`, to be added to a matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) struct Product {
    /// `[rows, rank]`
    pub(crate) left: Stored,
    /// `[rank, columns]`
    pub(crate) right: Stored,
    /// `alpha / rank`, or `alpha / √rank` where the adapter is rank-stabilized.
    pub(crate) scaling: f32,
}

/// The adapters that change one tensor; those that leave it alone are among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Merged<'a> {
    pub(crate) adapters: &'a [LoraAdapter],
    pub(crate) role: TensorRole,
}

impl Checkpoint {
    /// Takes a LoRA adapter on: from now on every tensor that it changes is read as `W + scale · (alpha / rank) · B A`, in f32, and
    /// the changes of several adapters add up. A tensor that the adapter holds whole (a trained bias, a norm or an output matrix of
    /// peft's `modules_to_save`) is read as `W + scale · (its own − W)`, which at scale 1 is its own.
    ///
    /// `directory` is one that Hugging Face's `peft` saved: `adapter_config.json` and `adapter_model.safetensors`, or
    /// `adapter_model.bin`. Every value of it is read here, so that none is NaN or infinite.
    ///
    /// # Errors
    /// Everything that is missing, damaged, made for a base of another shape, or not supported: another method than plain LoRA,
    /// a change to an embedding that is the output, too, a tensor that an earlier adapter replaces with other values. The checkpoint is as before.
    pub fn add_lora(&mut self, directory: &Path, scale: f32) -> Result<&LoraAdapter, Error> {
        let adapter = peft::open(directory, &self.hyperparameters, scale)?;
        for earlier in &self.adapters {
            adapter.refuse_other_replacements(earlier)?;
        }
        self.adapters.push(adapter);
        Ok(&self.adapters[self.adapters.len() - 1])
    }

    /// The LoRA adapters that it has taken on, in order.
    #[must_use]
    pub fn adapters(&self) -> &[LoraAdapter] {
        &self.adapters
    }
}

impl LoraAdapter {
    /// The directory that it was read from.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What its changes are multiplied by.
    #[must_use]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The rank (`r`) of its products, but for modules that `rank_pattern` names.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// `lora_alpha`, but for modules that `alpha_pattern` names.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Products are scaled by `alpha / √rank` (`use_rslora`; Kalajdzievski 2023), not by `alpha / rank`.
    #[must_use]
    pub fn rank_stabilized(&self) -> bool {
        self.rank_stabilized
    }

    /// The model that it was trained on, as its configuration names it.
    #[must_use]
    pub fn base_model(&self) -> Option<&str> {
        self.base_model.as_deref()
    }

    /// The matrices that it adds a product to, in the order of the forward pass.
    pub fn matrices(&self) -> impl Iterator<Item = TensorRole> {
        let with_product = self.changes.iter().filter(|it| it.1.product.is_some());
        with_product.map(|(&role, _)| role)
    }

    /// The tensors that it holds whole, in the order of the forward pass.
    pub fn replaced(&self) -> impl Iterator<Item = TensorRole> {
        let whole = self.changes.iter().filter(|it| it.1.replacement.is_some());
        whole.map(|(&role, _)| role)
    }

    fn refuse_other_replacements(&self, earlier: &LoraAdapter) -> Result<(), Error> {
        for (role, change) in &self.changes {
            let before = earlier.changes.get(role);
            let before = before.and_then(|change| change.replacement.as_ref());
            let (Some(own), Some(before)) = (&change.replacement, before) else {
                continue;
            };
            let (own, before) = (own.view(self.files()), before.view(earlier.files()));
            let all = 0..own.n_rows();
            // Peft saves an embedding beside its changes, trained or not: two adapters then hold the same.
            if own.dtype() != before.dtype() || own.rows(all.clone()) != before.rows(all) {
                return Err(Error::Lora {
                    path: self.directory.clone(),
                    fault: peft::LoraFault::ReplacedTwice {
                        tensor: own.name().to_owned(),
                        earlier: earlier.directory.display().to_string(),
                    },
                });
            }
        }
        Ok(())
    }

    fn files(&self) -> &[Mapping] {
        std::slice::from_ref(&self.file)
    }
}

impl Merged<'_> {
    pub(crate) fn changes_it(&self) -> bool {
        self.changes().next().is_some()
    }

    /// Merges the changes into rows of the base, of `columns` elements each.
    pub(crate) fn apply(&self, rows: Range<usize>, columns: usize, out: &mut [f32]) {
        let mut own = Vec::new();
        for (adapter, change) in self.changes() {
            let Some(replacement) = &change.replacement else {
                continue;
            };
            (replacement.view(adapter.files())).rows_f32(rows.clone(), &mut own);
            if adapter.scale == 1.0 {
                out.copy_from_slice(&own);
                continue;
            }
            for (base, own) in out.iter_mut().zip(&own) {
                *base += adapter.scale * (own - *base);
            }
        }
        let mut right = Vec::new();
        for (adapter, change) in self.changes() {
            let Some(product) = &change.product else {
                continue;
            };
            let (b, a) = (&product.left, &product.right);
            b.view(adapter.files()).rows_f32(rows.clone(), &mut own);
            let a = a.view(adapter.files());
            a.rows_f32(0..a.n_rows(), &mut right);
            let scale = adapter.scale * product.scaling;
            add_product(&own, &right, a.n_rows(), scale, columns, out);
        }
    }

    fn changes(&self) -> impl Iterator<Item = (&LoraAdapter, &Change)> {
        let adapters = self.adapters.iter();
        adapters.filter_map(|adapter| Some((adapter, adapter.changes.get(&self.role)?)))
    }
}

/// Columns of the result that a register tile has: two vectors of four, the least that any processor of today has.
const WIDTH: usize = 8;
/// Rows of it: a panel's row is loaded once for this many.
const HEIGHT: usize = 4;

/// `out[rows, columns] += scale · left[rows, rank] · right[rank, columns]`, all row-major.
fn add_product(
    left: &[f32],
    right: &[f32],
    rank: usize,
    scale: f32,
    columns: usize,
    out: &mut [f32],
) {
    let panels = panels(right, rank, columns);
    let zeros = vec![0.0; rank];
    let blocks = out.chunks_mut(HEIGHT * columns);
    for (block, left) in blocks.zip(left.chunks(HEIGHT * rank)) {
        let row = |i: usize| left.get(i * rank..(i + 1) * rank).unwrap_or(&zeros);
        let left: [&[f32]; HEIGHT] = std::array::from_fn(row);
        for (index, panel) in panels.chunks_exact(rank * WIDTH).enumerate() {
            let sums = tile(left, panel);
            let columns_of_it = index * WIDTH..columns.min((index + 1) * WIDTH);
            for (out, sums) in block.chunks_exact_mut(columns).zip(&sums) {
                for (out, sum) in out[columns_of_it.clone()].iter_mut().zip(sums) {
                    *out += scale * sum;
                }
            }
        }
    }
}

/// `right[rank, columns]` as panels `[rank, WIDTH]`, the last one filled up with zeros: a tile then reads one run of memory.
fn panels(right: &[f32], rank: usize, columns: usize) -> Vec<f32> {
    let mut panels = vec![0.0; columns.div_ceil(WIDTH) * rank * WIDTH];
    for (index, panel) in panels.chunks_exact_mut(rank * WIDTH).enumerate() {
        let start = index * WIDTH;
        let width = WIDTH.min(columns - start);
        for (into, row) in panel
            .chunks_exact_mut(WIDTH)
            .zip(right.chunks_exact(columns))
        {
            into[..width].copy_from_slice(&row[start..start + width]);
        }
    }
    panels
}

/// `left · panel`; `left` are rows of as many elements as the panel has rows.
#[inline]
fn tile(left: [&[f32]; HEIGHT], panel: &[f32]) -> [[f32; WIDTH]; HEIGHT] {
    let mut sums = [[0.0; WIDTH]; HEIGHT];
    let [a, b, c, d] = left;
    let columns = a.iter().zip(b).zip(c).zip(d);
    for ((((a, b), c), d), row) in columns.zip(panel.chunks_exact(WIDTH)) {
        for (sums, left) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, right) in sums.iter_mut().zip(row) {
                *sum += left * right;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Integers: every order of summation gives the same.
        #[test]
        fn the_product_is_the_product(rows in 1usize..11, rank in 1usize..7, columns in 1usize..30, seed: u32) {
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 28) as f32 - 7.0;
            let left: Vec<f32> = (0..rows * rank).map(value).collect();
            let right: Vec<f32> = (0..rank * columns).map(|i| value(i + 1000)).collect();
            let base: Vec<f32> = (0..rows * columns).map(|i| value(i + 5000)).collect();
            let mut found = base.clone();
            add_product(&left, &right, rank, 0.5, columns, &mut found);
            for row in 0..rows {
                for column in 0..columns {
                    let sum: f32 = (0..rank).map(|k| left[row * rank + k] * right[k * columns + column]).sum();
                    let index = row * columns + column;
                    prop_assert_eq!(found[index], base[index] + 0.5 * sum);
                }
            }
        }
    }
}
