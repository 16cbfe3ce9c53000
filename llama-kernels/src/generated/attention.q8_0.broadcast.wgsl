// attention.q8_0.broadcast: written by `cargo xtask codegen` from attention.wesl with slot/attend.broadcast.wesl, slot/kv.q8_0.wesl.

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

const WORKGROUP: u32 = 8u;

struct AttendLane {
    @builtin(local_invocation_index)
    index: u32,
    @builtin(subgroup_invocation_id)
    place: u32
}

fn attend_unit(group: u32, lane: AttendLane) -> u32 {
    return group * (WORKGROUP / 8u) + lane.index / 8u;
}

fn attend_dot(a: mat2x4<f32>, b: mat2x4<f32>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]);
}

fn attend(row: u32, head: u32, split: AttendedSplit, lane: AttendLane) {
    let pages = attended_pages(step_sequence(row), head / (heads.n_heads / heads.n_kv_heads));
    let span = attended_span(step_position(row) + 1u, split);
    let place = lane.place;
    let octets = heads.words / 2u;
    let rounds = (octets + 7u) / 8u;
    var sums: array<mat2x4<f32>, (MAX_OCTETS + 7u) / 8u>;
    for (var round = 0u; round < rounds; round++) {
        sums[round] = mat2x4<f32>();
    }
    var largest = ATTENDED_NONE;
    var total = 0.0;
    for (var first = span.x; first < span.y; first += ATTENDED_CHUNK) {
        let left = span.y - first;
        let eights = vec4<u32>(0u, 8u, 16u, 24u);
        let starts = min(eights, vec4<u32>(left - 1u) / 8u * 8u);
        let bases = vec4<u32>(attended_row(pages, first + starts.x), attended_row(pages, first + starts.y), attended_row(pages, first + starts.z), attended_row(pages, first + starts.w));
        let rows = bases + min(vec4<u32>(place), vec4<u32>(left - 1u) - starts);
        var scores = vec4<f32>();
        for (var octet = 0u; octet < octets; octet++) {
            let own = attended_query_value(row, head, octet * 8u + place);
            let query = mat2x4<f32>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u), subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
            scores += vec4<f32>(attend_dot(query, kv_key(rows.x, octet)), attend_dot(query, kv_key(rows.y, octet)), attend_dot(query, kv_key(rows.z, octet)), attend_dot(query, kv_key(rows.w, octet)));
        }
        scores = select(vec4<f32>(ATTENDED_NONE), scores, eights + vec4<u32>(place) < vec4<u32>(left));
        let highest = max(max(scores.x, scores.y), max(scores.z, scores.w));
        let higher = max(largest, subgroupMax(highest));
        let shrink = exp(largest - higher);
        let weights = exp(scores - vec4<f32>(higher));
        largest = higher;
        total = total * shrink + dot(weights, vec4<f32>(1.0));
        for (var round = 0u; round < rounds; round++) {
            let octet = min(round * 8u + place, octets - 1u);
            var sum = sums[round] * shrink;
            for (var eight = 0u; eight * 8u < min(left, ATTENDED_CHUNK); eight++) {
                let base = bases[eight];
                let last = min(7u, left - 1u - eight * 8u);
                let weight = weights[eight];
                sum += kv_value(base, octet) * subgroupBroadcast(weight, 0u);
                sum += kv_value(base + min(1u, last), octet) * subgroupBroadcast(weight, 1u);
                sum += kv_value(base + min(2u, last), octet) * subgroupBroadcast(weight, 2u);
                sum += kv_value(base + min(3u, last), octet) * subgroupBroadcast(weight, 3u);
                sum += kv_value(base + min(4u, last), octet) * subgroupBroadcast(weight, 4u);
                sum += kv_value(base + min(5u, last), octet) * subgroupBroadcast(weight, 5u);
                sum += kv_value(base + min(6u, last), octet) * subgroupBroadcast(weight, 6u);
                sum += kv_value(base + last, octet) * subgroupBroadcast(weight, 7u);
            }
            sums[round] = sum;
        }
    }
    total = subgroupAdd(total);
    for (var round = 0u; round < rounds; round++) {
        let octet = round * 8u + place;
        if octet < octets {
            attended_write(row, head, split, octet, sums[round], largest, total);
        }
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
var<storage, read> kv_k: array<u32>;

@group(0) @binding(16)
var<storage, read> kv_v: array<u32>;

fn kv_blocks() -> u32 {
    return (heads.words + 7u) / 8u;
}

fn kv_row_words() -> u32 {
    return kv_blocks() * 8u + (kv_blocks() + 1u) / 2u;
}

fn kv_bytes(word: u32) -> vec4<f32> {
    let moved = (vec4<u32>(word ^ 2155905152u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(moved | vec4<u32>(1258291200u)) - vec4<f32>(8388736.0);
}

fn kv_octet_scale(scales: u32, octet: u32) -> f32 {
    let pair = unpack2x16float(scales);
    return select(pair.x, pair.y, (octet & 4u) != 0u);
}

fn kv_key(row: u32, octet: u32) -> mat2x4<f32> {
    let first = row * kv_row_words();
    let at = first + octet * 2u;
    let scale = kv_octet_scale(kv_k[first + kv_blocks() * 8u + octet / 8u], octet);
    return mat2x4<f32>(kv_bytes(kv_k[at]) * scale, kv_bytes(kv_k[at + 1u]) * scale);
}

fn kv_value(row: u32, octet: u32) -> mat2x4<f32> {
    let first = row * kv_row_words();
    let at = first + octet * 2u;
    let scale = kv_octet_scale(kv_v[first + kv_blocks() * 8u + octet / 8u], octet);
    return mat2x4<f32>(kv_bytes(kv_v[at]) * scale, kv_bytes(kv_v[at + 1u]) * scale);
}

fn partial_at(query: u32, split: u32, splits: u32, words: u32) -> u32 {
    return (query * splits + split) * (words + 1u);
}
