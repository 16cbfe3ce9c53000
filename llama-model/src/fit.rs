//! How a model's layers are shared among devices, whether they fit into their memory, and if not, what would.

use llama_weights::Hyperparameters;

use crate::memory::{PAGE_SIZE, PlacementPlan, Sizes, Stored};
use crate::placement::{self, Share};
use crate::{Error, KvChoice, WeightChoice};

const GIB: f64 = (1u64 << 30) as f64;

/// A model that is to lie on devices, with one session.
#[derive(Debug, Clone)]
pub struct PlacementRequest<'a> {
    /// The model's shape.
    pub hyperparameters: &'a Hyperparameters,
    /// What its file stores tensors in.
    pub stored: Stored<'a>,
    /// How they are to be held.
    pub weights: WeightChoice,
    /// How keys and values are to be held.
    pub kv: KvChoice,
    /// Positions of the session.
    pub context: usize,
    /// Bytes that each device has for it, where that is known: those of
    /// [`Gpu::memory_bytes`](llama_kernels::Gpu::memory_bytes), or as many as could be allocated before memory ran out.
    pub devices: &'a [Option<u64>],
    /// Bytes that the host has for streamed layers, where that is known.
    pub host: Option<u64>,
    /// How many layers' matrices are to stay on the devices, `None` or more than there are being all; the others are streamed.
    pub gpu_layers: Option<usize>,
    /// How many layers each device is to compute. `None` shares them in proportion to memory, or evenly where one device's
    /// is not known.
    pub split: Option<&'a [usize]>,
}

impl PlacementRequest<'_> {
    /// Each device's share of the layers, whether it fits or not.
    ///
    /// # Errors
    /// [`Error::FewerLayers`] for more devices than layers, [`Error::Placement`] for a split that is not the model's.
    pub fn shares(&self) -> Result<Vec<Share>, Error> {
        self.shares_of(&self.sizes())
    }

    fn shares_of(&self, sizes: &Sizes<'_>) -> Result<Vec<Share>, Error> {
        let (devices, n_layers) = (self.devices.len(), self.hyperparameters.n_layers);
        if devices > n_layers {
            return Err(Error::FewerLayers { devices, n_layers });
        }
        let layers = match self.split {
            Some(split) => split.to_vec(),
            None => self.split_by_memory(sizes),
        };
        let share = |layers| Share {
            layers,
            streamed: 0,
        };
        let mut shares: Vec<Share> = layers.into_iter().map(share).collect();
        placement::check(&shares, devices, n_layers)?;
        let resident = self.gpu_layers.unwrap_or(n_layers).min(n_layers);
        // In proportion to the layers of each; what rounding leaves stays where the most is streamed.
        let mut left = resident;
        for share in &mut shares {
            // At most 4096 layers, so nothing overflows.
            let stays = resident * share.layers / n_layers;
            share.streamed = share.layers - stays;
            left -= stays;
        }
        for _ in 0..left {
            if let Some(most) = shares.iter_mut().max_by_key(|share| share.streamed) {
                most.streamed -= 1;
            }
        }
        Ok(shares)
    }

    /// What lies where with these shares.
    pub fn plan(&self, shares: &[Share]) -> PlacementPlan {
        self.sizes().plan(self.kv, self.context, shares)
    }

    fn sizes(&self) -> Sizes<'_> {
        Sizes::new(self.hyperparameters, self.stored, self.weights)
    }

    /// An error unless everything fits with these shares, as far as memory is known.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] and [`Error::DoesNotFitOneOf`], with the formats, contexts and numbers of layers that would;
    /// [`Error::HostTooSmall`].
    pub fn check(&self, shares: &[Share]) -> Result<(), Error> {
        let plan = self.plan(shares);
        let devices = plan.devices.len();
        if let Some((index, there)) = self.too_small(&plan) {
            let needed = &plan.devices[index];
            let (needed_gib, there_gib) = (needed.total() as f64 / GIB, there as f64 / GIB);
            let possible = self.possible();
            return Err(match devices {
                1 => Error::DoesNotFit {
                    needed_gib,
                    weights_gib: needed.weight_bytes.saturating_add(needed.slot_bytes) as f64 / GIB,
                    kv_gib: needed.kv_bytes as f64 / GIB,
                    there_gib,
                    possible,
                },
                devices => Error::DoesNotFitOneOf {
                    device: index + 1,
                    devices,
                    layers: needed.layers.len(),
                    needed_gib,
                    there_gib,
                    possible,
                },
            });
        }
        match self.host {
            Some(there) if plan.host_bytes > there => Err(Error::HostTooSmall {
                layers: shares.iter().map(|share| share.streamed).sum(),
                needed_gib: plan.host_bytes as f64 / GIB,
                there_gib: there as f64 / GIB,
            }),
            _ => Ok(()),
        }
    }

    /// The first device whose memory is too small, and how much it has.
    fn too_small(&self, plan: &PlacementPlan) -> Option<(usize, u64)> {
        let there = plan.devices.iter().zip(self.devices).enumerate();
        let mut known =
            there.filter_map(|(index, (needed, there))| Some((index, needed, (*there)?)));
        known
            .find(|(_, needed, there)| needed.total() > *there)
            .map(|(index, _, there)| (index, there))
    }

    fn fits(&self, sizes: &Sizes<'_>) -> bool {
        let Ok(shares) = self.shares_of(sizes) else {
            return false;
        };
        let plan = sizes.plan(self.kv, self.context, &shares);
        let host = self.host.is_none_or(|there| plan.host_bytes <= there);
        host && self.too_small(&plan).is_none()
    }

    /// As many layers for each device as its room is to that of all; at least one.
    fn split_by_memory(&self, sizes: &Sizes<'_>) -> Vec<usize> {
        let (devices, n_layers) = (self.devices.len(), self.hyperparameters.n_layers);
        let mut layers = vec![0; devices];
        let layer = sizes.layer_bytes(self.kv, self.context).max(1);
        let none = Share {
            layers: 0,
            streamed: 0,
        };
        let besides = sizes.plan(self.kv, self.context, &vec![none; devices]);
        let streams = self.gpu_layers.is_some_and(|resident| resident < n_layers);
        // Two layers have slots.
        let slots = if streams { layer.saturating_mul(2) } else { 0 };
        let rooms: Option<Vec<u64>> = (self.devices.iter().zip(&besides.devices))
            .map(|(there, besides)| {
                there.map(|there| there.saturating_sub(besides.total().saturating_add(slots)))
            })
            .collect();
        let rooms = rooms.filter(|rooms| rooms.iter().any(|room| *room > 0));
        let rooms = rooms.unwrap_or_else(|| vec![u64::MAX / 2; devices]);
        let sum: u128 = rooms.iter().map(|room| u128::from(*room)).sum();
        for (layers, room) in layers.iter_mut().zip(&rooms) {
            // No more than all layers.
            *layers = (n_layers as u128 * u128::from(*room) / sum.max(1)) as usize;
        }
        let mut left = n_layers - layers.iter().sum::<usize>();
        while left > 0 {
            // Where the most room is left.
            let unused = |index: &usize| {
                let used = (layers[*index] as u64).saturating_mul(layer);
                (
                    rooms[*index].saturating_sub(used),
                    std::cmp::Reverse(*index),
                )
            };
            let Some(most) = (0..devices).max_by_key(unused) else {
                break;
            };
            layers[most] += 1;
            left -= 1;
        }
        // A device without a layer would only pass rows on.
        while let Some(none) = layers.iter().position(|layers| *layers == 0) {
            let Some(most) = (0..devices).max_by_key(|index| layers[*index]) else {
                break;
            };
            layers[most] -= 1;
            layers[none] += 1;
        }
        layers
    }

    /// What would fit in place of this, in words.
    fn possible(&self) -> String {
        let with = |weights, context, gpu_layers| Self {
            weights,
            context,
            gpu_layers,
            ..self.clone()
        };
        let smaller = [
            ("f16", WeightChoice::F16),
            ("q8_0", WeightChoice::Q8_0),
            ("q4_0", WeightChoice::Q4_0),
        ];
        let (weights, context, asked) = (self.weights, self.context, self.gpu_layers);
        let sizes = |weights| Sizes::new(self.hyperparameters, self.stored, weights);
        let dtype = (smaller.iter())
            .find(|(_, smaller)| with(*smaller, context, asked).fits(&sizes(*smaller)));
        let at_most = |weights| {
            let sizes = sizes(weights);
            longest(context, |context| {
                with(weights, context, asked).fits(&sizes)
            })
        };
        let streaming = |weights| {
            let sizes = sizes(weights);
            let n_layers = self.hyperparameters.n_layers;
            let fewer = asked.unwrap_or(n_layers).min(n_layers);
            // Zero counts too, and so does none at all.
            let fitting = most(fewer + 1, |count| {
                with(weights, context, Some(count - 1)).fits(&sizes)
            });
            fitting.map(|count| count - 1)
        };
        let at_once = match (dtype, at_most(weights)) {
            (Some((name, _)), Some(context)) => {
                Some(format!("--dtype {name} or --ctx-size {context}"))
            }
            (Some((name, _)), None) => Some(format!("--dtype {name}")),
            (None, Some(context)) => Some(format!("--ctx-size {context}")),
            (None, None) => at_most(WeightChoice::Q4_0)
                .map(|context| format!("--dtype q4_0 with --ctx-size {context}")),
        };
        match (at_once, streaming(weights)) {
            (Some(flags), Some(layers)) => {
                format!("{flags} would fit, and slowly --gpu-layers {layers}")
            }
            (Some(flags), None) => format!("{flags} would fit"),
            (None, Some(layers)) => format!("--gpu-layers {layers} would fit, slowly"),
            (None, None) => match streaming(WeightChoice::Q4_0) {
                Some(layers) => {
                    format!("--dtype q4_0 with --gpu-layers {layers} would fit, slowly")
                }
                None => "no --dtype fits: choose a smaller model or another adapter".to_owned(),
            },
        }
    }
}

/// An error unless the model, whose file stores matrices as `stored`, fits with these choices and one session of `context`
/// positions into `there` bytes of one device; see [`PlacementRequest`].
///
/// # Errors
/// [`Error::DoesNotFit`], with the formats, contexts and numbers of layers that would.
pub fn fit<'a>(
    h: &Hyperparameters,
    stored: impl Into<Stored<'a>>,
    weights: WeightChoice,
    kv: KvChoice,
    context: usize,
    there: u64,
) -> Result<(), Error> {
    let request = PlacementRequest {
        hyperparameters: h,
        stored: stored.into(),
        weights,
        kv,
        context,
        devices: &[Some(there)],
        host: None,
        gpu_layers: None,
        split: None,
    };
    request.check(&request.shares()?)
}

/// The longest context below `context`, in whole pages, that fits.
fn longest(context: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let pages = most(context.div_ceil(PAGE_SIZE), |pages| fits(pages * PAGE_SIZE));
    pages.map(|pages| pages * PAGE_SIZE)
}

/// The largest count from 1 to below `none` that fits, if what fits ends where more is needed.
fn most(none: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut none, mut some) = (none, 0);
    while none - some > 1 {
        let middle = some + (none - some) / 2;
        match fits(middle) {
            true => some = middle,
            false => none = middle,
        }
    }
    (some > 0).then_some(some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama_weights::{DType, RopeScaling};

    /// Llama 2 7B.
    fn shape() -> Hyperparameters {
        Hyperparameters {
            hidden_size: 4096,
            n_layers: 32,
            n_heads: 32,
            n_kv_heads: 32,
            head_dim: 128,
            ffn_size: 11_008,
            vocab_size: 32_000,
            max_position_embeddings: 4096,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            tied_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
        }
    }

    fn said(weights: WeightChoice, context: usize, there_gib: u64) -> String {
        let kv = KvChoice::Auto;
        match fit(&shape(), DType::F16, weights, kv, context, there_gib << 30) {
            Ok(()) => "it fits".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_would_fit_is_said() {
        use WeightChoice::{Auto, Q4_0};
        assert_eq!(said(Auto, 4096, 16), "it fits");
        // GiB needed in all, of weights and there; then what would fit.
        for (weights, needed, held, there, possible) in [
            (
                Auto,
                "14.68",
                "12.55",
                12,
                "--dtype q8_0 would fit, and slowly --gpu-layers 22",
            ),
            (
                Auto,
                "14.68",
                "12.55",
                14,
                "--dtype q8_0 or --ctx-size 2704 would fit, and slowly --gpu-layers 28",
            ),
            (
                Auto,
                "14.68",
                "12.55",
                4,
                "--dtype q4_0 with --ctx-size 704 would fit, and slowly --gpu-layers 1",
            ),
            (
                Q4_0,
                "5.66",
                "3.53",
                5,
                "--ctx-size 2752 would fit, and slowly --gpu-layers 23",
            ),
            (
                Auto,
                "14.68",
                "12.55",
                1,
                "no --dtype fits: choose a smaller model or another adapter",
            ),
        ] {
            assert_eq!(
                said(weights, 4096, there),
                format!(
                    "the model does not fit: it needs {needed} GiB of the adapter's memory (weights {held}, keys and values 2.00), \
                     and there are {there}.00 GiB; {possible}"
                )
            );
        }
    }

    #[test]
    fn what_is_said_to_fit_fits_and_no_page_more() {
        let message = said(WeightChoice::Auto, 4096, 14);
        let context = message.split("--ctx-size ").nth(1).expect("a context");
        let context: usize = context
            .split(' ')
            .next()
            .unwrap_or("")
            .parse()
            .expect("a number");
        assert_eq!(said(WeightChoice::Auto, context, 14), "it fits");
        assert_ne!(said(WeightChoice::Auto, context + PAGE_SIZE, 14), "it fits");
    }

    const GIB: u64 = 1 << 30;

    fn request<'a>(
        hyperparameters: &'a Hyperparameters,
        devices: &'a [Option<u64>],
    ) -> PlacementRequest<'a> {
        PlacementRequest {
            hyperparameters,
            stored: DType::F16.into(),
            weights: WeightChoice::Auto,
            kv: KvChoice::Auto,
            context: 4096,
            devices,
            host: None,
            gpu_layers: None,
            split: None,
        }
    }

    fn layers(request: &PlacementRequest<'_>) -> Vec<(usize, usize)> {
        let shares = request.shares().expect("shares");
        (shares.iter().map(|share| (share.layers, share.streamed))).collect()
    }

    #[test]
    fn layers_that_are_said_to_fit_fit_and_no_layer_more() {
        let h = shape();
        let devices = [Some(12 * GIB)];
        let streaming = |gpu_layers| PlacementRequest {
            gpu_layers: Some(gpu_layers),
            ..request(&h, &devices)
        };
        let said =
            |request: &PlacementRequest<'_>| request.check(&request.shares().expect("shares"));
        assert!(said(&streaming(22)).is_ok());
        let error = said(&streaming(23)).expect_err("a refusal").to_string();
        assert!(error.ends_with("--gpu-layers 22"), "{error}");
        assert_eq!(layers(&streaming(22)), [(32, 10)]);
        // More than there are is all.
        assert_eq!(layers(&streaming(1000)), [(32, 0)]);
        let host = PlacementRequest {
            host: Some(GIB),
            ..streaming(22)
        };
        let error = said(&host).expect_err("a refusal").to_string();
        assert_eq!(
            error,
            "the model does not fit: 10 of its layers would stay in host memory and need 3.77 GiB there, and there are 1.00 \
             GiB; choose a smaller --dtype, or more --gpu-layers"
        );
    }

    #[test]
    fn layers_are_shared_by_the_room_that_is_there() {
        let h = shape();
        let split = |devices: &[Option<u64>]| {
            let request = request(&h, devices);
            let shares = request.shares().expect("shares");
            (request.check(&shares).is_ok(), layers(&request))
        };
        // Not as 2 to 1: embedding, output and activations come first.
        assert_eq!(
            split(&[Some(12 * GIB), Some(6 * GIB)]),
            (true, vec![(22, 0), (10, 0)])
        );
        assert_eq!(
            split(&[Some(24 * GIB), Some(24 * GIB)]),
            (true, vec![(16, 0), (16, 0)])
        );
        assert_eq!(
            split(&[None, None, Some(GIB)]).1,
            [(11, 0), (11, 0), (10, 0)]
        );
        // A device without room passes rows on at least, and is said to be too small.
        let (fits, layers) = split(&[Some(GIB / 2), Some(24 * GIB)]);
        assert_eq!((fits, layers), (false, vec![(1, 0), (31, 0)]));
    }

    #[test]
    fn whatever_fits_in_whole_layers_is_found() {
        let h = shape();
        for first in 4..16 {
            for second in 4..16 {
                let devices = [Some(first * GIB), Some(second * GIB)];
                let request = request(&h, &devices);
                let by_memory = request.check(&request.shares().expect("shares"));
                let any = (1..32).any(|layers| {
                    let split = [layers, 32 - layers];
                    let request = PlacementRequest {
                        split: Some(&split),
                        ..request.clone()
                    };
                    request.check(&request.shares().expect("shares")).is_ok()
                });
                assert_eq!(
                    by_memory.is_ok(),
                    any,
                    "{first} and {second} GiB: {by_memory:?}"
                );
            }
        }
    }

    #[test]
    fn layers_in_host_memory_are_shared_too() {
        let h = shape();
        let devices = [None, None];
        for (gpu_layers, expected) in [
            (0, [(16, 16), (16, 16)]),
            (1, [(16, 16), (16, 15)]),
            (31, [(16, 1), (16, 0)]),
            (32, [(16, 0), (16, 0)]),
        ] {
            let request = PlacementRequest {
                gpu_layers: Some(gpu_layers),
                ..request(&h, &devices)
            };
            let found = layers(&request);
            let streamed: usize = found.iter().map(|(_, streamed)| streamed).sum();
            assert_eq!(streamed, 32 - gpu_layers);
            let mut sorted = found.clone();
            sorted.sort_by_key(|(_, streamed)| std::cmp::Reverse(*streamed));
            assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn one_of_several_that_is_too_small_is_named() {
        let h = shape();
        let devices = [Some(24 * GIB), Some(2 * GIB)];
        let request = PlacementRequest {
            split: Some(&[16, 16]),
            ..request(&h, &devices)
        };
        let shares = request.shares().expect("shares");
        let error = request.check(&shares).expect_err("a refusal").to_string();
        assert!(
            error.starts_with("the model does not fit: adapter 2 of 2 needs 7.")
                && error.contains(" GiB for 16 of its layers, and there are 2.00 GiB; "),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        let h = shape();
        let devices = [None; 33];
        let error = request(&h, &devices).shares().expect_err("a refusal");
        assert_eq!(
            error.to_string(),
            "33 adapters are named and the model has 32 layers: name at most as many adapters"
        );
        let request = PlacementRequest {
            split: Some(&[30, 3]),
            ..request(&h, &devices[..2])
        };
        let error = request.shares().expect_err("a refusal");
        assert_eq!(
            error.to_string(),
            "the layers are split as 30 + 3: expected counts that add up to the model's 32 layers, one for each of the 2 adapters, none of them 0"
        );
    }
}
