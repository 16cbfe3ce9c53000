// gather_rows.plain: written by `cargo xtask codegen` from gather_rows.wesl.

struct Args {
    words: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> x: array<vec4<f32>>;

@group(0) @binding(2)
var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn gather_rows(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= args.words {
        return;
    }
    out[id.y * args.words + id.x] = x[step_logit_row(id.y) * args.words + id.x];
}

const WORKGROUP: u32 = 64u;

@group(0) @binding(20)
var<storage, read> step: array<u32>;

fn step_record(row: u32) -> u32 {
    return step[2] + row * step[3];
}

fn step_logit_row(index: u32) -> u32 {
    return step[step_record(index) + 3u];
}
