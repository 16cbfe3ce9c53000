// read_sum.wide: written by `cargo xtask codegen` from read_sum.wesl.

struct Args {
    vectors: u32,
    invocations: u32,
    pad0: u32,
    pad1: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> data: array<vec4<u64>>;

@group(0) @binding(2)
var<storage, read_write> out: array<u32>;

fn share(invocation: u32) -> u32 {
    let pairs = args.vectors / 2u;
    let length = (pairs + args.invocations - 1u) / args.invocations;
    let begin = min(invocation * length, pairs);
    let end = min(begin + length, pairs);
    var sum = vec4<u64>();
    var low = vec4<u64>();
    for (var at = begin; at < end; at++) {
        let words = data[at];
        sum += words;
        low += words & vec4<u64>(4294967295lu);
    }
    let high = (sum - low) >> vec4<u32>(32u);
    let halves = high + low;
    return u32(halves.x) + u32(halves.y) + u32(halves.z) + u32(halves.w);
}

@compute @workgroup_size(WORKGROUP)
fn read_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    out[id.x] = share(id.x);
}

const WORKGROUP: u32 = 64u;
