// swiglu.plain: written by `cargo xtask codegen` from swiglu.wesl.

struct Args {
    ffn: u32,
    in_stride: u32,
    out_stride: u32,
    pad: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> gate_up: array<vec2<f32>>;

@group(0) @binding(2)
var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn swiglu(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= args.ffn {
        return;
    }
    out[id.y * args.out_stride + id.x] = gated(gate_up[id.y * args.in_stride + id.x]);
}

const WORKGROUP: u32 = 64u;

fn gated(pair: vec2<f32>) -> f32 {
    return pair.x / (1.0 + exp(-pair.x)) * pair.y;
}
