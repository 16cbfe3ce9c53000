// attention.f16.invocation: written by `cargo xtask codegen` from attention.wesl with slot/attend.invocation.wesl, slot/kv.f16.wesl.

@compute @workgroup_size(WORKGROUP)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: AttendLane) {
    let unit = attend_unit(group.y * groups.x + group.x, lane);
    let row = unit / heads.n_heads;
    if row >= step_rows() {
        return;
    }
    attend(row, unit % heads.n_heads, AttendedSplit(group.z, groups.z), lane);
}

const MAX_OCTETS: u32 = 32u;

const WORKGROUP: u32 = 64u;

struct AttendLane {
    @builtin(local_invocation_index)
    index: u32
}

fn attend_unit(group: u32, lane: AttendLane) -> u32 {
    return group * WORKGROUP + lane.index;
}

fn attend_dot(a: mat2x4<f32>, b: mat2x4<f32>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]);
}

fn attend(row: u32, head: u32, split: AttendedSplit, lane: AttendLane) {
    let pages = attended_pages(step_sequence(row), head / (heads.n_heads / heads.n_kv_heads));
    let span = attended_span(step_position(row) + 1u, split);
    let octets = heads.words / 2u;
    var query: array<mat2x4<f32>, MAX_OCTETS>;
    var sums: array<mat2x4<f32>, MAX_OCTETS>;
    for (var octet = 0u; octet < octets; octet++) {
        query[octet] = mat2x4<f32>(attended_query(row, head, octet * 2u), attended_query(row, head, octet * 2u + 1u));
        sums[octet] = mat2x4<f32>();
    }
    var largest = ATTENDED_NONE;
    var total = 0.0;
    for (var first = span.x; first < span.y; first += 4u) {
        let offsets = vec4<u32>(0u, 1u, 2u, 3u);
        let left = vec4<u32>(span.y - first);
        let rows = vec4<u32>(attended_row(pages, first)) + min(offsets, left - vec4<u32>(1u));
        var scores = vec4<f32>();
        for (var octet = 0u; octet < octets; octet++) {
            let own = query[octet];
            scores += vec4<f32>(attend_dot(own, kv_key(rows.x, octet)), attend_dot(own, kv_key(rows.y, octet)), attend_dot(own, kv_key(rows.z, octet)), attend_dot(own, kv_key(rows.w, octet)));
        }
        scores = select(vec4<f32>(ATTENDED_NONE), scores, offsets < left);
        let higher = max(largest, max(max(scores.x, scores.y), max(scores.z, scores.w)));
        let shrink = exp(largest - higher);
        let weights = exp(scores - vec4<f32>(higher));
        largest = higher;
        total = total * shrink + dot(weights, vec4<f32>(1.0));
        for (var octet = 0u; octet < octets; octet++) {
            sums[octet] = sums[octet] * shrink + kv_value(rows.x, octet) * weights.x + kv_value(rows.y, octet) * weights.y + kv_value(rows.z, octet) * weights.z + kv_value(rows.w, octet) * weights.w;
        }
    }
    for (var octet = 0u; octet < octets; octet++) {
        attended_write(row, head, split, octet, sums[octet], largest, total);
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

@group(0) @binding(1)
var<storage, read> qkv: array<f32>;

@group(0) @binding(2)
var<storage, read_write> out: array<f32>;

@group(0) @binding(3)
var<storage, read_write> partials: array<vec4<f32>>;

const ATTENDED_NONE: f32 = -3e38;

const ATTENDED_CHUNK: u32 = 32u;

struct AttendedSplit {
    index: u32,
    count: u32
}

fn attended_span(length: u32, split: AttendedSplit) -> vec2<u32> {
    let chunks = (length + ATTENDED_CHUNK - 1u) / ATTENDED_CHUNK;
    let share = (chunks + split.count - 1u) / split.count * ATTENDED_CHUNK;
    return min(vec2<u32>(split.index, split.index + 1u) * share, vec2<u32>(length));
}

struct AttendedPages {
    table: u32,
    shift: u32,
    kv_head: u32
}

fn attended_pages(sequence: u32, kv_head: u32) -> AttendedPages {
    return AttendedPages(STEP_HEADER + sequence * step[4], step[5], kv_head);
}

fn attended_row(pages: AttendedPages, position: u32) -> u32 {
    let page = min(step[pages.table + (position >> pages.shift)], heads.pages - 1u);
    let place = position & ((1u << pages.shift) - 1u);
    return ((page * heads.n_kv_heads + pages.kv_head) << pages.shift) + place;
}

fn attended_query_value(row: u32, head: u32, i: u32) -> f32 {
    let at = row * heads.qkv_stride + head * heads.head_dim;
    let value = qkv[at + min(i, heads.head_dim - 1u)];
    return select(0.0, value * heads.scale, i < heads.head_dim);
}

fn attended_query(row: u32, head: u32, word: u32) -> vec4<f32> {
    return vec4<f32>(attended_query_value(row, head, word * 4u), attended_query_value(row, head, word * 4u + 1u), attended_query_value(row, head, word * 4u + 2u), attended_query_value(row, head, word * 4u + 3u));
}

fn attended_write(row: u32, head: u32, split: AttendedSplit, octet: u32, sums: mat2x4<f32>, largest: f32, total: f32) {
    if split.count > 1u {
        let at = partial_at(row * heads.n_heads + head, split.index, split.count, heads.words);
        if octet == 0u {
            partials[at] = vec4<f32>(largest, total, 0.0, 0.0);
        }
        partials[at + 1u + octet * 2u] = sums[0];
        partials[at + 2u + octet * 2u] = sums[1];
        return;
    }
    let at = row * heads.out_stride + head * heads.head_dim;
    let first = octet * 8u;
    for (var i = 0u; i < min(8u, heads.head_dim - min(first, heads.head_dim)); i++) {
        out[at + first + i] = sums[i / 4u][i % 4u] / total;
    }
}

@group(0) @binding(15)
var<storage, read> kv_k: array<vec4<u32>>;

@group(0) @binding(16)
var<storage, read> kv_v: array<vec4<u32>>;

fn kv_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn kv_octet(halves: vec4<u32>) -> mat2x4<f32> {
    return mat2x4<f32>(kv_halves(halves.xy), kv_halves(halves.zw));
}

fn kv_key(row: u32, octet: u32) -> mat2x4<f32> {
    return kv_octet(kv_k[row * (heads.words / 2u) + octet]);
}

fn kv_value(row: u32, octet: u32) -> mat2x4<f32> {
    return kv_octet(kv_v[row * (heads.words / 2u) + octet]);
}

fn partial_at(query: u32, split: u32, splits: u32, words: u32) -> u32 {
    return (query * splits + split) * (words + 1u);
}
