// matmul.q5_k.broadcast: written by `cargo xtask codegen` from matmul.wesl with slot/tile.broadcast.wesl, slot/weight.q5_k.wesl.

@compute @workgroup_size(WORKGROUP)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: TileLane) {
    tile_multiply(group.xy, product_part(group.z, groups.z), lane);
}

const TILE_ROWS: u32 = 256u;

const TILE_X_ROWS: u32 = 16u;

const WORKGROUP: u32 = 64u;

struct TileLane {
    @builtin(local_invocation_index)
    index: u32,
    @builtin(subgroup_invocation_id)
    place: u32
}

fn tile_multiply(group: vec2<u32>, part: ProductPart, lane: TileLane) {
    let first = group.x * TILE_ROWS + lane.index * 4u;
    let rows = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(matrix.rows - 1u));
    let x_first = group.y * TILE_X_ROWS;
    let own = min(x_first + vec2<u32>(lane.place, 8u + lane.place), vec2<u32>(matrix.x_rows - 1u)) * matrix.blocks * 8u;
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    var sum4 = vec4<f32>();
    var sum5 = vec4<f32>();
    var sum6 = vec4<f32>();
    var sum7 = vec4<f32>();
    var sum8 = vec4<f32>();
    var sum9 = vec4<f32>();
    var sum10 = vec4<f32>();
    var sum11 = vec4<f32>();
    var sum12 = vec4<f32>();
    var sum13 = vec4<f32>();
    var sum14 = vec4<f32>();
    var sum15 = vec4<f32>();
    let words = min(matrix.blocks * 8u, 8u);
    for (var block = part.begin; block < part.end; block++) {
        let scale0 = weight_scale(rows.x, block);
        let scale1 = weight_scale(rows.y, block);
        let scale2 = weight_scale(rows.z, block);
        let scale3 = weight_scale(rows.w, block);
        for (var word = 0u; word < words; word++) {
            let w = mat4x4<f32>(weight_columns(rows.x, block, word, scale0), weight_columns(rows.y, block, word, scale1), weight_columns(rows.z, block, word, scale2), weight_columns(rows.w, block, word, scale3));
            let lower = x[own.x + block * 8u + word];
            sum0 += subgroupBroadcast(lower, 0u) * w;
            sum1 += subgroupBroadcast(lower, 1u) * w;
            sum2 += subgroupBroadcast(lower, 2u) * w;
            sum3 += subgroupBroadcast(lower, 3u) * w;
            sum4 += subgroupBroadcast(lower, 4u) * w;
            sum5 += subgroupBroadcast(lower, 5u) * w;
            sum6 += subgroupBroadcast(lower, 6u) * w;
            sum7 += subgroupBroadcast(lower, 7u) * w;
            let upper = x[own.y + block * 8u + word];
            sum8 += subgroupBroadcast(upper, 0u) * w;
            sum9 += subgroupBroadcast(upper, 1u) * w;
            sum10 += subgroupBroadcast(upper, 2u) * w;
            sum11 += subgroupBroadcast(upper, 3u) * w;
            sum12 += subgroupBroadcast(upper, 4u) * w;
            sum13 += subgroupBroadcast(upper, 5u) * w;
            sum14 += subgroupBroadcast(upper, 6u) * w;
            sum15 += subgroupBroadcast(upper, 7u) * w;
        }
    }
    tile_write(part, x_first, first, sum0);
    tile_write(part, x_first + 1u, first, sum1);
    tile_write(part, x_first + 2u, first, sum2);
    tile_write(part, x_first + 3u, first, sum3);
    tile_write(part, x_first + 4u, first, sum4);
    tile_write(part, x_first + 5u, first, sum5);
    tile_write(part, x_first + 6u, first, sum6);
    tile_write(part, x_first + 7u, first, sum7);
    tile_write(part, x_first + 8u, first, sum8);
    tile_write(part, x_first + 9u, first, sum9);
    tile_write(part, x_first + 10u, first, sum10);
    tile_write(part, x_first + 11u, first, sum11);
    tile_write(part, x_first + 12u, first, sum12);
    tile_write(part, x_first + 13u, first, sum13);
    tile_write(part, x_first + 14u, first, sum14);
    tile_write(part, x_first + 15u, first, sum15);
}

fn tile_write(part: ProductPart, x_row: u32, row: u32, sums: vec4<f32>) {
    product_write_part(part, x_row, row, sums.x);
    product_write_part(part, x_row, row + 1u, sums.y);
    product_write_part(part, x_row, row + 2u, sums.z);
    product_write_part(part, x_row, row + 3u, sums.w);
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
var<storage, read> weight_data: array<u32>;

@group(0) @binding(11)
var<storage, read> weight_scales: array<u32>;

alias WeightScale = vec2<f32>;

fn weight_record(row: u32, block: u32) -> u32 {
    return (row * (matrix.blocks / 8u) + block / 8u) * 12u;
}

fn weight_scale(row: u32, block: u32) -> WeightScale {
    let at = weight_record(row, block);
    return groups_scale(weight_scales[at], weight_scales[at + 1u], weight_scales[at + 2u], weight_scales[at + 3u], block % 8u);
}

fn weight_fifth(row: u32, block: u32) -> u32 {
    return weight_scales[weight_record(row, block) + 4u + block % 8u];
}

fn weight_quants(nibbles: u32, fifth: u32) -> vec4<f32> {
    return quants_bytes((nibbles & 252645135u) | ((fifth & 16843009u) << 4u), QUANTS_NONE);
}

fn weight_columns(row: u32, block: u32, word: u32, scale: WeightScale) -> vec4<f32> {
    let nibbles = weight_data[(row * matrix.blocks + block) * 4u + word % 4u] >> (word / 4u * 4u);
    return weight_quants(nibbles, weight_fifth(row, block) >> word) * scale.x - vec4<f32>(scale.y);
}

fn groups_scale(halves: u32, scales: u32, leasts: u32, above: u32, group: u32) -> vec2<f32> {
    let low = (vec2<u32>(scales, leasts) >> vec2<u32>(group * 4u)) & vec2<u32>(15u);
    let high = (vec2<u32>(above) >> vec2<u32>(group * 2u, 16u + group * 2u)) & vec2<u32>(3u);
    return unpack2x16float(halves) * vec2<f32>(low | (high << vec2<u32>(4u)));
}

const QUANTS_NONE: f32 = 8388608.0;

fn quants_bytes(word: u32, zero: f32) -> vec4<f32> {
    let quants = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(quants | vec4<u32>(1258291200u)) - vec4<f32>(zero);
}
