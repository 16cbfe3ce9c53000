// rope.f32: written by `cargo xtask codegen` from rope.wesl with slot/kv.f32.wesl.

@group(0) @binding(1)
var<storage, read_write> qkv: array<f32>;

@group(0) @binding(2)
var<storage, read_write> kv_k: array<KvWord>;

@group(0) @binding(3)
var<storage, read_write> kv_v: array<KvWord>;

fn plain(head: u32, pair: u32) -> vec2<f32> {
    if pair * 2u < heads.head_dim {
        let at = head + pair * 2u;
        return vec2<f32>(qkv[at], qkv[at + 1u]);
    }
    return vec2<f32>();
}

fn rotated(row: u32, head: u32, pair: u32) -> vec2<f32> {
    if pair * 2u < heads.head_dim {
        return rotate(plain(head, pair), step_rotation(row, pair));
    }
    return vec2<f32>();
}

fn word_of(row: u32, head: u32, is_value: bool, word: u32) -> vec4<f32> {
    if is_value {
        return vec4<f32>(plain(head, word * 2u), plain(head, word * 2u + 1u));
    }
    return vec4<f32>(rotated(row, head, word * 2u), rotated(row, head, word * 2u + 1u));
}

fn write(is_value: bool, at: u32, word: KvWord) {
    if is_value {
        kv_v[at] = word;
    }
    else {
        kv_k[at] = word;
    }
}

fn store(row: u32, head: u32, is_value: bool, to: u32, unit: u32) {
    write(is_value, to + unit, kv_pack(word_of(row, head, is_value, unit)));
}

@compute @workgroup_size(WORKGROUP)
fn rope(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let half = heads.head_dim / 2u;
    let pairs = heads.n_heads * half;
    let units = (heads.words + UNIT_WORDS - 1u) / UNIT_WORDS;
    if id.x < pairs {
        let pair = id.x % half;
        let head = row * heads.qkv_stride + id.x / half * heads.head_dim;
        let turned = rotated(row, head, pair);
        qkv[head + pair * 2u] = turned.x;
        qkv[head + pair * 2u + 1u] = turned.y;
    }
    else if id.x < pairs + 2u * heads.n_kv_heads * units {
        let unit = (id.x - pairs) % units;
        let kv_head = (id.x - pairs) / units % heads.n_kv_heads;
        let is_value = id.x - pairs >= heads.n_kv_heads * units;
        let of_values = select(0u, heads.n_kv_heads, is_value);
        let head = row * heads.qkv_stride + (heads.n_heads + of_values + kv_head) * heads.head_dim;
        let to = heads_cache_row(step_sequence(row), step_position(row), kv_head);
        store(row, head, is_value, to, unit);
    }
}

const UNIT_WORDS: u32 = 1u;

const WORKGROUP: u32 = 64u;

struct Heads {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    words: u32,
    qkv_stride: u32,
    out_stride: u32,
    scale: f32,
    pages: u32
}

@group(0) @binding(9)
var<uniform> heads: Heads;

fn heads_cache_row(sequence: u32, position: u32, kv_head: u32) -> u32 {
    let slot = step_slot(sequence, position);
    return ((min(slot.x, heads.pages - 1u) * heads.n_kv_heads + kv_head) * step_page_size() + slot.y) * heads.words;
}

fn rotate(pair: vec2<f32>, turn: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(pair.x * turn.x - pair.y * turn.y, pair.y * turn.x + pair.x * turn.y);
}

@group(0) @binding(20)
var<storage, read> step: array<u32>;

const STEP_HEADER: u32 = 8u;

fn step_record(row: u32) -> u32 {
    return step[2] + row * step[3];
}

fn step_position(row: u32) -> u32 {
    return step[step_record(row) + 1u];
}

fn step_sequence(row: u32) -> u32 {
    return step[step_record(row) + 2u];
}

fn step_rotation(row: u32, pair: u32) -> vec2<f32> {
    let at = step_record(row) + 4u + 2u * pair;
    return vec2<f32>(bitcast<f32>(step[at]), bitcast<f32>(step[at + 1u]));
}

fn step_page_size() -> u32 {
    return 1u << step[5];
}

fn step_page(sequence: u32, index: u32) -> u32 {
    return step[STEP_HEADER + sequence * step[4] + index];
}

fn step_slot(sequence: u32, position: u32) -> vec2<u32> {
    return vec2<u32>(step_page(sequence, position >> step[5]), position & (step_page_size() - 1u));
}

alias KvWord = vec4<f32>;

fn kv_pack(values: vec4<f32>) -> KvWord {
    return values;
}
