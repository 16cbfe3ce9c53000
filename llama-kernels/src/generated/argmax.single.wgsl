// argmax.single: written by `cargo xtask codegen` from argmax.wesl with slot/reduce.single.wesl.

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

const WORKGROUP: u32 = 8u;

struct ReduceLane {
    @builtin(subgroup_invocation_id)
    index: u32
}

fn reduce_max_word(value: u32, lane: ReduceLane) -> u32 {
    return subgroupMax(value);
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
