// matvec.f16.broadcast: written by `cargo xtask codegen` from matvec.wesl with slot/columns.one.wesl, slot/output.rows.wesl, slot/split.invocation.wesl, slot/weight.f16.wesl.

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
    for (var half = 0u; half < matrix.blocks * 2u; half++) {
        let columns = operand_half_shared(x_row, half, place, &squares);
        sums += vec4<f32>(weight_dot_half(rows.x, half, columns), weight_dot_half(rows.y, half, columns), weight_dot_half(rows.z, half, columns), weight_dot_half(rows.w, half, columns));
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

fn operand_half_shared(x_row: u32, half: u32, place: u32, squares: ptr<function, f32>) -> array<vec4<f32>, 4> {
    let word = half * 4u + place % 4u;
    var own = x[x_row * matrix.blocks * 8u + word];
    if NORM {
        *squares += 0.5 * dot(own, own);
        own *= norm_scale[word];
    }
    return array<vec4<f32>, 4>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u));
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
var<storage, read> weight_data: array<vec4<u64>>;

fn weight_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn weight_four(word: u64) -> vec4<f32> {
    return weight_halves(vec2<u32>(u32(word), u32(word >> 32u)));
}

fn weight_dot_half(row: u32, half: u32, x: array<vec4<f32>, 4>) -> f32 {
    let a = weight_data[row * matrix.blocks * 2u + half];
    let even = dot(weight_four(a.x), x[0]) + dot(weight_four(a.z), x[2]);
    let odd = dot(weight_four(a.y), x[1]) + dot(weight_four(a.w), x[3]);
    return even + odd;
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
