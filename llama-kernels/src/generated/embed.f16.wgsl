// embed.f16: written by `cargo xtask codegen` from embed.wesl with slot/weight.f16.wesl.

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
