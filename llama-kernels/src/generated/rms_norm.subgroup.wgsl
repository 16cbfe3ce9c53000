// rms_norm.subgroup: written by `cargo xtask codegen` from rms_norm.wesl with slot/reduce.subgroup.wesl, slot/split.workgroup.wesl.

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

const WORKGROUP: u32 = 256u;

alias SplitLane = ReduceLane;

const SPLIT_TEAM: u32 = WORKGROUP;

fn split_unit(group: u32, lane: SplitLane) -> u32 {
    return group;
}

fn split_member(lane: SplitLane) -> u32 {
    return lane.index;
}

fn split_sum(value: f32, lane: SplitLane) -> f32 {
    return reduce_sum(value, lane);
}

struct ReduceLane {
    @builtin(local_invocation_index)
    index: u32,
    @builtin(subgroup_id)
    subgroup: u32,
    @builtin(num_subgroups)
    subgroups: u32,
    @builtin(subgroup_invocation_id)
    invocation: u32
}

const REDUCE_PLACES: u32 = (WORKGROUP + 3u) / 4u;

var<workgroup> reduce_floats: array<f32, REDUCE_PLACES>;

fn reduce_sum(value: f32, lane: ReduceLane) -> f32 {
    var sum = subgroupAdd(value);
    if lane.subgroups > 1u {
        workgroupBarrier();
        if lane.invocation == 0u {
            reduce_floats[lane.subgroup] = sum;
        }
        workgroupBarrier();
        sum = reduce_floats[0];
        for (var i = 1u; i < lane.subgroups; i++) {
            sum += reduce_floats[i];
        }
    }
    return sum;
}
