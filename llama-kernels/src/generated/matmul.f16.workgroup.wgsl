// matmul.f16.workgroup: written by `cargo xtask codegen` from matmul.wesl with slot/tile.workgroup.wesl, slot/weight.f16.wesl.

@compute @workgroup_size(WORKGROUP)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: TileLane) {
    tile_multiply(group.xy, product_part(group.z, groups.z), lane);
}

const TILE_ROWS: u32 = 64u;

const TILE_X_ROWS: u32 = 64u;

const WORKGROUP: u32 = 128u;

var<workgroup> tile_weights: array<vec4<f32>, 512>;

var<workgroup> tile_x: array<vec4<f32>, 512>;

struct TileLane {
    @builtin(local_invocation_index)
    index: u32
}

fn tile_place(row: u32, column: u32) -> u32 {
    return row * 8u + ((column + row) & 7u);
}

fn tile_multiply(group: vec2<u32>, part: ProductPart, lane: TileLane) {
    let first = group.x * TILE_ROWS;
    let x_first = group.y * TILE_X_ROWS;
    let row = lane.index % 8u;
    let x_row = lane.index / 8u;
    let loaded = lane.index % 64u;
    var low: array<vec4<f32>, 4>;
    var high: array<vec4<f32>, 4>;
    for (var block = part.begin; block < part.end; block++) {
        if lane.index < 64u {
            let values = weight_load_block(min(first + loaded, matrix.rows - 1u), block);
            tile_weights[tile_place(loaded, 0u)] = values[0];
            tile_weights[tile_place(loaded, 1u)] = values[1];
            tile_weights[tile_place(loaded, 2u)] = values[2];
            tile_weights[tile_place(loaded, 3u)] = values[3];
            tile_weights[tile_place(loaded, 4u)] = values[4];
            tile_weights[tile_place(loaded, 5u)] = values[5];
            tile_weights[tile_place(loaded, 6u)] = values[6];
            tile_weights[tile_place(loaded, 7u)] = values[7];
        }
        else {
            let values = product_block(min(x_first + loaded, matrix.x_rows - 1u), block);
            tile_x[tile_place(loaded, 0u)] = values[0];
            tile_x[tile_place(loaded, 1u)] = values[1];
            tile_x[tile_place(loaded, 2u)] = values[2];
            tile_x[tile_place(loaded, 3u)] = values[3];
            tile_x[tile_place(loaded, 4u)] = values[4];
            tile_x[tile_place(loaded, 5u)] = values[5];
            tile_x[tile_place(loaded, 6u)] = values[6];
            tile_x[tile_place(loaded, 7u)] = values[7];
        }
        workgroupBarrier();
        for (var c = 0u; c < 8u; c++) {
            let w_low = mat4x4<f32>(tile_weights[tile_place(row, c)], tile_weights[tile_place(row + 8u, c)], tile_weights[tile_place(row + 16u, c)], tile_weights[tile_place(row + 24u, c)]);
            let w_high = mat4x4<f32>(tile_weights[tile_place(row + 32u, c)], tile_weights[tile_place(row + 40u, c)], tile_weights[tile_place(row + 48u, c)], tile_weights[tile_place(row + 56u, c)]);
            let x0 = tile_x[tile_place(x_row, c)];
            let x1 = tile_x[tile_place(x_row + 16u, c)];
            let x2 = tile_x[tile_place(x_row + 32u, c)];
            let x3 = tile_x[tile_place(x_row + 48u, c)];
            low[0] += x0 * w_low;
            low[1] += x1 * w_low;
            low[2] += x2 * w_low;
            low[3] += x3 * w_low;
            high[0] += x0 * w_high;
            high[1] += x1 * w_high;
            high[2] += x2 * w_high;
            high[3] += x3 * w_high;
        }
        workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
        for (var i = 0u; i < 4u; i++) {
            product_write_part(part, x_first + x_row + 16u * j, first + row + 8u * i, low[j][i]);
            product_write_part(part, x_first + x_row + 16u * j, first + row + 8u * i + 32u, high[j][i]);
        }
    }
}

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

@group(0) @binding(10)
var<storage, read> weight_data: array<vec4<u32>>;

fn weight_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let at = (row * matrix.blocks + block) * 4u;
    let a = weight_data[at];
    let b = weight_data[at + 1u];
    let c = weight_data[at + 2u];
    let d = weight_data[at + 3u];
    return array<vec4<f32>, 8>(weight_halves(a.xy), weight_halves(a.zw), weight_halves(b.xy), weight_halves(b.zw), weight_halves(c.xy), weight_halves(c.zw), weight_halves(d.xy), weight_halves(d.zw));
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
