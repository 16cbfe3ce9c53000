//! The tensors that GPTQ and AWQ put in a matrix's place: `qweight`, `qzeros`, `scales`, and GPTQ's `g_idx`.

use std::collections::BTreeSet;

use super::names::{packed_name, tensor_name};
use super::quantization::{KEY, Method, Quantization};
use crate::checkpoint::{Place, Stored};
use crate::error::Excerpt;
use crate::format::assign::{Entries, Entry};
use crate::mapping::Mapping;
use crate::packed::{Groups, NoBlocks, PACK, Packed, Packing, Span};
use crate::{DType, Error, Hyperparameters, TensorRole};

/// Four-byte integers, as safetensors and PyTorch call them.
const INTEGERS: [&str; 2] = ["I32", "IntStorage"];

/// Makes one tensor of those of each matrix of four bits; the rest stays as it is.
pub(super) fn join(
    weights: &mut Entries<'_>,
    quantization: Option<Quantization>,
    h: &Hyperparameters,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let matrices: Vec<TensorRole> = h
        .roles()
        .filter(|&role| {
            ["qweight", "qzeros"]
                .into_iter()
                .filter_map(|part| packed_name(role, part))
                .any(|name| weights.by_name.contains_key(&name))
        })
        .collect();
    let Some(quantization) = quantization else {
        return match matrices.first() {
            None => Ok(()),
            Some(&role) => Err(undeclared(weights, role)),
        };
    };
    if matrices.is_empty() {
        return declared_in_vain(weights, quantization, warnings);
    }
    let parts = take(weights, quantization.method, &matrices)?;
    let mut unlike = Vec::new();
    for (&role, parts) in matrices.iter().zip(parts) {
        let (stored, reason) = matrix(weights, quantization, h, role, parts)?;
        unlike.extend(reason.map(|reason| (reason, stored.name.clone())));
        weights.packed.insert(role, stored);
    }
    warn_of_floats(weights, &unlike, warnings);
    drop_zero_biases(weights, h, &matrices);
    Ok(())
}

fn config_fault(
    weights: &Entries<'_>,
    expected: String,
    found: String,
    advice: &'static str,
) -> Error {
    Error::Field {
        origin: weights.path.join(super::CONFIG).display().to_string(),
        field: KEY.to_owned(),
        expected,
        found,
        advice,
    }
}

fn undeclared(weights: &Entries<'_>, role: TensorRole) -> Error {
    let name = packed_name(role, "qweight").unwrap_or_default();
    config_fault(
        weights,
        format!(
            "quant_method, bits and group_size, here or in quantize_config.json, since {} is there",
            Excerpt(&name)
        ),
        "nothing".to_owned(),
        "download the configuration from where the weights are",
    )
}

fn declared_in_vain(
    weights: &Entries<'_>,
    quantization: Quantization,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if quantization.in_config {
        return Err(config_fault(
            weights,
            format!(
                "tensors named *.qweight by quant_method {:?}",
                quantization.method.name()
            ),
            "none".to_owned(),
            "weights and configuration are of different models, or files are missing",
        ));
    }
    warnings.push(format!(
        "{}: a file describes 4-bit tensors, of which there are none; ignored",
        weights.path.display()
    ));
    Ok(())
}

/// The tensors of one matrix.
struct Parts {
    qweight: Entry,
    qzeros: Entry,
    scales: Entry,
    g_idx: Option<Entry>,
}

/// Takes the tensors of every matrix; those that are missing are all named.
fn take(
    weights: &mut Entries<'_>,
    method: Method,
    matrices: &[TensorRole],
) -> Result<Vec<Parts>, Error> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for &role in matrices {
        let mut part = |part: &str, needed: bool| {
            let name = packed_name(role, part)?;
            let entry = weights.by_name.remove(&name);
            if entry.is_none() && needed {
                missing.push(name);
            }
            entry
        };
        let [qweight, qzeros, scales] =
            ["qweight", "qzeros", "scales"].map(|name| part(name, true));
        let g_idx = match method {
            Method::Gptq { in_order, .. } => part("g_idx", !in_order),
            Method::Awq => None,
        };
        if let (Some(qweight), Some(qzeros), Some(scales)) = (qweight, qzeros, scales) {
            found.push(Parts {
                qweight,
                qzeros,
                scales,
                g_idx,
            });
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let needed = match method {
        Method::Gptq {
            in_order: false, ..
        } => 4,
        _ => 3,
    };
    Err(Error::MissingTensors {
        path: weights.path.to_owned(),
        expected: matrices.len() * needed,
        missing,
        advice: "files are missing or of another form of the model, download it again",
    })
}

/// One matrix, checked, and why it does not come out in blocks, if it does not.
fn matrix(
    weights: &Entries<'_>,
    quantization: Quantization,
    h: &Hyperparameters,
    role: TensorRole,
    parts: Parts,
) -> Result<(Stored, Option<NoBlocks>), Error> {
    let shape = h.tensor_shape(role).unwrap_or_default();
    // Whatever has parts is a matrix.
    let (rows, columns) = match shape[..] {
        [rows, columns] => (rows, columns),
        _ => (0, 0),
    };
    let (packing, zeros_less_one) = match quantization.method {
        Method::Gptq { zeros_less_one, .. } => (Packing::Inputs, zeros_less_one),
        Method::Awq => (Packing::Outputs, false),
    };
    refuse_uneven(weights, role, packing, [rows, columns])?;
    let group_size = quantization.group_size.unwrap_or(columns);
    let n_groups = columns.div_ceil(group_size);
    let part = |entry| Part {
        files: &weights.files,
        entry,
    };
    let name = parts.qweight.name.clone();
    let quants = part(parts.qweight).integers(&match packing {
        Packing::Inputs => [columns / PACK, rows],
        Packing::Outputs => [columns, rows / PACK],
    })?;
    let zeros = part(parts.qzeros).integers(&[n_groups, rows / PACK])?;
    let (scale_type, scales) = part(parts.scales).floats(&[n_groups, rows])?;
    let groups = match parts.g_idx {
        Some(g_idx) => Groups::listed(part(g_idx).groups(columns, n_groups)?),
        None => Groups::Of(group_size),
    };
    let packed = Packed {
        packing,
        rows,
        columns,
        n_groups,
        quants,
        zeros,
        zeros_less_one,
        scales,
        scale_type,
        groups,
    };
    let (packed, dtype, reason) = packed.settle(&weights.files);
    let stored = Stored {
        name,
        dtype,
        shape,
        place: Place::Packed(packed),
    };
    Ok((stored, reason))
}

fn refuse_uneven(
    weights: &Entries<'_>,
    role: TensorRole,
    packing: Packing,
    shape: [usize; 2],
) -> Result<(), Error> {
    let [rows, columns] = shape;
    // Zeros are packed along the outputs in both.
    let along_inputs = packing == Packing::Inputs;
    if rows.is_multiple_of(PACK) && (!along_inputs || columns.is_multiple_of(PACK)) {
        return Ok(());
    }
    Err(config_fault(
        weights,
        format!("matrices whose sizes are multiples of {PACK}, since a word holds as many weights"),
        format!("a shape of {shape:?} for {}", Excerpt(&tensor_name(role))),
        "weights and configuration are of different models",
    ))
}

/// One tensor of a matrix.
struct Part<'a> {
    files: &'a [Mapping],
    entry: Entry,
}

impl Part<'_> {
    /// Where the words of this shape begin.
    fn integers(self, shape: &[usize]) -> Result<Span, Error> {
        match &self.entry.dtype {
            Err(name) if INTEGERS.contains(&name.as_str()) => self.span(shape, 4),
            _ => Err(self.of_another_type("I32")),
        }
    }

    /// Type and begin of the numbers of this shape.
    fn floats(self, shape: &[usize]) -> Result<(DType, Span), Error> {
        match self.entry.dtype {
            Ok(dtype) if !dtype.is_quantized() => {
                Ok((dtype, self.span(shape, dtype.block_bytes())?))
            }
            _ => Err(self.of_another_type("F16, BF16 or F32")),
        }
    }

    /// The group of each column.
    fn groups(self, columns: usize, n_groups: usize) -> Result<Vec<u32>, Error> {
        let (files, path) = (self.files, self.path());
        let name = self.entry.name.clone();
        let Span { file, offset } = self.integers(&[columns])?;
        let bytes = &files[file].bytes()[offset..offset + 4 * columns];
        let groups: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        match (groups.iter().enumerate()).find(|(_, group)| **group as usize >= n_groups) {
            None => Ok(groups),
            Some((column, &group)) => Err(Error::Field {
                origin: path,
                field: Excerpt(&name).to_string(),
                expected: format!("groups below {n_groups} by the configuration"),
                found: format!("{} at {column}", group as i32),
                advice: "the file is damaged or of another model, download it again",
            }),
        }
    }

    /// Where the elements begin, one after the other.
    fn span(self, shape: &[usize], element: usize) -> Result<Span, Error> {
        if self.entry.shape != shape {
            return Err(Error::TensorShape {
                path: self.path().into(),
                tensor: self.entry.name,
                expected: shape.to_vec(),
                found: self.entry.shape,
            });
        }
        let row = shape.last().copied().filter(|_| shape.len() == 2);
        let strides = [row.unwrap_or(1) * element, element];
        match &self.entry.pieces[..] {
            [piece] if piece.strides == strides => Ok(Span {
                file: piece.file,
                offset: piece.offset,
            }),
            _ => Err(Error::Field {
                origin: self.path(),
                field: Excerpt(&self.entry.name).to_string(),
                expected: "elements that follow each other".to_owned(),
                found: "a view with other strides".to_owned(),
                advice: "save the checkpoint anew, as safetensors",
            }),
        }
    }

    fn of_another_type(&self, expected: &str) -> Error {
        Error::Field {
            origin: self.path(),
            field: Excerpt(&self.entry.name).to_string(),
            expected: expected.to_owned(),
            found: match &self.entry.dtype {
                Ok(dtype) => dtype.name().to_uppercase(),
                Err(name) => Excerpt(name).to_string(),
            },
            advice: "the file is damaged or of another model, download it again",
        }
    }

    /// The file that holds it.
    fn path(&self) -> String {
        let piece = self.entry.pieces.first();
        let file = piece.map(|piece| self.files[piece.file].path());
        file.map(|path| path.display().to_string())
            .unwrap_or_default()
    }
}

/// What is read as f32 takes eight times the memory of blocks until it is converted, and is held in another format: the user hears of it.
fn warn_of_floats(
    weights: &Entries<'_>,
    unlike: &[(NoBlocks, String)],
    warnings: &mut Vec<String>,
) {
    for (reason, why) in [
        (
            NoBlocks::Groups,
            "32 columns that follow each other are of several groups",
        ),
        (NoBlocks::Scales, "f16 does not hold all scales exactly"),
    ] {
        let mut names = unlike.iter().filter(|unlike| unlike.0 == reason);
        if let Some((_, first)) = names.next() {
            warnings.push(format!(
                "{}: {} matrices of four bits are read as f32, {} first: {why}",
                weights.path.display(),
                names.count() + 1,
                Excerpt(first)
            ));
        }
    }
}

/// AutoGPTQ writes a bias for every matrix, of zeros where the model has none: those carry nothing.
fn drop_zero_biases(weights: &mut Entries<'_>, h: &Hyperparameters, matrices: &[TensorRole]) {
    let wanted: BTreeSet<String> = h.roles().map(tensor_name).collect();
    let biases = matrices
        .iter()
        .filter_map(|&role| packed_name(role, "bias"));
    for name in biases.filter(|name| !wanted.contains(name)) {
        let zero = weights.by_name.get(&name).is_some_and(|entry| {
            let element = entry.dtype.as_ref().map_or(1, |dtype| dtype.block_bytes());
            entry.pieces.iter().all(|piece| {
                let end = piece.end(element).unwrap_or(usize::MAX);
                let bytes = weights.files[piece.file].bytes().get(piece.offset..end);
                bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
            })
        });
        if zero {
            weights.by_name.remove(&name);
        }
    }
}
