// rope.q8_0: written by `cargo xtask codegen` from rope.wesl with slot/kv.q8_0.wesl.

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
    let first = to / heads.words * kv_row_words();
    var scales = vec2<f32>();
    for (var i = 0u; i < 2u; i++) {
        let block = unit * 2u + i;
        if block < kv_blocks() {
            var largest = vec4<f32>();
            for (var word = 0u; word < 8u; word++) {
                largest = max(largest, abs(word_of(row, head, is_value, block * 8u + word)));
            }
            scales[i] = kv_scale(max(max(largest.x, largest.y), max(largest.z, largest.w)));
            for (var word = 0u; word < 8u; word++) {
                let values = word_of(row, head, is_value, block * 8u + word);
                write(is_value, first + block * 8u + word, kv_quants(values, scales[i]));
            }
        }
    }
    write(is_value, first + kv_blocks() * 8u + unit, pack2x16float(scales));
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

const UNIT_WORDS: u32 = 16u;

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

alias KvWord = u32;

fn kv_blocks() -> u32 {
    return (heads.words + 7u) / 8u;
}

fn kv_row_words() -> u32 {
    return kv_blocks() * 8u + (kv_blocks() + 1u) / 2u;
}

fn kv_scale(largest: f32) -> f32 {
    return unpack2x16float(pack2x16float(vec2<f32>(min(largest / 127.0, 65504.0), 0.0))).x;
}

fn kv_quants(values: vec4<f32>, scale: f32) -> u32 {
    let quants = select(vec4<f32>(), round(values / scale), scale > 0.0);
    let bytes = bitcast<vec4<u32>>(vec4<i32>(clamp(quants, vec4<f32>(-127.0), vec4<f32>(127.0)))) & vec4<u32>(255u);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}
