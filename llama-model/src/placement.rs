//! Which device computes which layers, and which layers' matrices lie in its memory.
//!
//! Consecutive layers go to one device. What fits where is decided in `fit`, what it takes is counted in `memory`.

use std::ops::Range;

use llama_kernels::Gpu;

use crate::Error;
use crate::stream::MATRICES;

/// Where a model is to lie: on devices, in the order of its layers. `&Gpu` is all of it on one.
#[derive(Debug, Clone)]
pub struct Placement {
    gpus: Vec<Gpu>,
    /// `None`: everything lies on the only device.
    shares: Option<Vec<Share>>,
}

/// Some of a model's layers, those behind the share before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Layers that a device computes, and whose keys and values it holds.
    pub layers: usize,
    /// How many of those, the last ones, have their matrices in host memory, from where they are copied to the device in
    /// every step.
    pub streamed: usize,
}

/// A share with its place in the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) layers: Range<usize>,
    /// How many of the last ones are streamed.
    pub(crate) streamed: usize,
    /// It holds the embedding.
    pub(crate) is_first: bool,
    /// It holds the output.
    pub(crate) is_last: bool,
}

impl Placement {
    /// A share of the layers for each device. A device may be there twice, as may an adapter: each share has memory of its own.
    pub fn new(gpus: Vec<Gpu>, shares: Vec<Share>) -> Self {
        Self {
            gpus,
            shares: Some(shares),
        }
    }

    /// Each device with its part of a model of `n_layers` layers.
    ///
    /// # Errors
    /// [`Error::Placement`] where shares and devices are not as many, or shares and layers.
    pub(crate) fn parts(&self, n_layers: usize) -> Result<Vec<(Gpu, Span)>, Error> {
        let whole = [Share {
            layers: n_layers,
            streamed: 0,
        }];
        let shares = self.shares.as_deref().unwrap_or(&whole);
        check(shares, self.gpus.len(), n_layers)?;
        Ok(self.gpus.iter().cloned().zip(spans(shares)).collect())
    }
}

impl From<&Gpu> for Placement {
    fn from(gpu: &Gpu) -> Self {
        Self {
            gpus: vec![gpu.clone()],
            shares: None,
        }
    }
}

impl Span {
    /// Of a matrix counted among the span's, the embedding included: its layer among the streamed ones, and which of the layer's
    /// matrices it is; `None` where it stays on the device.
    pub(crate) fn streamed_matrix(&self, index: usize) -> Option<(usize, usize)> {
        let index = index.checked_sub(usize::from(self.is_first))?;
        let (layer, kind) = (index / MATRICES, index % MATRICES);
        let resident = self.layers.len() - self.streamed;
        let streamed = layer.checked_sub(resident)?;
        (layer < self.layers.len()).then_some((streamed, kind))
    }
}

/// Where shares lie in the model.
pub(crate) fn spans(shares: &[Share]) -> impl Iterator<Item = Span> + '_ {
    let mut end = 0usize;
    (shares.iter().enumerate()).map(move |(index, share)| {
        let first = end;
        end = end.saturating_add(share.layers);
        Span {
            layers: first..end,
            streamed: share.streamed.min(share.layers),
            is_first: index == 0,
            is_last: index + 1 == shares.len(),
        }
    })
}

/// An error unless each of the devices has a share, and the shares are the model.
pub(crate) fn check(shares: &[Share], devices: usize, n_layers: usize) -> Result<(), Error> {
    let all = shares.iter().map(|share| share.layers);
    let sum = all.fold(0usize, usize::saturating_add);
    let sound = |share: &Share| share.layers > 0 && share.streamed <= share.layers;
    if devices > 0 && shares.len() == devices && sum == n_layers && shares.iter().all(sound) {
        return Ok(());
    }
    let found: Vec<String> = shares
        .iter()
        .map(|share| share.layers.to_string())
        .collect();
    Err(Error::Placement {
        found: match found.is_empty() {
            true => "none".to_owned(),
            false => found.join(" + "),
        },
        n_layers,
        devices,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(layers: usize, streamed: usize) -> Share {
        Share { layers, streamed }
    }

    #[test]
    fn spans_follow_each_other() {
        let spans: Vec<Span> = spans(&[share(2, 0), share(3, 2)]).collect();
        assert_eq!(spans[0].layers, 0..2);
        assert!(spans[0].is_first && !spans[0].is_last);
        assert_eq!(spans[1].layers, 2..5);
        assert!(!spans[1].is_first && spans[1].is_last);
    }

    #[test]
    fn matrices_of_streamed_layers_are_known_by_their_number() {
        let spans: Vec<Span> = spans(&[share(2, 1), share(3, 2)]).collect();
        // An embedding, a layer that stays, a layer that does not.
        let first: Vec<_> = (0..10)
            .map(|index| spans[0].streamed_matrix(index))
            .collect();
        assert_eq!(first[..5], [None; 5]);
        assert_eq!(first[5..9], [0, 1, 2, 3].map(|kind| Some((0, kind))));
        assert_eq!(first[9], None);
        let last: Vec<_> = (0..13)
            .map(|index| spans[1].streamed_matrix(index))
            .collect();
        assert_eq!(last[..4], [None; 4]);
        assert_eq!(last[4], Some((0, 0)));
        assert_eq!(last[11], Some((1, 3)));
        // The output.
        assert_eq!(last[12], None);
    }

    #[test]
    fn shares_that_are_not_the_model_are_refused() {
        let refused = |shares: &[Share], devices| {
            let error = check(shares, devices, 5).expect_err("a refusal");
            error.to_string()
        };
        let end = "expected counts that add up to the model's 5 layers, one for each of the 2 adapters, none of them 0";
        for (shares, found) in [
            (vec![share(3, 0), share(1, 0)], "3 + 1"),
            (vec![share(5, 0), share(0, 0)], "5 + 0"),
            (vec![share(5, 0)], "5"),
            (vec![], "none"),
            (
                vec![share(usize::MAX, 0), share(6, 0)],
                "18446744073709551615 + 6",
            ),
        ] {
            let message = format!("the layers are split as {found}: {end}");
            assert_eq!(refused(&shares, 2), message);
        }
        assert!(check(&[share(3, 3), share(2, 0)], 2, 5).is_ok());
        assert!(check(&[share(3, 4), share(2, 0)], 2, 5).is_err());
    }
}
