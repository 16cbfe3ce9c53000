// matmul.q4_0.twin: written by `cargo xtask codegen` from matmul.wesl with slot/tile.matrix.wesl, slot/unit.scalar.wesl, slot/weight.q4_0.wesl.

enable f16;

@compute @workgroup_size(WORKGROUP)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: TileLane) {
    tile_multiply(group.xy, product_part(group.z, groups.z), lane);
}

const PARTIES: u32 = 8u;

const TILE_ROWS: u32 = 128u;

const TILE_X_ROWS: u32 = 64u;

const UNIT: u32 = 16u;

const WORKGROUP: u32 = 256u;

alias TileLane = UnitLane;

fn tile_put_weights(at: u32, values: vec4<f32>) {
    let halves = vec4<f16>(values);
    tiles_weights[at] = halves.x;
    tiles_weights[at + 1u] = halves.y;
    tiles_weights[at + 2u] = halves.z;
    tiles_weights[at + 3u] = halves.w;
}

fn tile_put_x(at: u32, values: vec4<f32>) {
    let halves = vec4<f16>(clamp(values, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
    tiles_x[at] = halves.x;
    tiles_x[at + 1u] = halves.y;
    tiles_x[at + 2u] = halves.z;
    tiles_x[at + 3u] = halves.w;
}

fn tile_load(first: u32, x_first: u32, block: u32, index: u32) {
    if index < TILE_ROWS {
        let values = weight_load_block(min(first + index, matrix.rows - 1u), block);
        let to = index * TILES_STRIDE;
        tile_put_weights(to, values[0]);
        tile_put_weights(to + 4u, values[1]);
        tile_put_weights(to + 8u, values[2]);
        tile_put_weights(to + 12u, values[3]);
        tile_put_weights(to + 16u, values[4]);
        tile_put_weights(to + 20u, values[5]);
        tile_put_weights(to + 24u, values[6]);
        tile_put_weights(to + 28u, values[7]);
    }
    else {
        let row = (index - TILE_ROWS) / 2u;
        let half = index % 2u;
        let source = (min(x_first + row, matrix.x_rows - 1u) * matrix.blocks + block) * 8u + half * 4u;
        let to = row * TILES_STRIDE + half * 16u;
        tile_put_x(to, x[source]);
        tile_put_x(to + 4u, x[source + 1u]);
        tile_put_x(to + 8u, x[source + 2u]);
        tile_put_x(to + 12u, x[source + 3u]);
    }
}

fn tile_write(part: ProductPart, c: UnitC, row: u32, x_row: u32, lane: UnitLane) {
    workgroupBarrier();
    unit_store(c, lane);
    workgroupBarrier();
    let source = unit_party(lane) * UNIT * UNIT;
    for (var i = unit_member(lane); i < UNIT * UNIT; i += 32u) {
        product_write_part(part, x_row + i / UNIT, row + i % UNIT, tiles_out[source + i]);
    }
}

fn tile_multiply(group: vec2<u32>, part: ProductPart, lane: UnitLane) {
    let first = group.x * TILE_ROWS;
    let x_first = group.y * TILE_X_ROWS;
    let row = unit_party(lane) % 4u * 32u;
    let x_row = unit_party(lane) / 4u * 32u;
    var c00 = UnitC();
    var c01 = UnitC();
    var c10 = UnitC();
    var c11 = UnitC();
    for (var block = part.begin; block < part.end; block++) {
        workgroupBarrier();
        tile_load(first, x_first, block, lane.index);
        workgroupBarrier();
        for (var k = 0u; k < 32u; k += UNIT) {
            let a0 = unit_weights(row, k, lane);
            let a1 = unit_weights(row + UNIT, k, lane);
            let b0 = unit_x(x_row, k, lane);
            let b1 = unit_x(x_row + UNIT, k, lane);
            c00 = unit_multiply_add(a0, b0, c00);
            c01 = unit_multiply_add(a0, b1, c01);
            c10 = unit_multiply_add(a1, b0, c10);
            c11 = unit_multiply_add(a1, b1, c11);
        }
    }
    tile_write(part, c00, first + row, x_first + x_row, lane);
    tile_write(part, c01, first + row, x_first + x_row + UNIT, lane);
    tile_write(part, c10, first + row + UNIT, x_first + x_row, lane);
    tile_write(part, c11, first + row + UNIT, x_first + x_row + UNIT, lane);
}

struct UnitLane {
    @builtin(local_invocation_index)
    index: u32
}

struct UnitA {
    at: u32
}

struct UnitB {
    at: u32
}

struct UnitC {
    low: vec4<f32>,
    high: vec4<f32>
}

fn unit_party(lane: UnitLane) -> u32 {
    return lane.index / 32u;
}

fn unit_member(lane: UnitLane) -> u32 {
    return lane.index % 32u;
}

fn unit_weights(row: u32, column: u32, lane: UnitLane) -> UnitA {
    return UnitA((row + lane.index % 32u / 2u) * TILES_STRIDE + column);
}

fn unit_x(row: u32, column: u32, lane: UnitLane) -> UnitB {
    return UnitB((row + lane.index % 2u * 8u) * TILES_STRIDE + column);
}

fn unit_multiply_add(a: UnitA, b: UnitB, c: UnitC) -> UnitC {
    var sum = c;
    for (var k = 0u; k < UNIT; k++) {
        let weight = f32(tiles_weights[a.at + k]);
        let at = b.at + k;
        sum.low += weight * vec4<f32>(f32(tiles_x[at]), f32(tiles_x[at + TILES_STRIDE]), f32(tiles_x[at + 2u * TILES_STRIDE]), f32(tiles_x[at + 3u * TILES_STRIDE]));
        sum.high += weight * vec4<f32>(f32(tiles_x[at + 4u * TILES_STRIDE]), f32(tiles_x[at + 5u * TILES_STRIDE]), f32(tiles_x[at + 6u * TILES_STRIDE]), f32(tiles_x[at + 7u * TILES_STRIDE]));
    }
    return sum;
}

fn unit_store(c: UnitC, lane: UnitLane) {
    let place = unit_member(lane);
    let at = unit_party(lane) * UNIT * UNIT + place % 2u * 8u * UNIT + place / 2u;
    tiles_out[at] = c.low.x;
    tiles_out[at + UNIT] = c.low.y;
    tiles_out[at + 2u * UNIT] = c.low.z;
    tiles_out[at + 3u * UNIT] = c.low.w;
    tiles_out[at + 4u * UNIT] = c.high.x;
    tiles_out[at + 5u * UNIT] = c.high.y;
    tiles_out[at + 6u * UNIT] = c.high.z;
    tiles_out[at + 7u * UNIT] = c.high.w;
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

@group(0) @binding(10)
var<storage, read> weight_data: array<vec4<u32>>;

@group(0) @binding(11)
var<storage, read> weight_scales: array<u32>;

fn weight_nibbles(word: u32) -> vec4<f32> {
    return quants_nibbles(word, 8388616.0);
}

alias WeightScale = f32;

fn weight_scale(row: u32, block: u32) -> WeightScale {
    let at = row * ((matrix.blocks + 7u) / 8u * 8u) + block;
    let pair = unpack2x16float(weight_scales[at / 2u]);
    return select(pair.x, pair.y, (at & 1u) == 1u);
}

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let a = weight_data[row * matrix.blocks + block];
    let b = a >> vec4<u32>(4u);
    let scale = weight_scale(row, block);
    return array<vec4<f32>, 8>(weight_nibbles(a.x) * scale, weight_nibbles(a.y) * scale, weight_nibbles(a.z) * scale, weight_nibbles(a.w) * scale, weight_nibbles(b.x) * scale, weight_nibbles(b.y) * scale, weight_nibbles(b.z) * scale, weight_nibbles(b.w) * scale);
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

fn quants_nibbles(word: u32, zero: f32) -> vec4<f32> {
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
    return bitcast<vec4<f32>>(quants | vec4<u32>(1258291200u)) - vec4<f32>(zero);
}

const TILES_STRIDE: u32 = 40u;

var<workgroup> tiles_weights: array<f16, TILE_ROWS * TILES_STRIDE>;

var<workgroup> tiles_x: array<f16, TILE_X_ROWS * TILES_STRIDE>;

var<workgroup> tiles_out: array<f32, PARTIES * UNIT * UNIT>;
