// attention_combine.plain: written by `cargo xtask codegen` from attention_combine.wesl.

struct Combined {
    n_heads: u32,
    head_dim: u32,
    words: u32,
    splits: u32,
    out_stride: u32,
    pad_0: u32,
    pad_1: u32,
    pad_2: u32
}

@group(0) @binding(0)
var<uniform> args: Combined;

@group(0) @binding(1)
var<storage, read> partials: array<vec4<f32>>;

@group(0) @binding(2)
var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn attention_combine(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= args.n_heads * args.words {
        return;
    }
    let head = id.x / args.words;
    let word = id.x % args.words;
    let first = partial_at(id.y * args.n_heads + head, 0u, args.splits, args.words);
    var largest = partials[first].x;
    for (var split = 1u; split < args.splits; split++) {
        largest = max(largest, partials[first + split * (args.words + 1u)].x);
    }
    var total = 0.0;
    var sum = vec4<f32>();
    for (var split = 0u; split < args.splits; split++) {
        let at = first + split * (args.words + 1u);
        let head_word = partials[at];
        let weight = exp(head_word.x - largest);
        total += weight * head_word.y;
        sum += weight * partials[at + 1u + word];
    }
    let at = id.y * args.out_stride + head * args.head_dim;
    for (var i = word * 4u; i < min(word * 4u + 4u, args.head_dim); i++) {
        out[at + i] = sum[i % 4u] / total;
    }
}

const WORKGROUP: u32 = 64u;

fn partial_at(query: u32, split: u32, splits: u32, words: u32) -> u32 {
    return (query * splits + split) * (words + 1u);
}
