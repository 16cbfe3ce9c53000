// matvec.q8_0.workgroup: written by `cargo xtask codegen` from matvec.wesl with slot/reduce.workgroup.wesl, slot/split.workgroup.wesl, slot/weight.q8_0.wesl.

@compute @workgroup_size(WORKGROUP)
fn matvec(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: SplitLane) {
    let first = split_unit(group.y * groups.x + group.x, lane) * 4u;
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    var sums = vec4<f32>();
    for (var block = split_member(lane); block < matrix.blocks; block += SPLIT_TEAM) {
        let columns = product_block(group.z, block);
        sums += vec4<f32>(weight_dot_block(rows.x, block, columns), weight_dot_block(rows.y, block, columns), weight_dot_block(rows.z, block, columns), weight_dot_block(rows.w, block, columns));
    }
    sums = split_sum4(sums, lane);
    if split_member(lane) == 0u {
        product_write(group.z, first, sums.x);
        product_write(group.z, first + 1u, sums.y);
        product_write(group.z, first + 2u, sums.z);
        product_write(group.z, first + 3u, sums.w);
    }
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

fn split_sum4(value: vec4<f32>, lane: SplitLane) -> vec4<f32> {
    return reduce_sum4(value, lane);
}

struct ReduceLane {
    @builtin(local_invocation_index)
    index: u32
}

var<workgroup> reduce_vectors: array<vec4<f32>, WORKGROUP>;

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

struct MatrixPiece {
    rows: u32,
    first_row: u32,
    matrix_rows: u32,
    blocks: u32,
    x_rows: u32,
    out_stride: u32,
    bias: u32,
    accumulate: u32
}

@group(0) @binding(0)
var<uniform> matrix: MatrixPiece;

@group(0) @binding(1)
var<storage, read> x: array<vec4<f32>>;

@group(0) @binding(2)
var<storage, read> bias: array<f32>;

@group(0) @binding(3)
var<storage, read_write> out: array<f32>;

fn product_block(x_row: u32, block: u32) -> array<vec4<f32>, 8> {
    let at = (x_row * matrix.blocks + block) * 8u;
    return array<vec4<f32>, 8>(x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]);
}

fn product_write(x_row: u32, row: u32, sum: f32) {
    if row >= matrix.rows || x_row >= matrix.x_rows {
        return;
    }
    let column = matrix.first_row + row;
    let at = x_row * matrix.out_stride + column;
    var value = sum;
    if matrix.bias != 0u {
        value += bias[column];
    }
    if matrix.accumulate != 0u {
        value += out[at];
    }
    out[at] = value;
}

@group(0) @binding(10)
var<storage, read> weight_data: array<vec4<u32>>;

@group(0) @binding(11)
var<storage, read> weight_scales: array<u32>;

fn weight_bytes(word: u32) -> vec4<f32> {
    let moved = (vec4<u32>(word ^ 2155905152u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(moved | vec4<u32>(1258291200u)) - vec4<f32>(8388736.0);
}

fn weight_scale(row: u32, block: u32) -> f32 {
    let at = row * ((matrix.blocks + 7u) / 8u * 8u) + block;
    let pair = unpack2x16float(weight_scales[at / 2u]);
    return select(pair.x, pair.y, (at & 1u) == 1u);
}

fn weight_dot_block(row: u32, block: u32, x: array<vec4<f32>, 8>) -> f32 {
    let at = (row * matrix.blocks + block) * 2u;
    let a = weight_data[at];
    let b = weight_data[at + 1u];
    let even = dot(weight_bytes(a.x), x[0]) + dot(weight_bytes(a.z), x[2]) + dot(weight_bytes(b.x), x[4]) + dot(weight_bytes(b.z), x[6]);
    let odd = dot(weight_bytes(a.y), x[1]) + dot(weight_bytes(a.w), x[3]) + dot(weight_bytes(b.y), x[5]) + dot(weight_bytes(b.w), x[7]);
    return (even + odd) * weight_scale(row, block);
}
