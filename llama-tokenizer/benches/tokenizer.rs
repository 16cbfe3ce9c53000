//! MB/s of encoding and decoding, beside plain `tokenizers` on the same `tokenizer.json`: Llama 2's
//! vocabulary from `../shared` where it is present, else the small one of the tests.
//!
//!     cargo bench -p llama-tokenizer

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput};
use llama_tokenizer::Tokenizer;

const PROSE: &str = include_str!("../tests/golden/corpus.txt");

fn vocabulary() -> (&'static str, Vec<u8>) {
    let shared = "../../shared/data/llama2-vocabulary/tokenizer.json";
    match std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(shared)) {
        Ok(bytes) => ("llama2", bytes),
        Err(_) => (
            "small",
            include_bytes!("../tests/golden/small.json").to_vec(),
        ),
    }
}

fn encode_and_decode(criterion: &mut Criterion) {
    let (name, json) = vocabulary();
    let ours = Tokenizer::from_json_bytes(&json, "tokenizer.json").expect("a vocabulary");
    let plain = tokenizers::Tokenizer::from_bytes(&json).expect("a vocabulary");
    let texts = [
        ("chat_100B", PROSE[..100].to_owned()),
        ("prose_100KB", PROSE.repeat(100_000 / PROSE.len())),
        // Few repeated words: numbers defeat the engine's cache.
        (
            "numbers_100KB",
            (0..17_000).map(|n| format!("{:x} ", n * 7919)).collect(),
        ),
    ];
    for (kind, text) in &texts {
        let bytes = Throughput::Bytes(text.len() as u64);
        let mut group = criterion.benchmark_group(format!("{name}/encode"));
        group.throughput(bytes.clone()).sample_size(20);
        group.bench_function(BenchmarkId::new("llama-tokenizer", kind), |bench| {
            bench.iter(|| ours.encode(black_box(text)).expect("ids"));
        });
        group.bench_function(BenchmarkId::new("tokenizers", kind), |bench| {
            bench.iter(|| {
                plain
                    .encode_fast(black_box(text.as_str()), false)
                    .expect("ids")
            });
        });
        group.finish();

        let ids = ours.encode(text).expect("ids");
        let mut group = criterion.benchmark_group(format!("{name}/decode"));
        group.throughput(bytes).sample_size(20);
        group.bench_function(BenchmarkId::new("llama-tokenizer", kind), |bench| {
            bench.iter(|| ours.decode(black_box(&ids)).expect("text"));
        });
        group.bench_function(BenchmarkId::new("tokenizers", kind), |bench| {
            bench.iter(|| plain.decode(black_box(&ids), false).expect("text"));
        });
        group.finish();
    }
}

fn load(criterion: &mut Criterion) {
    let (name, json) = vocabulary();
    let mut group = criterion.benchmark_group(format!("{name}/load"));
    group
        .throughput(Throughput::Bytes(json.len() as u64))
        .sample_size(10);
    group.bench_function("llama-tokenizer", |bench| {
        bench.iter(|| {
            Tokenizer::from_json_bytes(black_box(&json), "tokenizer.json").expect("a vocabulary")
        });
    });
    group.bench_function("tokenizers", |bench| {
        bench.iter(|| tokenizers::Tokenizer::from_bytes(black_box(&json)).expect("a vocabulary"));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    encode_and_decode(&mut criterion);
    load(&mut criterion);
    criterion.final_summary();
}
