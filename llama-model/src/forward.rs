//! The transformer: one function, from the tokens of a step to logits.
//!
//! Touvron et al., "Llama 2" (<https://arxiv.org/abs/2307.09288>) §2.2, in the order of the paper. What each
//! line computes is the function of the same name in `llama_kernels::reference`; here is only which
//! buffers it reads and writes. Tokens, positions, pages and angles are in the step buffer.

use llama_kernels::ops::{
    Argmax, Attention, Embed, GatedMatmul, GatherColumns, GatherRows, HeadsMatmul, Matmul,
    MatmulOptions, Norm, Reach, Sample,
};
use llama_kernels::reference::DrawRules;
use llama_kernels::{Gpu, KvCache, Recorder, StepBuffer, Tensor, WeightMatrix};
use llama_weights::Hyperparameters;

use crate::Error;
use crate::columns::{self, Input, OrderedInputs};
use crate::model::{LayerWeights, Weights};
use crate::scratch::{Scratch, heads};

/// Floating-point operations in one submission. Drivers take a GPU for hung after about 2 s; this is
/// 0.5 s on an adapter that does 200 GFLOP/s. A 7B decode step is 13 GFLOP: one submission.
const OPERATIONS_PER_SUBMIT: u64 = 100_000_000_000;

/// Every operation of a step, bound to its buffers. Shapes: R rows, L of them with logits wanted.
pub(crate) struct Forward {
    /// x `[R, hidden]` = rows of the embedding by token
    embed: Embed,
    layers: Vec<Layer>,
    /// xl `[L, hidden]` = the rows of x whose logits are wanted
    gather: GatherRows,
    /// xl in the order of the output's columns, where that is not the model's own
    output_order: Option<GatherColumns>,
    /// logits `[L, vocab]` = output norm(xl)
    output: Matmul,
    /// chosen `[L]` = the largest logit's token
    argmax: Argmax,
    /// chosen `[1]` = a token drawn by its logits
    sample: Sample,
    /// Bound above; counted as memory while it is kept
    _ordered: OrderedInputs,
    /// Operations per row of one layer, and of the output.
    layer_operations: u64,
    output_operations: u64,
}

/// Who chooses tokens by a step's logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nobody on the GPU: the logits are read.
    OnHost,
    /// The kernel argmax.
    Largest,
    /// The kernel sample, by these rules; of the first row of logits alone.
    Drawn(DrawRules),
}

struct Layer {
    /// What each matrix below is multiplied with, in the order of its columns, where that is not the model's own
    qkv_order: Option<GatherColumns>,
    attention_output_order: Option<GatherColumns>,
    gate_up_order: Option<GatherColumns>,
    down_order: Option<GatherColumns>,
    /// qkv `[R, (n_heads + 2 n_kv_heads) head_dim]` = (query, key, value) norm(x) (+ bias), q turned by its
    /// position; k turned, and v, written to the cache
    qkv: HeadsMatmul,
    /// att `[R, n_heads head_dim]` = softmax(q kᵀ / √head_dim) v, over the sequence up to the row
    attention: Attention,
    /// x `[R, hidden]` += attention_output att (+ bias)
    attention_output: Matmul,
    /// hb `[R, ffn]` = silu(gate) · up of (gate, up) norm(x) (+ bias)
    gate_up: GatedMatmul,
    /// x `[R, hidden]` += down hb (+ bias)
    down: Matmul,
}

impl Forward {
    /// One step of `reach.rows` rows, of which `logit_rows` want logits: leaves those in the scratch's
    /// logits, and what is chosen by them in its chosen. The step buffer has been written. The last
    /// submission is left to the caller.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        reach: Reach,
        logit_rows: usize,
        choice: Choice,
    ) -> Result<Recorder, Error> {
        let rows = reach.rows;
        let mut step = Submission::new(gpu);
        let r = &mut step;
        self.embed.record(r.of(0)?, rows);
        let operations = self.layer_operations * rows as u64;
        for layer in &self.layers {
            let r = r.of(operations)?;
            columns::record(&layer.qkv_order, r, rows);
            layer.qkv.record(r, rows);
            layer.attention.record(r, reach);
            columns::record(&layer.attention_output_order, r, rows);
            layer.attention_output.record(r, rows);
            columns::record(&layer.gate_up_order, r, rows);
            layer.gate_up.record(r, rows);
            columns::record(&layer.down_order, r, rows);
            layer.down.record(r, rows);
        }
        if logit_rows > 0 {
            let r = r.of(self.output_operations * logit_rows as u64)?;
            self.gather.record(r, logit_rows);
            columns::record(&self.output_order, r, logit_rows);
            self.output.record(r, logit_rows);
            match choice {
                Choice::OnHost => {}
                Choice::Largest => self.argmax.record(r, logit_rows),
                Choice::Drawn(_) => self.sample.record(r, 1),
            }
        }
        Ok(step.recorder)
    }

    /// By what rules tokens of a sequence are drawn from the next submission on.
    pub(crate) fn set_rules(
        &self,
        gpu: &Gpu,
        sequence: usize,
        rules: &DrawRules,
    ) -> Result<(), Error> {
        Ok(self.sample.set_rules(gpu, sequence, rules)?)
    }

    /// Binds every operation; nothing is allocated afterwards.
    pub(crate) fn new(
        gpu: &Gpu,
        h: &Hyperparameters,
        weights: &Weights,
        scratch: &Scratch,
        step: &StepBuffer,
        caches: &[KvCache],
    ) -> Result<Self, Error> {
        let Weights {
            embedding,
            layers,
            output_norm,
            output,
            output_order,
        } = weights;
        let Scratch {
            x, xl, xlb, logits, ..
        } = scratch;
        let output = output.as_ref().unwrap_or(embedding);
        let operations = |matrix: &WeightMatrix| 2 * (matrix.rows() * matrix.columns()) as u64;
        let layer_operations = |layer: &LayerWeights| {
            operations(&layer.qkv)
                + operations(&layer.attention_output)
                + operations(&layer.gate_up)
                + operations(&layer.down)
        };
        let norm = Norm {
            scale: output_norm,
            eps: h.rms_norm_eps,
            normed: xlb,
        };
        let ordered = OrderedInputs::new(gpu, h, weights, scratch)?;
        let head = Input::new(gpu, xl, output_order.as_ref(), ordered.xl.as_ref())?;
        Ok(Self {
            embed: Embed::new(gpu, embedding, step, &scratch.chosen, x)?,
            layers: layers
                .iter()
                .zip(caches)
                .map(|(weights, cache)| Layer::new(gpu, h, weights, scratch, &ordered, step, cache))
                .collect::<Result<_, _>>()?,
            gather: GatherRows::new(gpu, x, step, xl)?,
            output: Matmul::new(gpu, output, head.tensor, logits, set(norm, None, None))?,
            output_order: head.gather,
            argmax: Argmax::new(gpu, logits, &scratch.chosen)?,
            sample: Sample::new(gpu, step, logits, &scratch.chosen, 1)?,
            _ordered: ordered,
            layer_operations: layers.first().map_or(0, layer_operations),
            output_operations: operations(output),
        })
    }
}

impl Layer {
    fn new(
        gpu: &Gpu,
        h: &Hyperparameters,
        weights: &LayerWeights,
        scratch: &Scratch,
        ordered: &OrderedInputs,
        step: &StepBuffer,
        cache: &KvCache,
    ) -> Result<Self, Error> {
        let Scratch {
            x,
            xb,
            qkv,
            att,
            att_partials,
            product_partials,
            gate_up,
            hb,
            ..
        } = scratch;
        let partials = Some(product_partials);
        let w = weights;
        let norm = |scale| Norm {
            scale,
            eps: h.rms_norm_eps,
            normed: xb,
        };
        let heads = heads(h);
        let orders = &w.orders;
        let for_qkv = Input::new(gpu, x, orders.qkv.as_ref(), ordered.x.as_ref())?;
        let for_output = Input::new(
            gpu,
            att,
            orders.attention_output.as_ref(),
            ordered.att.as_ref(),
        )?;
        let for_gate_up = Input::new(gpu, x, orders.gate_up.as_ref(), ordered.x.as_ref())?;
        let for_down = Input::new(gpu, hb, orders.down.as_ref(), ordered.hb.as_ref())?;
        Ok(Self {
            qkv: HeadsMatmul::new(
                gpu,
                &w.qkv,
                [for_qkv.tensor, qkv],
                set(norm(&w.attention_norm), w.qkv_bias.as_ref(), partials),
                step,
                cache,
                heads,
            )?,
            attention: Attention::new(gpu, qkv, step, cache, heads, att_partials, att)?,
            attention_output: Matmul::new(
                gpu,
                &w.attention_output,
                for_output.tensor,
                x,
                add(w.attention_output_bias.as_ref(), partials),
            )?,
            gate_up: GatedMatmul::new(
                gpu,
                &w.gate_up,
                for_gate_up.tensor,
                gate_up,
                hb,
                set(norm(&w.ffn_norm), w.gate_up_bias.as_ref(), partials),
            )?,
            down: Matmul::new(gpu, &w.down, for_down.tensor, x, add(w.down_bias.as_ref(), partials))?,
            qkv_order: for_qkv.gather,
            attention_output_order: for_output.gather,
            gate_up_order: for_gate_up.gather,
            down_order: for_down.gather,
        })
    }
}

/// out = W norm(x) (+ bias)
fn set<'a>(
    norm: Norm<'a>,
    bias: Option<&'a Tensor>,
    partials: Option<&'a Tensor>,
) -> MatmulOptions<'a> {
    MatmulOptions {
        norm: Some(norm),
        bias,
        accumulate: false,
        partials,
    }
}

/// out += W x (+ bias): the residual connection
fn add<'a>(bias: Option<&'a Tensor>, partials: Option<&'a Tensor>) -> MatmulOptions<'a> {
    MatmulOptions {
        norm: None,
        bias,
        accumulate: true,
        partials,
    }
}

/// A recorder that is submitted when enough work is in it.
struct Submission<'a> {
    gpu: &'a Gpu,
    recorder: Recorder,
    operations: u64,
}

impl<'a> Submission<'a> {
    fn new(gpu: &'a Gpu) -> Self {
        Self {
            gpu,
            recorder: gpu.recorder(),
            operations: 0,
        }
    }

    /// The recorder for the next `operations`, which stay together.
    fn of(&mut self, operations: u64) -> Result<&mut Recorder, Error> {
        if self.operations > 0 && self.operations + operations > OPERATIONS_PER_SUBMIT {
            let full = std::mem::replace(&mut self.recorder, self.gpu.recorder());
            self.gpu.submit(full)?;
            self.operations = 0;
        }
        self.operations += operations;
        Ok(&mut self.recorder)
    }
}
