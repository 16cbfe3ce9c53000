// matvec.q8_0.subgroup: written by `cargo xtask codegen` from matvec.wesl with slot/columns.one.wesl, slot/output.rows.wesl, slot/reduce.subgroup.wesl, slot/split.workgroup.wesl, slot/weight.q8_0.wesl.

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
    index: u32,
    @builtin(subgroup_id)
    subgroup: u32,
    @builtin(num_subgroups)
    subgroups: u32,
    @builtin(subgroup_invocation_id)
    invocation: u32
}

const REDUCE_PLACES: u32 = (WORKGROUP + 3u) / 4u;

var<workgroup> reduce_vectors: array<vec4<f32>, REDUCE_PLACES>;

var<workgroup> reduce_floats: array<f32, REDUCE_PLACES>;

fn reduce_sum4(value: vec4<f32>, lane: ReduceLane) -> vec4<f32> {
    var sum = subgroupAdd(value);
    if lane.subgroups > 1u {
        workgroupBarrier();
        if lane.invocation == 0u {
            reduce_vectors[lane.subgroup] = sum;
        }
        workgroupBarrier();
        sum = reduce_vectors[0];
        for (var i = 1u; i < lane.subgroups; i++) {
            sum += reduce_vectors[i];
        }
    }
    return sum;
}

fn reduce_sum(value: f32, lane: ReduceLane) -> f32 {
    var sum = subgroupAdd(value);
    if lane.subgroups > 1u {
        workgroupBarrier();
        if lane.invocation == 0u {
            reduce_floats[lane.subgroup] = sum;
        }
        workgroupBarrier();
        sum = reduce_floats[0];
        for (var i = 1u; i < lane.subgroups; i++) {
            sum += reduce_floats[i];
        }
    }
    return sum;
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

@group(0) @binding(2)
var<storage, read> bias: array<f32>;

@group(0) @binding(3)
var<storage, read_write> out: array<f32>;

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
    let bytes = bitcast<i32>(word);
    return vec4<f32>(vec4<i32>(bytes << 24u, bytes << 16u, bytes << 8u, bytes) >> vec4<u32>(24u));
}

alias WeightScale = f32;

fn weight_scale(row: u32, block: u32) -> WeightScale {
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

override GATED: bool = false;

fn output_write(x_row: u32, row: u32, values: vec4<f32>) {
    if GATED {
        output_gated(x_row, row, values.xy);
        output_gated(x_row, row + 2u, values.zw);
    }
    else {
        product_write(x_row, row, values.x);
        product_write(x_row, row + 1u, values.y);
        product_write(x_row, row + 2u, values.z);
        product_write(x_row, row + 3u, values.w);
    }
}

fn output_gated(x_row: u32, row: u32, values: vec2<f32>) {
    if row >= matrix.rows || x_row >= matrix.x_rows {
        return;
    }
    let column = matrix.first_row + row;
    var pair = values;
    if matrix.bias != 0u {
        pair += vec2<f32>(bias[column], bias[column + 1u]);
    }
    out[x_row * matrix.out_stride + column / 2u] = gated(pair);
}

fn gated(pair: vec2<f32>) -> f32 {
    return pair.x / (1.0 + exp(-pair.x)) * pair.y;
}
