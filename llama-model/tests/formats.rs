//! One random model in every form: the logits of transformers from safetensors, and the same from Meta's one and two shards, from
//! `.bin` files (`llama-weights/tests/golden/torch/generate.py`) and from GGUF in F16 (`golden/gguf/generate.py`). Two more in GGUF
//! as in safetensors; and of GGUF's quantized types the logits of the weights as the `gguf` package dequantizes them. GPTQ and AWQ
//! (`llama-weights/tests/golden/int4/generate.py`) give the logits of the weights as AutoGPTQ and AutoAWQ dequantize them.
//! And the same from GGUF files that we write.

mod adapter;
mod logits;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use llama_model::llama_kernels::Gpu;
use llama_model::llama_weights::{Checkpoint, DType, GgufOptions, GgufWriter};
use llama_model::{KvChoice, Model, SessionOptions, WeightChoice, memory_plan};
use safetensors::SafeTensors;

use logits::{all_logits, expect_close, load};

const HELD: [(&str, WeightChoice); 3] = [
    ("f32", WeightChoice::F32),
    ("f16", WeightChoice::F16),
    ("q8_0", WeightChoice::Q8_0),
];

fn main() {
    let mut trials = torch();
    trials.extend(gguf());
    trials.extend(int4());
    trials.extend(written());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn torch() -> Vec<Trial> {
    let folder = |form: &str| golden("../llama-weights/tests/golden/torch").join(form);
    let (safetensors, expected) = (folder("hf"), folder("golden.safetensors"));
    let mut trials = Vec::new();
    for form in ["meta-1", "meta-2", "bin-1", "bin-2"] {
        let prompt = expected.clone();
        trials.extend(same(form, folder(form), safetensors.clone(), move || {
            Ok(Golden::read(&prompt)?.ids)
        }));
    }
    let (prompt, gguf) = (expected.clone(), golden("tests/golden/gguf/torch-f16.gguf"));
    trials.extend(same(
        "torch-f16.gguf",
        gguf,
        safetensors.clone(),
        move || Ok(Golden::read(&prompt)?.ids),
    ));
    trials.push(adapter::trial("safetensors/transformers", move |gpu| {
        let golden = Golden::read(&expected)?;
        // As parity.rs has it.
        let logits = logits(gpu, &safetensors, WeightChoice::F32, &golden.ids)?;
        expect_close(&logits, &golden.logits, 2e-4)
    }));
    trials
}

fn gguf() -> Vec<Trial> {
    let folder = |file: &str| golden("tests/golden/gguf").join(file);
    let mut trials = Vec::new();
    for form in ["gqa-8-to-1-f16", "biases"] {
        let safetensors = golden("tests/golden/parity").join(form);
        let prompt = || Ok((0..60).map(|at| 3 + at * 7 % 90).collect());
        let file = folder(&format!("{form}.gguf"));
        trials.extend(same(&format!("{form}.gguf"), file, safetensors, prompt));
    }
    for form in ["q8_0", "q4_0", "q5_0", "mixed", "mixed-k", "q4_k_m", "q2_k"] {
        for (held, weights) in [("f32", WeightChoice::F32), ("auto", WeightChoice::Auto)] {
            let file = folder(&format!("{form}.gguf"));
            let expected = folder(&format!("{form}.safetensors"));
            trials.push(adapter::trial(format!("{form}.gguf/{held}"), move |gpu| {
                let golden = Golden::read(&expected)?;
                let logits = logits(gpu, &file, weights, &golden.ids)?;
                expect_close(&logits, &golden.logits, 2e-3)
            }));
        }
    }
    trials.push(adapter::trial("blocks are held as they are", blocks_held));
    trials.push(adapter::trial("q2_k.gguf/made q6_k", |gpu| {
        let source = golden("tests/golden/gguf/q2_k.gguf");
        let file = Written::new(&source, DType::Q6K)?;
        let expected = logits(gpu, file.path(), WeightChoice::Auto, &PROMPT)?;
        let found = logits(gpu, &source, WeightChoice::Q6K, &PROMPT)?;
        expect_close(&found, &expected, 1e-6)
    }));
    trials.push(adapter::trial("q2_k.gguf/made q4_k", |gpu| {
        let source = golden("tests/golden/gguf/q2_k.gguf");
        let expected = logits(gpu, &source, WeightChoice::F32, &PROMPT)?;
        let found = logits(gpu, &source, WeightChoice::Q4K, &PROMPT)?;
        // Seven matrices one after the other, each weight off by up to a thirtieth of its group's range.
        expect_close(&found, &expected, 0.35)
    }));
    trials
}

/// What is converted is what kernels join and the file stores in two types: a gate in q2_k and up in q4_k.
fn blocks_held(gpu: &Gpu) -> Result<(), Failed> {
    for (form, otherwise) in [
        ("mixed", vec![]),
        ("q4_k_m", vec![]),
        ("q2_k", vec![]),
        (
            "mixed-k",
            vec![
                "layer 0 gate+up is held in f16: the file stores what kernels join in q2_k and another type",
            ],
        ),
    ] {
        let file = golden("tests/golden/gguf").join(format!("{form}.gguf"));
        let checkpoint = Checkpoint::open(&file)?;
        let model = load(gpu, &checkpoint, WeightChoice::Auto)?;
        let found: Vec<String> = model
            .held_otherwise()
            .iter()
            .map(ToString::to_string)
            .collect();
        if found != otherwise {
            return Err(format!("{form}: {found:?}").into());
        }
        let plan = memory_plan(
            checkpoint.hyperparameters(),
            &checkpoint,
            WeightChoice::Auto,
            KvChoice::Auto,
            1,
        );
        if plan.weight_bytes != model.weight_bytes() {
            let (planned, held) = (plan.weight_bytes, model.weight_bytes());
            return Err(format!("{form}: {planned} bytes planned, {held} held").into());
        }
    }
    Ok(())
}

fn int4() -> Vec<Trial> {
    let folder = |form: &str| golden("../llama-weights/tests/golden/int4").join(form);
    let forms = [
        "gptq-32",
        "gptq-64",
        "gptq-128",
        "gptq-all",
        "gptq-16",
        "gptq-apart",
        "awq-32",
        "awq-64",
        "awq-128",
    ];
    let mut trials = Vec::new();
    for form in forms {
        let (path, expected) = (folder(form), folder(&format!("{form}.safetensors")));
        for (held, weights, tolerance) in [
            ("f32", WeightChoice::F32, 2e-4),
            ("auto", WeightChoice::Auto, 2e-3),
        ] {
            // Rows of a whole prompt go through other kernels than those of one token.
            for (rows, chunk) in [("at once", None), ("one by one", Some(1))] {
                let (path, expected) = (path.clone(), expected.clone());
                trials.push(adapter::trial(
                    format!("{form}/{held}/{rows}"),
                    move |gpu| {
                        let golden = Golden::read(&expected)?;
                        let model = model(gpu, &path, weights)?;
                        let logits = logits_of(&model, chunk, &golden.ids)?;
                        expect_close(&logits, &golden.logits, tolerance)
                    },
                ));
            }
        }
        trials.push(adapter::trial(format!("{form}/held"), move |gpu| {
            let model = model(gpu, &path, WeightChoice::Auto)?;
            let format = model.weight_format();
            // Of gptq-apart, more is held in f16 than in blocks.
            let expected = match form {
                "gptq-16" | "gptq-apart" => "f16",
                _ => "int4",
            };
            if format.name() != expected {
                return Err(format!("held in {}, expected {expected}", format.name()).into());
            }
            let held: Vec<String> = (model.held_otherwise().iter())
                .map(ToString::to_string)
                .collect();
            let apart = ["query+key+value", "gate+up"].map(|matrix| {
                format!(
                    "layer 0 {matrix} is held in f16: the tensors that it joins have their columns in different orders"
                )
            });
            let expected = if form == "gptq-apart" { &apart[..] } else { &[] };
            if held != expected {
                return Err(format!("held otherwise are {held:?}, expected {expected:?}").into());
            }
            let checkpoint = Checkpoint::open(&path)?;
            let h = checkpoint.hyperparameters();
            let plan = memory_plan(h, &checkpoint, WeightChoice::Auto, KvChoice::Auto, 1);
            if plan.weight_bytes != model.weight_bytes() || plan.held_otherwise != model.held_otherwise() {
                return Err(format!("planned {plan:?}, held {} bytes", model.weight_bytes()).into());
            }
            Ok(())
        }));
    }
    trials
}

/// GGUF files that we write ourselves: f32 and f16 as the model that they were written from, quantized types as their values in f32.
fn written() -> Vec<Trial> {
    let mut trials = Vec::new();
    for form in [
        "mha-f32",
        "mha-bf16",
        "gqa-8-to-1-f16",
        "biases",
        "tied",
        "head-dim-24",
        "rope-linear",
        "three-shards",
    ] {
        for (dtype, weights) in [
            (DType::F32, WeightChoice::F32),
            (DType::F16, WeightChoice::F16),
        ] {
            let source = golden("tests/golden/parity").join(form);
            let name = format!("written/{form}/{dtype}");
            trials.push(adapter::trial(name, move |gpu| {
                let file = Written::new(&source, dtype)?;
                let expected = logits(gpu, &source, weights, &PROMPT)?;
                expect_close(
                    &logits(gpu, file.path(), weights, &PROMPT)?,
                    &expected,
                    1e-6,
                )
            }));
        }
    }
    for (dtype, tolerance) in [
        (DType::Q8_0, 2e-3),
        (DType::Q4_0, 2e-3),
        (DType::Q4K, 2e-3),
        (DType::Q6K, 2e-3),
    ] {
        let source = golden("tests/golden/parity/mha-f32");
        trials.push(adapter::trial(
            format!("written/mha-f32/{dtype}"),
            move |gpu| {
                let file = Written::new(&source, dtype)?;
                let values = Written::new(file.path(), DType::F32)?;
                let expected = logits(gpu, values.path(), WeightChoice::F32, &PROMPT)?;
                expect_close(
                    &logits(gpu, file.path(), WeightChoice::Auto, &PROMPT)?,
                    &expected,
                    tolerance,
                )
            },
        ));
    }
    trials
}

const PROMPT: [u32; 24] = {
    let mut ids = [0; 24];
    let mut at = 0;
    while at < 24 {
        ids[at] = 3 + at as u32 * 7 % 90;
        at += 1;
    }
    ids
};

/// A GGUF file for as long as it is needed.
struct Written(tempfile::NamedTempFile);

impl Written {
    fn new(source: &Path, dtype: DType) -> Result<Self, Failed> {
        let checkpoint = Checkpoint::open(source)?;
        let options = GgufOptions {
            dtype,
            vocabulary: None,
            name: None,
        };
        let mut file = tempfile::NamedTempFile::new()?;
        GgufWriter::new(&checkpoint, &options)?
            .write(&mut file, &mut |_| ControlFlow::Continue(()))?;
        Ok(Self(file))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Two forms of one model make one trial for each way of holding the weights.
fn same(
    name: &str,
    form: PathBuf,
    safetensors: PathBuf,
    prompt: impl Fn() -> Result<Vec<u32>, Failed> + Clone + Send + 'static,
) -> Vec<Trial> {
    let trials = HELD.into_iter().map(|(held, weights)| {
        let (form, safetensors, prompt) = (form.clone(), safetensors.clone(), prompt.clone());
        adapter::trial(format!("{name}/{held}"), move |gpu| {
            let ids = prompt()?;
            let expected = logits(gpu, &safetensors, weights, &ids)?;
            expect_close(&logits(gpu, &form, weights, &ids)?, &expected, 1e-6)
        })
    });
    trials.collect()
}

struct Golden {
    ids: Vec<u32>,
    /// `[ids.len(), vocab_size]`
    logits: Vec<f32>,
}

impl Golden {
    fn read(path: &Path) -> Result<Self, Failed> {
        let bytes = std::fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let ids = file.tensor("input_ids")?.data().chunks_exact(8);
        let logits = file.tensor("logits")?.data().chunks_exact(4);
        Ok(Self {
            // Ids are small: the lower half of each i64 holds it.
            ids: ids
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            logits: logits
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        })
    }
}

fn golden(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn model(gpu: &Gpu, form: &Path, weights: WeightChoice) -> Result<Model, Failed> {
    load(gpu, &Checkpoint::open(form)?, weights)
}

/// Of every position, with so many rows a step.
fn logits_of(model: &Model, chunk: Option<usize>, ids: &[u32]) -> Result<Vec<f32>, Failed> {
    let mut session = model.session(&SessionOptions {
        context: ids.len(),
        kv: KvChoice::F32,
        chunk,
    })?;
    all_logits(&mut session, ids)
}

/// Of every position.
fn logits(gpu: &Gpu, form: &Path, weights: WeightChoice, ids: &[u32]) -> Result<Vec<f32>, Failed> {
    logits_of(&model(gpu, form, weights)?, None, ids)
}
