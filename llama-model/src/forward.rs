//! The transformer: one function, from the tokens of a step to logits.
//!
//! Touvron et al., "Llama 2" (<https://arxiv.org/abs/2307.09288>) §2.2, in the order of the paper. What each
//! line computes is the function of the same name in `llama_kernels::reference`; here is only which
//! buffers it reads and writes. Tokens, positions, pages and angles are in the step buffer. Where several devices share the
//! layers, each has this function for its own, and x goes from one to the next.

use llama_kernels::ops::{
    Argmax, Attention, Embed, GatedMatmul, GatherColumns, GatherRows, HeadsMatmul, Matmul,
    MatmulOptions, Norm, Reach, Sample,
};
use llama_kernels::reference::DrawRules;
use llama_kernels::{Gpu, KvCache, Recorder, StepBuffer, Tensor, WeightMatrix};
use llama_weights::Hyperparameters;

use crate::Error;
use crate::columns::{self, Input, OrderedInputs};
use crate::model::{HeadWeights, LayerWeights, StageWeights};
use crate::scratch::{HeadScratch, Scratch, heads};
use crate::stream::Stream;

/// Floating-point operations in one submission. Drivers take a GPU for hung after about 2 s; this is
/// 0.5 s on an adapter that does 200 GFLOP/s. A 7B decode step is 13 GFLOP: one submission.
const OPERATIONS_PER_SUBMIT: u64 = 100_000_000_000;

/// Every operation of a step on one device, bound to its buffers. Shapes: R rows, L of them with logits wanted.
pub(crate) struct Forward {
    /// x `[R, hidden]` = rows of the embedding by token; of the first device
    embed: Option<Embed>,
    layers: Vec<Layer>,
    /// How many of the layers, the first ones, have their matrices on the device.
    resident: usize,
    /// Of the last device.
    head: Option<Head>,
    /// Bound by the others; counted as memory while it is kept
    _ordered: OrderedInputs,
    /// Operations per row of one layer.
    layer_operations: u64,
}

struct Head {
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
    /// Operations per row.
    operations: u64,
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
    /// One step of `reach.rows` rows, of which `logit_rows` want logits: takes x from the embedding, or as the device
    /// before left it, and leaves it in the scratch's x; the last device leaves logits there, and what is chosen by them in its chosen.
    /// The step buffer has been written. The last submission is left to the caller.
    pub(crate) fn record(
        &self,
        gpu: &Gpu,
        stream: Option<&Stream>,
        reach: Reach,
        logit_rows: usize,
        choice: Choice,
    ) -> Result<Recorder, Error> {
        let rows = reach.rows;
        let mut step = Submission::new(gpu);
        let r = &mut step;
        if let Some(embed) = &self.embed {
            embed.record(r.of(0)?, rows);
        }
        let operations = self.layer_operations * rows as u64;
        let mut sending = stream.map(Stream::begin);
        for (index, layer) in self.layers.iter().enumerate() {
            if let (Some(sending), Some(streamed)) =
                (&mut sending, index.checked_sub(self.resident))
            {
                // The device computes what was recorded while the host sends.
                r.submit()?;
                sending.send(streamed)?;
            }
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
        if sending.is_some() {
            // Before somebody else sends into the slots.
            r.submit()?;
        }
        drop(sending);
        if let (Some(head), 1..) = (&self.head, logit_rows) {
            let r = r.of(head.operations * logit_rows as u64)?;
            head.gather.record(r, logit_rows);
            columns::record(&head.output_order, r, logit_rows);
            head.output.record(r, logit_rows);
            match choice {
                Choice::OnHost => {}
                Choice::Largest => head.argmax.record(r, logit_rows),
                Choice::Drawn(_) => head.sample.record(r, 1),
            }
        }
        Ok(step.recorder)
    }

    /// By what rules tokens of a sequence are drawn from the next submission on; nothing where no tokens are chosen.
    pub(crate) fn set_rules(
        &self,
        gpu: &Gpu,
        sequence: usize,
        rules: &DrawRules,
    ) -> Result<(), Error> {
        match &self.head {
            Some(head) => Ok(head.sample.set_rules(gpu, sequence, rules)?),
            None => Ok(()),
        }
    }

    /// Binds every operation; nothing is allocated afterwards.
    pub(crate) fn new(
        h: &Hyperparameters,
        weights: &StageWeights,
        scratch: &Scratch,
        step: &StepBuffer,
        caches: &[KvCache],
    ) -> Result<Self, Error> {
        let StageWeights {
            gpu,
            embedding,
            layers,
            head,
            span,
            ..
        } = weights;
        let layer_operations = |layer: &LayerWeights| {
            operations(&layer.qkv)
                + operations(&layer.attention_output)
                + operations(&layer.gate_up)
                + operations(&layer.down)
        };
        let embed = |table| Embed::new(gpu, table, step, &scratch.chosen, &scratch.x);
        let ordered = OrderedInputs::new(gpu, h, weights, scratch)?;
        let heads = head.as_ref().zip(scratch.head.as_ref());
        let head = |(weights, head)| Head::new(gpu, h, weights, scratch, head, &ordered, step);
        Ok(Self {
            embed: embedding.as_ref().map(embed).transpose()?,
            layers: layers
                .iter()
                .zip(caches)
                .map(|(weights, cache)| Layer::new(gpu, h, weights, scratch, &ordered, step, cache))
                .collect::<Result<_, _>>()?,
            resident: span.layers.len() - span.streamed,
            head: heads.map(head).transpose()?,
            layer_operations: layers.first().map_or(0, layer_operations),
            _ordered: ordered,
        })
    }
}

impl Head {
    fn new(
        gpu: &Gpu,
        h: &Hyperparameters,
        weights: &HeadWeights,
        scratch: &Scratch,
        HeadScratch { xl, xlb, logits }: &HeadScratch,
        ordered: &OrderedInputs,
        step: &StepBuffer,
    ) -> Result<Self, Error> {
        let input = Input::new(gpu, xl, weights.order.as_ref(), ordered.xl.as_ref())?;
        let norm = Norm {
            scale: &weights.norm,
            eps: h.rms_norm_eps,
            normed: xlb,
        };
        Ok(Self {
            gather: GatherRows::new(gpu, &scratch.x, step, xl)?,
            output: Matmul::new(
                gpu,
                &weights.output,
                input.tensor,
                logits,
                set(norm, None, None),
            )?,
            output_order: input.gather,
            argmax: Argmax::new(gpu, logits, &scratch.chosen)?,
            sample: Sample::new(gpu, step, logits, &scratch.chosen, 1)?,
            operations: operations(&weights.output),
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
            down: Matmul::new(
                gpu,
                &w.down,
                for_down.tensor,
                x,
                add(w.down_bias.as_ref(), partials),
            )?,
            qkv_order: for_qkv.gather,
            attention_output_order: for_output.gather,
            gate_up_order: for_gate_up.gather,
            down_order: for_down.gather,
        })
    }
}

/// Of one row.
fn operations(matrix: &WeightMatrix) -> u64 {
    2 * (matrix.rows() * matrix.columns()) as u64
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
            self.submit()?;
        }
        self.operations += operations;
        Ok(&mut self.recorder)
    }

    fn submit(&mut self) -> Result<(), Error> {
        let recorded = std::mem::replace(&mut self.recorder, self.gpu.recorder());
        self.operations = 0;
        Ok(self.gpu.submit(recorded)?)
    }
}
