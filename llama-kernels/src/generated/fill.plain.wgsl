// fill.plain: written by `cargo xtask codegen` from fill.wesl.

struct Args {
    rows: u32,
    vectors: u32,
    first_row: u32,
    values: u32,
    packed: u32,
    seed: u32,
    record: u32,
    pad: u32,
    parts: array<vec4<u32>, 3>
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read_write> plane: array<vec4<u32>>;

fn hash(value: u32) -> u32 {
    let state = value * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

fn word(key: u32, w: u32) -> u32 {
    let first = w * args.packed;
    if first >= args.values {
        return 0u;
    }
    let at = w % args.record;
    var part = args.parts[2];
    if at < args.parts[0].x {
        part = args.parts[0];
    }
    else if at < args.parts[1].x {
        part = args.parts[1];
    }
    let noise = (hash(key + w) & part.y) | part.z;
    let is_half = first + args.packed > args.values;
    return select(noise, noise & 65535u, is_half);
}

@compute @workgroup_size(WORKGROUP)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = (group.y * groups.x + group.x) * WORKGROUP + lane;
    if at >= args.rows * args.vectors {
        return;
    }
    let row = at / args.vectors;
    let w = (at - row * args.vectors) * 4u;
    let key = hash(args.seed ^ hash(args.first_row + row));
    plane[at] = vec4<u32>(word(key, w), word(key, w + 1u), word(key, w + 2u), word(key, w + 3u));
}

const WORKGROUP: u32 = 64u;
