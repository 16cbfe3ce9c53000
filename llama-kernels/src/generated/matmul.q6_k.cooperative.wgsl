// matmul.q6_k.cooperative: written by `cargo xtask codegen` from matmul.wesl with slot/tile.matrix.wesl, slot/unit.cooperative.wesl, slot/weight.q6_k.wesl.

enable f16;
enable wgpu_cooperative_matrix;
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
    index: u32,
    @builtin(subgroup_id)
    party: u32,
    @builtin(subgroup_invocation_id)
    member: u32
}

alias UnitA = coop_mat16x16<f16, A>;

alias UnitB = coop_mat16x16<f16, B>;

alias UnitC = coop_mat16x16<f32, C>;

fn unit_party(lane: UnitLane) -> u32 {
    return lane.party;
}

fn unit_member(lane: UnitLane) -> u32 {
    return lane.member;
}

fn unit_weights(row: u32, column: u32, lane: UnitLane) -> UnitA {
    return coopLoadT<UnitA>(&tiles_weights[row * TILES_STRIDE + column], TILES_STRIDE);
}

fn unit_x(row: u32, column: u32, lane: UnitLane) -> UnitB {
    return coopLoad<UnitB>(&tiles_x[row * TILES_STRIDE + column], TILES_STRIDE);
}

fn unit_multiply_add(a: UnitA, b: UnitB, c: UnitC) -> UnitC {
    return coopMultiplyAdd(a, b, c);
}

fn unit_store(c: UnitC, lane: UnitLane) {
    coopStore(c, &tiles_out[lane.party * UNIT * UNIT], UNIT);
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

alias WeightScale = vec2<f32>;

fn weight_record(row: u32, block: u32) -> u32 {
    return row * ((matrix.blocks / 8u * 21u + 3u) / 4u * 4u) + block / 8u * 21u;
}

fn weight_scale(row: u32, block: u32) -> WeightScale {
    let at = weight_record(row, block);
    let bytes = vec2<i32>(bitcast<i32>(weight_scales[at + block % 8u / 2u] >> (block % 2u * 16u)));
    let scales = (bytes << vec2<u32>(24u, 16u)) >> vec2<u32>(24u);
    return unpack2x16float(weight_scales[at + 20u]).x * vec2<f32>(scales);
}

fn weight_above(row: u32, block: u32) -> vec2<u32> {
    let at = weight_record(row, block) + 4u + block % 8u * 2u;
    return vec2<u32>(weight_scales[at], weight_scales[at + 1u]);
}

fn weight_quants(nibbles: u32, above: u32) -> vec4<f32> {
    return quants_bytes((nibbles & 252645135u) | ((above & 50529027u) << 4u), 8388640.0);
}

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let a = weight_data[row * matrix.blocks + block];
    let b = a >> vec4<u32>(4u);
    let above = weight_above(row, block);
    let scale = weight_scale(row, block);
    return array<vec4<f32>, 8>(weight_quants(a.x, above.x) * scale.x, weight_quants(a.y, above.x >> 2u) * scale.x, weight_quants(a.z, above.x >> 4u) * scale.x, weight_quants(a.w, above.x >> 6u) * scale.x, weight_quants(b.x, above.y) * scale.y, weight_quants(b.y, above.y >> 2u) * scale.y, weight_quants(b.z, above.y >> 4u) * scale.y, weight_quants(b.w, above.y >> 6u) * scale.y);
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

fn quants_bytes(word: u32, zero: f32) -> vec4<f32> {
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(quants | vec4<u32>(1258291200u)) - vec4<f32>(zero);
}

const TILES_STRIDE: u32 = 40u;

var<workgroup> tiles_weights: array<f16, TILE_ROWS * TILES_STRIDE>;

var<workgroup> tiles_x: array<f16, TILE_X_ROWS * TILES_STRIDE>;

var<workgroup> tiles_out: array<f32, PARTIES * UNIT * UNIT>;
