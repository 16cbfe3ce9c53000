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
var<storage, read> gate_up: array<f32>;

@group(0) @binding(2)
var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn swiglu(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= args.ffn {
        return;
    }
    let at = id.y * args.in_stride + id.x;
    let gate = gate_up[at];
    let up = gate_up[at + args.ffn];
    out[id.y * args.out_stride + id.x] = gate / (1.0 + exp(-gate)) * up;
}

const WORKGROUP: u32 = 64u;
