// attention.f16.workgroup: written by `cargo xtask codegen` from attention.wesl with slot/attend.workgroup.wesl, slot/kv.f16.wesl, slot/reduce.workgroup.wesl.

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

alias AttendLane = ReduceLane;

var<workgroup> attend_query: array<vec4<f32>, MAX_WORDS>;

var<workgroup> attend_weights: array<f32, WORKGROUP>;

var<workgroup> attend_rows: array<u32, WORKGROUP>;

var<workgroup> attend_sums: array<vec4<f32>, WORKGROUP>;

fn attend_unit(group: u32, lane: AttendLane) -> u32 {
    return group;
}

fn attend(row: u32, head: u32, lane: AttendLane) {
    let kv_head = head / (heads.n_heads / heads.n_kv_heads);
    let position = step_position(row);
    let sequence = step_sequence(row);
    let words = heads.words;
    let parties = WORKGROUP / words;
    let party = lane.index / words;
    let word = lane.index % words;
    if lane.index < words {
        attend_query[lane.index] = attended_query(row, head, lane.index);
    }
    var largest = ATTENDED_NONE;
    var total = 0.0;
    var sum = vec4<f32>();
    for (var first = 0u; first <= position; first += WORKGROUP) {
        workgroupBarrier();
        let own = first + lane.index;
        var score = ATTENDED_NONE;
        if own <= position {
            let source = heads_cache_row(sequence, own, kv_head);
            attend_rows[lane.index] = source;
            score = 0.0;
            for (var i = 0u; i < words; i++) {
                score += dot(attend_query[i], attended_key(source + i));
            }
        }
        let higher = max(largest, reduce_max(score, lane));
        let shrink = exp(largest - higher);
        let weight = exp(score - higher);
        largest = higher;
        attend_weights[lane.index] = weight;
        total = total * shrink + reduce_sum(weight, lane);
        sum *= shrink;
        workgroupBarrier();
        let count = min(WORKGROUP, position - first + 1u);
        if party < parties {
            for (var i = party; i < count; i += parties) {
                sum += attend_weights[i] * attended_value(attend_rows[i] + word);
            }
        }
    }
    attend_sums[lane.index] = sum;
    workgroupBarrier();
    if lane.index * 4u < heads.head_dim {
        for (var i = 1u; i < parties; i++) {
            sum += attend_sums[i * words + lane.index];
        }
        attended_write(row, head, lane.index, sum / total);
    }
}

struct ReduceLane {
    @builtin(local_invocation_index)
    index: u32
}

var<workgroup> reduce_floats: array<f32, WORKGROUP>;

fn reduce_sum(value: f32, lane: ReduceLane) -> f32 {
    workgroupBarrier();
    reduce_floats[lane.index] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.index < half {
            reduce_floats[lane.index] += reduce_floats[lane.index + half];
        }
    }
    workgroupBarrier();
    return reduce_floats[0];
}

fn reduce_max(value: f32, lane: ReduceLane) -> f32 {
    workgroupBarrier();
    reduce_floats[lane.index] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.index < half {
            reduce_floats[lane.index] = max(reduce_floats[lane.index], reduce_floats[lane.index + half]);
        }
    }
    workgroupBarrier();
    return reduce_floats[0];
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

alias KvWord = vec2<u32>;

fn kv_unpack(word: KvWord) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y));
}
