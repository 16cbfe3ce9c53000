// matvec.int4.four.subgroup: written by `cargo xtask codegen` from matvec.wesl with slot/columns.four.wesl, slot/output.rows.wesl, slot/reduce.subgroup.wesl, slot/split.workgroup.wesl, slot/weight.int4.wesl.

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

fn columns_dot(w: array<vec4<f32>, 8>, x: array<vec4<f32>, 8>) -> f32 {
    let even = dot(w[0], x[0]) + dot(w[2], x[2]) + dot(w[4], x[4]) + dot(w[6], x[6]);
    let odd = dot(w[1], x[1]) + dot(w[3], x[3]) + dot(w[5], x[5]) + dot(w[7], x[7]);
    return even + odd;
}

fn columns_multiply(x_group: u32, first: u32, lane: SplitLane, place: u32) {
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    let x_first = x_group * 4u;
    let x_rows = min(vec4<u32>(x_first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.x_rows - 1u));
    var sums0 = vec4<f32>();
    var sums1 = vec4<f32>();
    var sums2 = vec4<f32>();
    var sums3 = vec4<f32>();
    var squares0 = 0.0;
    var squares1 = 0.0;
    var squares2 = 0.0;
    var squares3 = 0.0;
    for (var block = split_member(lane); block < matrix.blocks; block += SPLIT_TEAM) {
        let w0 = weight_load_block(rows.x, block);
        let w1 = weight_load_block(rows.y, block);
        let w2 = weight_load_block(rows.z, block);
        let w3 = weight_load_block(rows.w, block);
        let x0 = operand_block(x_rows.x, block, &squares0);
        sums0 += vec4<f32>(columns_dot(w0, x0), columns_dot(w1, x0), columns_dot(w2, x0), columns_dot(w3, x0));
        let x1 = operand_block(x_rows.y, block, &squares1);
        sums1 += vec4<f32>(columns_dot(w0, x1), columns_dot(w1, x1), columns_dot(w2, x1), columns_dot(w3, x1));
        let x2 = operand_block(x_rows.z, block, &squares2);
        sums2 += vec4<f32>(columns_dot(w0, x2), columns_dot(w1, x2), columns_dot(w2, x2), columns_dot(w3, x2));
        let x3 = operand_block(x_rows.w, block, &squares3);
        sums3 += vec4<f32>(columns_dot(w0, x3), columns_dot(w1, x3), columns_dot(w2, x3), columns_dot(w3, x3));
    }
    sums0 = split_sum4(sums0, lane);
    sums1 = split_sum4(sums1, lane);
    sums2 = split_sum4(sums2, lane);
    sums3 = split_sum4(sums3, lane);
    if NORM {
        let squares = split_sum4(vec4<f32>(squares0, squares1, squares2, squares3), lane);
        sums0 *= operand_factor(squares.x);
        sums1 *= operand_factor(squares.y);
        sums2 *= operand_factor(squares.z);
        sums3 *= operand_factor(squares.w);
    }
    if split_member(lane) == 0u {
        output_write(x_first, first, sums0);
        output_write(x_first + 1u, first, sums1);
        output_write(x_first + 2u, first, sums2);
        output_write(x_first + 3u, first, sums3);
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

@group(0) @binding(10)
var<storage, read> weight_data: array<vec4<u32>>;

@group(0) @binding(11)
var<storage, read> weight_scales: array<u32>;

alias WeightScale = vec2<f32>;

fn weight_scale(row: u32, block: u32) -> WeightScale {
    let word = weight_scales[row * ((matrix.blocks + 3u) / 4u * 4u) + block];
    return vec2<f32>(unpack2x16float(word).x, QUANTS_NONE + f32(word >> 16u));
}

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let a = weight_data[row * matrix.blocks + block];
    let b = a >> vec4<u32>(4u);
    let scale = weight_scale(row, block);
    return array<vec4<f32>, 8>(quants_nibbles(a.x, scale.y) * scale.x, quants_nibbles(a.y, scale.y) * scale.x, quants_nibbles(a.z, scale.y) * scale.x, quants_nibbles(a.w, scale.y) * scale.x, quants_nibbles(b.x, scale.y) * scale.x, quants_nibbles(b.y, scale.y) * scale.x, quants_nibbles(b.z, scale.y) * scale.x, quants_nibbles(b.w, scale.y) * scale.x);
}

const QUANTS_NONE: f32 = 8388608.0;

fn quants_nibbles(word: u32, zero: f32) -> vec4<f32> {
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    return bitcast<vec4<f32>>(quants | vec4<u32>(1258291200u)) - vec4<f32>(zero);
}

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
