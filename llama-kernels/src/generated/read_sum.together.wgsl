// read_sum.together: written by `cargo xtask codegen` from read_sum.wesl.

struct Args {
    vectors: u32,
    invocations: u32,
    pad0: u32,
    pad1: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> data: array<vec4<u32>>;

@group(0) @binding(2)
var<storage, read_write> out: array<u32>;

fn share(invocation: u32) -> u32 {
    let stride = args.invocations;
    var a = vec4<u32>();
    var b = vec4<u32>();
    var c = vec4<u32>();
    var d = vec4<u32>();
    var at = invocation;
    for (; at + 3u * stride < args.vectors; at += 4u * stride) {
        a += data[at];
        b += data[at + stride];
        c += data[at + 2u * stride];
        d += data[at + 3u * stride];
    }
    for (; at < args.vectors; at += stride) {
        a += data[at];
    }
    let sum = (a + b) + (c + d);
    return sum.x + sum.y + sum.z + sum.w;
}

@compute @workgroup_size(WORKGROUP)
fn read_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    out[id.x] = share(id.x);
}

const WORKGROUP: u32 = 64u;
