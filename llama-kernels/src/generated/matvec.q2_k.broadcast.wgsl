// matvec.q2_k.broadcast: written by `cargo xtask codegen` from matvec.wesl with slot/columns.one.wesl, slot/output.rows.wesl, slot/split.invocation.wesl, slot/weight.q2_k.wesl.

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
var<storage, read> weight_data: array<vec2<u32>>;

@group(0) @binding(11)
var<storage, read> weight_scales: array<u32>;

alias WeightScale = vec4<f32>;

fn weight_scale(row: u32, block: u32) -> WeightScale {
    let at = row * ((matrix.blocks / 8u * 5u + 3u) / 4u * 4u) + block / 8u * 5u;
    let bytes = weight_scales[at + block % 8u / 2u] >> (block % 2u * 16u);
    let nibbles = (vec4<u32>(bytes) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    let halves = unpack2x16float(weight_scales[at + 4u]);
    return halves.xyxy * vec4<f32>(nibbles);
}

fn weight_quants(word: u32) -> vec4<f32> {
    return quants_bytes(word & 50529027u, QUANTS_NONE);
}

fn weight_dot_block(row: u32, block: u32, x: array<vec4<f32>, 8>) -> f32 {
    let a = weight_data[row * matrix.blocks + block];
    let first = dot(weight_quants(a.x), x[0]) + dot(weight_quants(a.x >> 2u), x[1]) + dot(weight_quants(a.x >> 4u), x[2]) + dot(weight_quants(a.x >> 6u), x[3]);
    let last = dot(weight_quants(a.y), x[4]) + dot(weight_quants(a.y >> 2u), x[5]) + dot(weight_quants(a.y >> 4u), x[6]) + dot(weight_quants(a.y >> 6u), x[7]);
    let first_x = dot((x[0] + x[1]) + (x[2] + x[3]), vec4<f32>(1.0));
    let last_x = dot((x[4] + x[5]) + (x[6] + x[7]), vec4<f32>(1.0));
    return dot(vec4<f32>(first, -first_x, last, -last_x), weight_scale(row, block));
}

const QUANTS_NONE: f32 = 8388608.0;

fn quants_bytes(word: u32, zero: f32) -> vec4<f32> {
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(quants | vec4<u32>(1258291200u)) - vec4<f32>(zero);
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
