// matmul.f32.invocation: written by `cargo xtask codegen` from matmul.wesl with slot/tile.invocation.wesl, slot/weight.f32.wesl.

@compute @workgroup_size(WORKGROUP)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: TileLane) {
    tile_multiply(group.xy, product_part(group.z, groups.z), lane);
}

const TILE_ROWS: u32 = 256u;

const TILE_X_ROWS: u32 = 8u;

const WORKGROUP: u32 = 64u;

struct TileLane {
    @builtin(local_invocation_index)
    index: u32
}

fn tile_multiply(group: vec2<u32>, part: ProductPart, lane: TileLane) {
    let first = group.x * TILE_ROWS + lane.index * 4u;
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    let x_first = group.y * TILE_X_ROWS;
    let last = matrix.x_rows - 1u;
    let stride = matrix.blocks * 8u;
    let x0 = min(x_first, last) * stride;
    let x1 = min(x_first + 1u, last) * stride;
    let x2 = min(x_first + 2u, last) * stride;
    let x3 = min(x_first + 3u, last) * stride;
    let x4 = min(x_first + 4u, last) * stride;
    let x5 = min(x_first + 5u, last) * stride;
    let x6 = min(x_first + 6u, last) * stride;
    let x7 = min(x_first + 7u, last) * stride;
    var sums: array<vec4<f32>, 8>;
    for (var block = part.begin; block < part.end; block++) {
        var w0 = weight_load_block(rows.x, block);
        var w1 = weight_load_block(rows.y, block);
        var w2 = weight_load_block(rows.z, block);
        var w3 = weight_load_block(rows.w, block);
        let end = min(matrix.blocks * 8u, 8u);
        for (var c = 0u; c < end; c++) {
            let w = mat4x4<f32>(w0[c], w1[c], w2[c], w3[c]);
            let at = block * 8u + c;
            sums[0] += x[x0 + at] * w;
            sums[1] += x[x1 + at] * w;
            sums[2] += x[x2 + at] * w;
            sums[3] += x[x3 + at] * w;
            sums[4] += x[x4 + at] * w;
            sums[5] += x[x5 + at] * w;
            sums[6] += x[x6 + at] * w;
            sums[7] += x[x7 + at] * w;
        }
    }
    for (var j = 0u; j < TILE_X_ROWS; j++) {
        for (var i = 0u; i < 4u; i++) {
            product_write_part(part, x_first + j, first + i, sums[j][i]);
        }
    }
}

@group(0) @binding(1)
var<storage, read> x: array<vec4<f32>>;

@group(0) @binding(2)
var<storage, read> bias: array<f32>;

@group(0) @binding(3)
var<storage, read_write> out: array<f32>;

struct ProductPart {
    begin: u32,
    end: u32,
    index: u32
}

fn product_part(index: u32, parts: u32) -> ProductPart {
    return ProductPart(matrix.blocks * index / parts, matrix.blocks * (index + 1u) / parts, index);
}

fn product_write_part(part: ProductPart, x_row: u32, row: u32, sum: f32) {
    if part.index == 0u {
        product_write(x_row, row, sum);
    }
    else if row < matrix.rows && x_row < matrix.x_rows {
        out[(part.index * matrix.x_rows + x_row) * matrix.out_stride + matrix.first_row + row] = sum;
    }
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
var<storage, read> weight_data: array<vec4<f32>>;

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let at = (row * matrix.blocks + block) * 8u;
    return array<vec4<f32>, 8>(weight_data[at], weight_data[at + 1u], weight_data[at + 2u], weight_data[at + 3u], weight_data[at + 4u], weight_data[at + 5u], weight_data[at + 6u], weight_data[at + 7u]);
}
