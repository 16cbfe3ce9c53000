// gather_columns.plain: written by `cargo xtask codegen` from gather_columns.wesl.

struct Args {
    columns: u32,
    stride: u32,
    pad0: u32,
    pad1: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> x: array<f32>;

@group(0) @binding(2)
var<storage, read> order: array<u32>;

@group(0) @binding(3)
var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn gather_columns(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= args.columns {
        return;
    }
    let column = min(order[id.x], args.columns - 1);
    out[id.y * args.stride + id.x] = x[id.y * args.stride + column];
}

const WORKGROUP: u32 = 64u;
