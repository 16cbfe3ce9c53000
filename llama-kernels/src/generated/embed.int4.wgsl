// embed.int4: written by `cargo xtask codegen` from embed.wesl with slot/weight.int4.wesl.

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
