// attention.f32.invocation: written by `cargo xtask codegen` from attention.wesl with slot/attend.invocation.wesl, slot/kv.f32.wesl.

@compute @workgroup_size(WORKGROUP)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: AttendLane) {
    let unit = attend_unit(group.y * groups.x + group.x, lane);
    let row = unit / heads.n_heads;
    if row >= step_rows() {
        return;
    }
    attend(row, unit % heads.n_heads, lane);
}

const MAX_WORDS: u32 = 64u;

const WORKGROUP: u32 = 64u;

struct AttendLane {
    @builtin(local_invocation_index)
    index: u32
}

fn attend_unit(group: u32, lane: AttendLane) -> u32 {
    return group * WORKGROUP + lane.index;
}

fn attend(row: u32, head: u32, lane: AttendLane) {
    let kv_head = head / (heads.n_heads / heads.n_kv_heads);
    let position = step_position(row);
    let sequence = step_sequence(row);
    let words = heads.words;
    var query: array<vec4<f32>, MAX_WORDS>;
    var sums: array<vec4<f32>, MAX_WORDS>;
    for (var word = 0u; word < words; word++) {
        query[word] = attended_query(row, head, word);
        sums[word] = vec4<f32>();
    }
    var largest = ATTENDED_NONE;
    var total = 0.0;
    for (var first = 0u; first <= position; first += 4u) {
        let places = min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(position - first));
        let rows = vec4<u32>(heads_cache_row(sequence, first, kv_head)) + places * words;
        var scores = vec4<f32>();
        for (var word = 0u; word < words; word++) {
            let q = query[word];
            scores += vec4<f32>(dot(q, attended_key(rows.x + word)), dot(q, attended_key(rows.y + word)), dot(q, attended_key(rows.z + word)), dot(q, attended_key(rows.w + word)));
        }
        let inside = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(position);
        scores = select(vec4<f32>(ATTENDED_NONE), scores, inside);
        let higher = max(largest, max(max(scores.x, scores.y), max(scores.z, scores.w)));
        let shrink = exp(largest - higher);
        let weights = exp(scores - higher);
        largest = higher;
        total = total * shrink + weights.x + weights.y + weights.z + weights.w;
        for (var word = 0u; word < words; word++) {
            sums[word] = sums[word] * shrink + weights.x * attended_value(rows.x + word) + weights.y * attended_value(rows.y + word) + weights.z * attended_value(rows.z + word) + weights.w * attended_value(rows.w + word);
        }
    }
    for (var word = 0u; word * 4u < heads.head_dim; word++) {
        attended_write(row, head, word, sums[word] / total);
    }
}

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

@group(0) @binding(20)
var<storage, read> step: array<u32>;

const STEP_HEADER: u32 = 8u;

fn step_rows() -> u32 {
    return step[0];
}

fn step_record(row: u32) -> u32 {
    return step[2] + row * step[3];
}

fn step_position(row: u32) -> u32 {
    return step[step_record(row) + 1u];
}

fn step_sequence(row: u32) -> u32 {
    return step[step_record(row) + 2u];
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

@group(0) @binding(1)
var<storage, read> qkv: array<f32>;

@group(0) @binding(2)
var<storage, read> kv_k: array<KvWord>;

@group(0) @binding(3)
var<storage, read> kv_v: array<KvWord>;

@group(0) @binding(4)
var<storage, read_write> out: array<f32>;

const ATTENDED_NONE: f32 = -3e38;

fn attended_query(row: u32, head: u32, word: u32) -> vec4<f32> {
    let at = row * heads.qkv_stride + head * heads.head_dim;
    let i = vec4<u32>(word * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = i < vec4<u32>(heads.head_dim);
    let source = vec4<u32>(at) + min(i, vec4<u32>(heads.head_dim - 1u));
    let values = vec4<f32>(qkv[source.x], qkv[source.y], qkv[source.z], qkv[source.w]);
    return select(vec4<f32>(), values * heads.scale, inside);
}

fn attended_key(word: u32) -> vec4<f32> {
    return kv_unpack(kv_k[word]);
}

fn attended_value(word: u32) -> vec4<f32> {
    return kv_unpack(kv_v[word]);
}

fn attended_write(row: u32, head: u32, word: u32, values: vec4<f32>) {
    let at = row * heads.out_stride + head * heads.head_dim;
    for (var i = 0u; i < min(4u, heads.head_dim - word * 4u); i++) {
        out[at + word * 4u + i] = values[i];
    }
}

alias KvWord = vec4<f32>;

fn kv_unpack(word: KvWord) -> vec4<f32> {
    return word;
}
