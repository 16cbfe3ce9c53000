//! Activations: f32 matrices, and lists of u32 ids.

use std::ops::Range;

use wgpu::BufferUsages;

use super::{bind::Bind, device::Gpu, memory::Allocation};
use crate::{Error, padded};

/// A matrix in GPU memory, row-major. Values are f32 with a row stride of [`padded`] columns, whose padding is zero;
/// ids are u32, one to a row, without padding.
#[derive(Debug)]
pub struct Tensor {
    allocation: Allocation,
    label: String,
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Tensor {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns, without padding.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Elements from one row's begin to the next one's.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// What it was named when made.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The whole tensor, to bind.
    pub fn binding(&self) -> Bind<'_> {
        Bind::of(&self.allocation)
    }

    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        self.allocation.buffer()
    }

    /// The bytes of some rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not so many.
    pub(super) fn byte_range(
        &self,
        op: &'static str,
        rows: &Range<usize>,
    ) -> Result<Range<u64>, Error> {
        if rows.start > rows.end || rows.end > self.rows {
            return Err(Error::Shape {
                op,
                what: format!("rows of {}", self.label),
                expected: format!("within 0..{}", self.rows),
                found: format!("{}..{}", rows.start, rows.end),
            });
        }
        let row_bytes = (self.stride * 4) as u64;
        Ok(rows.start as u64 * row_bytes..rows.end as u64 * row_bytes)
    }
}

impl Gpu {
    /// A matrix of f32, zeroed.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] and [`Error::OutOfMemory`].
    pub fn tensor(&self, label: &str, rows: usize, columns: usize) -> Result<Tensor, Error> {
        self.matrix(label, rows, columns, padded(columns))
    }

    /// A list of u32, zeroed.
    ///
    /// # Errors
    /// [`Error::BindingTooLarge`] and [`Error::OutOfMemory`].
    pub fn ids(&self, label: &str, rows: usize) -> Result<Tensor, Error> {
        self.matrix(label, rows, 1, 1)
    }

    fn matrix(
        &self,
        label: &str,
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Result<Tensor, Error> {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let bytes = (rows as u64)
            .saturating_mul(stride as u64)
            .saturating_mul(4);
        let allocation = Allocation::new(self, label, bytes, usage)?;
        Ok(Tensor {
            allocation,
            label: label.to_owned(),
            rows,
            columns,
            stride,
        })
    }

    /// Writes whole rows from `first_row` on; `values` holds `columns` of each.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` is no whole number of rows, or there are not so many; faults of the device.
    pub fn write_f32(
        &self,
        tensor: &Tensor,
        first_row: usize,
        values: &[f32],
    ) -> Result<(), Error> {
        let rows = whole_rows("write_f32", tensor, first_row, values.len())?;
        let range = tensor.byte_range("write_f32", &rows)?;
        if tensor.stride == tensor.columns {
            return self.write(tensor.buffer(), range.start, bytemuck::cast_slice(values));
        }
        let mut padded = vec![0.0; rows.len() * tensor.stride];
        for (to, from) in padded
            .chunks_exact_mut(tensor.stride)
            .zip(values.chunks_exact(tensor.columns))
        {
            to[..tensor.columns].copy_from_slice(from);
        }
        self.write(tensor.buffer(), range.start, bytemuck::cast_slice(&padded))
    }

    /// Writes ids from `first_row` on.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not so many rows; faults of the device.
    pub fn write_u32(&self, ids: &Tensor, first_row: usize, values: &[u32]) -> Result<(), Error> {
        let rows = whole_rows("write_u32", ids, first_row, values.len())?;
        let range = ids.byte_range("write_u32", &rows)?;
        self.write(ids.buffer(), range.start, bytemuck::cast_slice(values))
    }

    /// Waits for all submitted work and reads rows, `columns` of each.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not so many rows; faults of the device.
    pub fn read_f32(&self, tensor: &Tensor, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let mut values = self.read_padded(tensor, rows.clone())?;
        if tensor.stride != tensor.columns {
            for row in 0..rows.len() {
                let from = row * tensor.stride;
                values.copy_within(from..from + tensor.columns, row * tensor.columns);
            }
            values.truncate(rows.len() * tensor.columns);
        }
        Ok(values)
    }

    /// [`Gpu::read_f32`] with the padding, `stride` values of each row.
    ///
    /// # Errors
    /// As [`Gpu::read_f32`].
    pub fn read_padded(&self, tensor: &Tensor, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        let bytes = self.read(tensor.buffer(), tensor.byte_range("read_f32", &rows)?)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect())
    }

    /// Waits for all submitted work and reads ids.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not so many rows; faults of the device.
    pub fn read_u32(&self, ids: &Tensor, rows: Range<usize>) -> Result<Vec<u32>, Error> {
        let bytes = self.read(ids.buffer(), ids.byte_range("read_u32", &rows)?)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
            .collect())
    }
}

fn whole_rows(
    op: &'static str,
    tensor: &Tensor,
    first_row: usize,
    values: usize,
) -> Result<Range<usize>, Error> {
    if tensor.columns == 0 || !values.is_multiple_of(tensor.columns) {
        return Err(Error::Shape {
            op,
            what: format!("values for {}", tensor.label),
            expected: format!("a multiple of its {} columns", tensor.columns),
            found: values.to_string(),
        });
    }
    Ok(first_row..first_row.saturating_add(values / tensor.columns))
}
