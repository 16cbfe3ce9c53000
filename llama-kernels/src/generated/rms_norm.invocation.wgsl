// rms_norm.invocation: written by `cargo xtask codegen` from rms_norm.wesl with slot/split.invocation.wesl.

struct Args {
    max_rows: u32,
    words: u32,
    columns: u32,
    eps: f32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> x: array<vec4<f32>>;

@group(0) @binding(2)
var<storage, read> scale: array<vec4<f32>>;

@group(0) @binding(3)
var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn rms_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: SplitLane) {
    let row = split_unit(group.y * groups.x + group.x, lane);
    if row >= args.max_rows {
        return;
    }
    let first = row * args.words;
    var squares = 0.0;
    for (var word = split_member(lane); word < args.words; word += SPLIT_TEAM) {
        let values = x[first + word];
        squares += dot(values, values);
    }
    let mean = split_sum(squares, lane) / f32(args.columns);
    let factor = inverseSqrt(mean + args.eps);
    for (var word = split_member(lane); word < args.words; word += SPLIT_TEAM) {
        out[first + word] = x[first + word] * factor * scale[word];
    }
}

const WORKGROUP: u32 = 64u;

struct SplitLane {
    @builtin(local_invocation_index)
    index: u32
}

const SPLIT_TEAM: u32 = 1u;

fn split_unit(group: u32, lane: SplitLane) -> u32 {
    return group * WORKGROUP + lane.index;
}

fn split_member(lane: SplitLane) -> u32 {
    return 0u;
}

fn split_sum(value: f32, lane: SplitLane) -> f32 {
    return value;
}
