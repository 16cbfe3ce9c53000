// matvec.q5_k.heads.workgroup: written by `cargo xtask codegen` from matvec.wesl with slot/columns.one.wesl, slot/kv.f16.wesl, slot/output.heads.wesl, slot/reduce.workgroup.wesl, slot/split.workgroup.wesl, slot/weight.q5_k.wesl.

@compute @workgroup_size(WORKGROUP)
fn matvec(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: SplitLane) {
    let first = split_unit(group.y * groups.x + group.x, lane) * 4u;
    let place = 0u;
    columns_multiply(group.z, first, lane, place);
}

const WORKGROUP: u32 = 64u;

alias SplitLane = ReduceLane;

const SPLIT_TEAM: u32 = WORKGROUP;

fn split_unit(group: u32, lane: SplitLane) -> u32 {
    return group;
}

fn split_member(lane: SplitLane) -> u32 {
    return lane.index;
}

fn split_sum(value: f32, lane: SplitLane) -> f32 {
    return reduce_sum(value, lane);
}

fn split_sum4(value: vec4<f32>, lane: SplitLane) -> vec4<f32> {
    return reduce_sum4(value, lane);
}

struct ReduceLane {
    @builtin(local_invocation_index)
    index: u32
}

var<workgroup> reduce_vectors: array<vec4<f32>, WORKGROUP>;

var<workgroup> reduce_floats: array<f32, WORKGROUP>;

fn reduce_sum4(value: vec4<f32>, lane: ReduceLane) -> vec4<f32> {
    workgroupBarrier();
    reduce_vectors[lane.index] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.index < half {
            reduce_vectors[lane.index] += reduce_vectors[lane.index + half];
        }
    }
    workgroupBarrier();
    return reduce_vectors[0];
}

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

fn columns_multiply(x_row: u32, first: u32, lane: SplitLane, place: u32) {
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    var sums = vec4<f32>();
    var squares = 0.0;
    for (var block = split_member(lane); block < matrix.blocks; block += SPLIT_TEAM) {
        let columns = operand_block(x_row, block, &squares);
        sums += vec4<f32>(weight_dot_block(rows.x, block, columns), weight_dot_block(rows.y, block, columns), weight_dot_block(rows.z, block, columns), weight_dot_block(rows.w, block, columns));
    }
    sums = split_sum4(sums, lane);
    if NORM {
        squares = split_sum(squares, lane);
        sums *= operand_factor(squares);
    }
    if split_member(lane) == 0u {
        output_write(x_row, first, sums);
    }
}

struct MatrixPiece {
    rows: u32,
    first_row: u32,
    matrix_rows: u32,
    blocks: u32,
    x_rows: u32,
    out_stride: u32,
    bias: u32,
    accumulate: u32,
    columns: u32,
    eps: f32,
    pad0: u32,
    pad1: u32
}

@group(0) @binding(0)
var<uniform> matrix: MatrixPiece;

@group(0) @binding(4)
var<storage, read> norm_scale: array<vec4<f32>>;

override NORM: bool = false;

fn operand_block(x_row: u32, block: u32, squares: ptr<function, f32>) -> array<vec4<f32>, 8> {
    let at = (x_row * matrix.blocks + block) * 8u;
    let plain = array<vec4<f32>, 8>(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
    if !NORM {
        return plain;
    }
    *squares += dot(plain[0], plain[0]) + dot(plain[1], plain[1]) + dot(plain[2], plain[2]) + dot(plain[3], plain[3]) + dot(plain[4], plain[4]) + dot(plain[5], plain[5]) + dot(plain[6], plain[6]) + dot(plain[7], plain[7]);
    let to = block * 8u;
    return array<vec4<f32>, 8>(plain[0] * norm_scale[to], plain[1] * norm_scale[to + 1u], plain[2] * norm_scale[to + 2u], plain[3] * norm_scale[to + 3u], plain[4] * norm_scale[to + 4u], plain[5] * norm_scale[to + 5u], plain[6] * norm_scale[to + 6u], plain[7] * norm_scale[to + 7u]);
}

fn operand_factor(squares: f32) -> f32 {
    return inverseSqrt(squares / f32(matrix.columns) + matrix.eps);
}

@group(0) @binding(1)
var<storage, read> x: array<vec4<f32>>;

@group(0) @binding(3)
var<storage, read_write> out: array<f32>;

@group(0) @binding(10)
var<storage, read> weight_data: array<vec4<u32>>;

@group(0) @binding(11)
var<storage, read> weight_scales: array<u32>;

alias WeightScale = vec2<f32>;

fn weight_record(row: u32, block: u32) -> u32 {
    return (row * (matrix.blocks / 8u) + block / 8u) * 12u;
}

fn weight_scale(row: u32, block: u32) -> WeightScale {
    let at = weight_record(row, block);
    return groups_scale(weight_scales[at], weight_scales[at + 1u], weight_scales[at + 2u], weight_scales[at + 3u], block % 8u);
}

fn weight_fifth(row: u32, block: u32) -> u32 {
    return weight_scales[weight_record(row, block) + 4u + block % 8u];
}

fn weight_quants(nibbles: u32, fifth: u32) -> vec4<f32> {
    return quants_bytes((nibbles & 252645135u) | ((fifth & 16843009u) << 4u), QUANTS_NONE);
}

fn weight_dot_block(row: u32, block: u32, x: array<vec4<f32>, 8>) -> f32 {
    let a = weight_data[row * matrix.blocks + block];
    let fifth = weight_fifth(row, block);
    let low = dot(weight_quants(a.x, fifth), x[0]) + dot(weight_quants(a.y, fifth >> 1u), x[1]) + dot(weight_quants(a.z, fifth >> 2u), x[2]) + dot(weight_quants(a.w, fifth >> 3u), x[3]);
    let high = dot(weight_quants(a.x >> 4u, fifth >> 4u), x[4]) + dot(weight_quants(a.y >> 4u, fifth >> 5u), x[5]) + dot(weight_quants(a.z >> 4u, fifth >> 6u), x[6]) + dot(weight_quants(a.w >> 4u, fifth >> 7u), x[7]);
    let scale = weight_scale(row, block);
    return (low + high) * scale.x - quants_sum(x) * scale.y;
}

const QUANTS_NONE: f32 = 8388608.0;

fn quants_bytes(word: u32, zero: f32) -> vec4<f32> {
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(quants | vec4<u32>(1258291200u)) - vec4<f32>(zero);
}

fn quants_sum(x: array<vec4<f32>, 8>) -> f32 {
    return dot((x[0] + x[1]) + (x[2] + x[3]) + ((x[4] + x[5]) + (x[6] + x[7])), vec4<f32>(1.0));
}

fn groups_scale(halves: u32, scales: u32, leasts: u32, above: u32, group: u32) -> vec2<f32> {
    let low = (vec2<u32>(scales, leasts) >> vec2<u32>(group * 4u)) & vec2<u32>(15u);
    let high = (vec2<u32>(above) >> vec2<u32>(group * 2u, 16u + group * 2u)) & vec2<u32>(3u);
    return unpack2x16float(halves) * vec2<f32>(low | (high << vec2<u32>(4u)));
}

@group(0) @binding(15)
var<storage, read_write> kv_k: array<KvPair>;

@group(0) @binding(16)
var<storage, read_write> kv_v: array<KvPair>;

fn output_write(x_row: u32, row: u32, values: vec4<f32>) {
    output_pair(x_row, row, values.xy);
    output_pair(x_row, row + 2u, values.zw);
}

fn output_pair(x_row: u32, row: u32, pair: vec2<f32>) {
    if row >= matrix.rows || x_row >= matrix.x_rows {
        return;
    }
    let column = matrix.first_row + row;
    let head = column / heads.head_dim;
    let place = column % heads.head_dim / 2u;
    let turned = rotate(pair, step_rotation(x_row, place));
    if head < heads.n_heads {
        let at = x_row * matrix.out_stride + column;
        out[at] = turned.x;
        out[at + 1u] = turned.y;
        return;
    }
    let kv_head = (head - heads.n_heads) % heads.n_kv_heads;
    let at = heads_cache_row(step_sequence(x_row), step_position(x_row), kv_head) * 2u + place;
    if head < heads.n_heads + heads.n_kv_heads {
        kv_k[at] = kv_pack_pair(turned);
    }
    else {
        kv_v[at] = kv_pack_pair(pair);
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

alias KvPair = u32;

fn kv_pack_pair(values: vec2<f32>) -> KvPair {
    return pack2x16float(clamp(values, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
