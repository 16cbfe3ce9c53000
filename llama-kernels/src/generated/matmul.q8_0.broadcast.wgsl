// matmul.q8_0.broadcast: written by `cargo xtask codegen` from matmul.wesl with slot/tile.broadcast.wesl, slot/weight.q8_0.wesl.

@compute @workgroup_size(WORKGROUP)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, lane: TileLane) {
    tile_multiply(group.xy, lane);
}

const TILE_ROWS: u32 = 256u;

const TILE_X_ROWS: u32 = 8u;

const WORKGROUP: u32 = 64u;

struct TileLane {
    @builtin(local_invocation_index)
    index: u32,
    @builtin(subgroup_invocation_id)
    place: u32
}

fn tile_multiply(group: vec2<u32>, lane: TileLane) {
    let first = group.x * TILE_ROWS + lane.index * 4u;
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    let x_first = group.y * TILE_X_ROWS;
    let own = min(x_first + lane.place, matrix.x_rows - 1u) * matrix.blocks * 8u;
    var sums: array<vec4<f32>, 8>;
    for (var block = 0u; block < matrix.blocks; block++) {
        var w0 = weight_load_block(rows.x, block);
        var w1 = weight_load_block(rows.y, block);
        var w2 = weight_load_block(rows.z, block);
        var w3 = weight_load_block(rows.w, block);
        let end = min(matrix.blocks * 8u, 8u);
        for (var c = 0u; c < end; c++) {
            let w = mat4x4<f32>(w0[c], w1[c], w2[c], w3[c]);
            let columns = x[own + block * 8u + c];
            sums[0] += subgroupBroadcast(columns, 0u) * w;
            sums[1] += subgroupBroadcast(columns, 1u) * w;
            sums[2] += subgroupBroadcast(columns, 2u) * w;
            sums[3] += subgroupBroadcast(columns, 3u) * w;
            sums[4] += subgroupBroadcast(columns, 4u) * w;
            sums[5] += subgroupBroadcast(columns, 5u) * w;
            sums[6] += subgroupBroadcast(columns, 6u) * w;
            sums[7] += subgroupBroadcast(columns, 7u) * w;
        }
    }
    for (var j = 0u; j < TILE_X_ROWS; j++) {
        for (var i = 0u; i < 4u; i++) {
            product_write(x_first + j, first + i, sums[j][i]);
        }
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

fn weight_bytes(word: u32) -> vec4<f32> {
    let moved = (vec4<u32>(word ^ 2155905152u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(moved | vec4<u32>(1258291200u)) - vec4<f32>(8388736.0);
}

fn weight_scale(row: u32, block: u32) -> f32 {
    let at = row * ((matrix.blocks + 7u) / 8u * 8u) + block;
    let pair = unpack2x16float(weight_scales[at / 2u]);
    return select(pair.x, pair.y, (at & 1u) == 1u);
}

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let at = (row * matrix.blocks + block) * 2u;
    let a = weight_data[at];
    let b = weight_data[at + 1u];
    let scale = weight_scale(row, block);
    return array<vec4<f32>, 8>(weight_bytes(a.x) * scale, weight_bytes(a.y) * scale, weight_bytes(a.z) * scale, weight_bytes(a.w) * scale, weight_bytes(b.x) * scale, weight_bytes(b.y) * scale, weight_bytes(b.z) * scale, weight_bytes(b.w) * scale);
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
