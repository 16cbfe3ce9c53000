// argmax.subgroup: written by `cargo xtask codegen` from argmax.wesl with slot/reduce.subgroup.wesl.

struct Args {
    rows: u32,
    columns: u32,
    stride: u32,
    pad: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> logits: array<vec4<u32>>;

@group(0) @binding(2)
var<storage, read_write> chosen: array<u32>;

const NO_TOKEN: u32 = 4294967295u;

@compute @workgroup_size(WORKGROUP)
fn argmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: ReduceLane) {
    let row = group.y * groups.x + group.x;
    if row >= args.rows {
        return;
    }
    var largest = 0u;
    var index = NO_TOKEN;
    let words = (args.columns + 3u) / 4u;
    for (var word = lane.index; word < words; word += WORKGROUP) {
        let bits = logits[row * args.stride + word];
        for (var i = 0u; i < 4u; i++) {
            let key = order_key(bits[i]);
            if key > largest && 4u * word + i < args.columns {
                largest = key;
                index = 4u * word + i;
            }
        }
    }
    let winner = reduce_max_word(largest, lane);
    let lowest = ~reduce_max_word(select(0u, ~index, largest == winner), lane);
    if lane.index == 0u {
        chosen[row] = select(NO_TOKEN, lowest, order_is_number(winner));
    }
}

const WORKGROUP: u32 = 256u;

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

var<workgroup> reduce_words: array<u32, REDUCE_PLACES>;

fn reduce_max_word(value: u32, lane: ReduceLane) -> u32 {
    var largest = subgroupMax(value);
    if lane.subgroups > 1u {
        workgroupBarrier();
        if lane.invocation == 0u {
            reduce_words[lane.subgroup] = largest;
        }
        workgroupBarrier();
        largest = reduce_words[0];
        for (var i = 1u; i < lane.subgroups; i++) {
            largest = max(largest, reduce_words[i]);
        }
    }
    return largest;
}

const ORDER_NAN: u32 = 4294967295u;

const ORDER_HIGHEST: u32 = 4286578688u;

const ORDER_LOWEST: u32 = 8388607u;

fn order_key(bits: u32) -> u32 {
    if (bits & 2147483647u) > 2139095040u {
        return ORDER_NAN;
    }
    if bits == 2147483648u {
        return 2147483648u;
    }
    return select(bits | 2147483648u, ~bits, (bits & 2147483648u) != 0u);
}

fn order_is_number(key: u32) -> bool {
    return key > ORDER_LOWEST && key < ORDER_HIGHEST;
}
