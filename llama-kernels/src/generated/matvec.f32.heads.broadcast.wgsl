// matvec.f32.heads.broadcast: written by `cargo xtask codegen` from matvec.wesl with slot/columns.one.wesl, slot/kv.f32.wesl, slot/output.heads.wesl, slot/split.invocation.wesl, slot/weight.f32.wesl.

@compute @workgroup_size(WORKGROUP)
fn matvec(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: SplitLane, @builtin(subgroup_invocation_id) place: u32) {
    let first = split_unit(group.y * groups.x + group.x, lane) * 4u;
    columns_multiply(group.z, first, lane, place);
}

const WORKGROUP: u32 = 32u;

struct SplitLane {
    @builtin(local_invocation_index)
    index: u32
}

const SPLIT_TEAM: u32 = 1u;

fn split_unit(group: u32, lane: SplitLane) -> u32 {
    return group * WORKGROUP + lane.index;
}

fn split_member(lane: SplitLane) -> u32 {
    return 0u;
}

fn split_sum4(value: vec4<f32>, lane: SplitLane) -> vec4<f32> {
    return value;
}

fn columns_multiply(x_row: u32, first: u32, lane: SplitLane, place: u32) {
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    var sums = vec4<f32>();
    var squares = 0.0;
    for (var block = split_member(lane); block < matrix.blocks; block += SPLIT_TEAM) {
        let columns = operand_block_shared(x_row, block, place, &squares);
        sums += vec4<f32>(weight_dot_block(rows.x, block, columns), weight_dot_block(rows.y, block, columns), weight_dot_block(rows.z, block, columns), weight_dot_block(rows.w, block, columns));
    }
    sums = split_sum4(sums, lane);
    if NORM {
        squares = subgroupAdd(squares);
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

fn operand_block_shared(x_row: u32, block: u32, place: u32, squares: ptr<function, f32>) -> array<vec4<f32>, 8> {
    var own = x[(x_row * matrix.blocks + block) * 8u + place];
    if NORM {
        *squares += dot(own, own);
        own *= norm_scale[block * 8u + place];
    }
    return array<vec4<f32>, 8>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u), subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
}

fn operand_factor(squares: f32) -> f32 {
    return inverseSqrt(squares / f32(matrix.columns) + matrix.eps);
}

@group(0) @binding(1)
var<storage, read> x: array<vec4<f32>>;

@group(0) @binding(3)
var<storage, read_write> out: array<f32>;

@group(0) @binding(10)
var<storage, read> weight_data: array<vec4<f32>>;

fn weight_dot_block(row: u32, block: u32, x: array<vec4<f32>, 8>) -> f32 {
    let at = (row * matrix.blocks + block) * 8u;
    let even = dot(weight_data[at], x[0]) + dot(weight_data[at + 2u], x[2]) + dot(weight_data[at + 4u], x[4]) + dot(weight_data[at + 6u], x[6]);
    let odd = dot(weight_data[at + 1u], x[1]) + dot(weight_data[at + 3u], x[3]) + dot(weight_data[at + 5u], x[5]) + dot(weight_data[at + 7u], x[7]);
    return even + odd;
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

alias KvPair = vec2<f32>;

fn kv_pack_pair(values: vec2<f32>) -> KvPair {
    return values;
}
