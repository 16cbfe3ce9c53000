// embed.q8_0: written by `cargo xtask codegen` from embed.wesl with slot/weight.q8_0.wesl.

@group(0) @binding(1)
var<storage, read> chosen: array<u32>;

@group(0) @binding(2)
var<storage, read_write> out: array<vec4<f32>>;

const NO_TOKEN: u32 = 4294967295u;

@compute @workgroup_size(WORKGROUP)
fn embed(@builtin(global_invocation_id) id: vec3<u32>) {
    let block = id.x;
    let row = id.y;
    if block >= matrix.blocks {
        return;
    }
    var token = step_token(row);
    if (token & STEP_CHOSEN) != 0u {
        let chooser = token ^ STEP_CHOSEN;
        token = NO_TOKEN;
        if chooser < arrayLength(&chosen) {
            token = chosen[chooser];
        }
    }
    var values: array<vec4<f32>, 8>;
    if token >= matrix.first_row && token - matrix.first_row < matrix.rows {
        values = weight_load_block(token - matrix.first_row, block);
    }
    else if token < matrix.matrix_rows || matrix.first_row != 0u {
        return;
    }
    let at = (row * matrix.blocks + block) * 8u;
    out[at] = values[0];
    out[at + 1u] = values[1];
    out[at + 2u] = values[2];
    out[at + 3u] = values[3];
    out[at + 4u] = values[4];
    out[at + 5u] = values[5];
    out[at + 6u] = values[6];
    out[at + 7u] = values[7];
}

const WORKGROUP: u32 = 64u;

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

@group(0) @binding(20)
var<storage, read> step: array<u32>;

const STEP_CHOSEN: u32 = 2147483648u;

fn step_record(row: u32) -> u32 {
    return step[2] + row * step[3];
}

fn step_token(row: u32) -> u32 {
    return step[step_record(row)];
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

fn weight_load_block(row: u32, block: u32) -> array<vec4<f32>, 8> {
    let at = (row * matrix.blocks + block) * 2u;
    let a = weight_data[at];
    let b = weight_data[at + 1u];
    let scale = weight_scale(row, block);
    return array<vec4<f32>, 8>(weight_bytes(a.x) * scale, weight_bytes(a.y) * scale, weight_bytes(a.z) * scale, weight_bytes(a.w) * scale, weight_bytes(b.x) * scale, weight_bytes(b.y) * scale, weight_bytes(b.z) * scale, weight_bytes(b.w) * scale);
}
