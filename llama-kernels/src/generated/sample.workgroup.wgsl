// sample.workgroup: written by `cargo xtask codegen` from sample.wesl with slot/reduce.workgroup.wesl.

struct Args {
    rows: u32,
    columns: u32,
    stride: u32,
    pad: u32
}

struct Rules {
    scale: u32,
    exponent: i32,
    top_k: u32,
    top_p: u32,
    least: u32,
    pad: array<u32, 3>
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read> logits: array<vec4<u32>>;

@group(0) @binding(2)
var<storage, read> rules: array<Rules>;

@group(0) @binding(3)
var<storage, read_write> weights: array<vec4<u32>>;

@group(0) @binding(4)
var<storage, read_write> ids: array<u32>;

@group(0) @binding(5)
var<storage, read_write> ranged: array<vec4<u32>>;

@group(0) @binding(6)
var<storage, read_write> chosen: array<u32>;

const NO_TOKEN: u32 = 4294967295u;

const ALL: u32 = 4294967295u;

const LARGEST_WEIGHT: u32 = 2147483648u;

struct Stretch {
    begin: u32,
    end: u32
}

struct Search {
    level: u32,
    bit: u32,
    is_by_count: bool,
    packed: u32,
    sum: vec2<u32>,
    above: vec2<u32>
}

struct Kept {
    level: u32,
    ties: u32
}

fn halved(y: u32) -> u32 {
    let fraction = y << 6u;
    var sum = 493577u;
    sum = 5547538u - wide_high(fraction, sum);
    sum = 41218952u - wide_high(fraction, sum);
    sum = 238367376u - wide_high(fraction, sum);
    sum = 1031763206u - wide_high(fraction, sum);
    sum = 2977044447u - wide_high(fraction, sum);
    return LARGEST_WEIGHT - wide_high(fraction, sum) / 2u;
}

fn exponent_of(bits: u32) -> u32 {
    return max((bits >> 23u) & 255u, 1u);
}

fn aligned(bits: u32, exponent: u32) -> u32 {
    let mantissa = (bits & 8388607u) | select(0u, 8388608u, (bits & 2139095040u) != 0u);
    return (mantissa << 7u) >> min(exponent - exponent_of(bits), 31u);
}

fn weight_of(bits: u32, largest: u32, by: Rules) -> u32 {
    if bits == 4286578688u {
        return 0u;
    }
    let exponent = max(exponent_of(bits), exponent_of(largest));
    let a = aligned(largest, exponent);
    let b = aligned(bits, exponent);
    let is_same_sign = ((bits ^ largest) & 2147483648u) == 0u;
    let distance = select(a + b, max(a, b) - min(a, b), is_same_sign);
    if distance == 0u {
        return LARGEST_WEIGHT;
    }
    let zeros = countLeadingZeros(distance);
    let product = wide_high(distance << zeros, by.scale);
    let shift = 99 + i32(zeros) - i32(exponent) - by.exponent;
    if shift < 0 {
        return 0u;
    }
    let halvings = select(product >> u32(min(shift, 31)), 0u, shift > 31);
    if halvings >= 2147483648u {
        return 0u;
    }
    return halved(halvings & 67108863u) >> (halvings >> 26u);
}

fn sum_above(level: u32, stretch: Stretch, lane: ReduceLane) -> vec2<u32> {
    var low = vec4<u32>();
    var high = vec4<u32>();
    for (var i = stretch.begin; i < stretch.end; i++) {
        let weight = weights[i];
        let counted = select(vec4<u32>(), weight, weight > vec4<u32>(level));
        low += counted;
        high += vec4<u32>(low < counted);
    }
    var sum = wide_add(vec2<u32>(low.x, high.x), vec2<u32>(low.y, high.y));
    sum = wide_add(sum, wide_add(vec2<u32>(low.z, high.z), vec2<u32>(low.w, high.w)));
    let digits = reduce_sum_words(vec4<u32>(wide_digits(sum), 0u), lane);
    return wide_of_digits(digits.xyz);
}

fn look_at(weight: u32, search: ptr<function, Search>) {
    if ((weight - (*search).level) >> 1u) >= (*search).bit {
        return;
    }
    let at = (*search).packed;
    ranged[at / 4u][at % 4u] = weight;
    (*search).packed = at + 1u;
    if weight >= ((*search).level | (*search).bit) {
        (*search).sum = wide_add((*search).sum, vec2<u32>(select(weight, 1u, (*search).is_by_count), 0u));
    }
}

fn level_of(bound: vec2<u32>, is_by_count: bool, stretch: Stretch, lane: ReduceLane) -> Search {
    for (var i = stretch.begin; i < stretch.end; i += 2u) {
        ranged[i] = weights[i];
        ranged[i + 1u] = weights[i + 1u];
    }
    var end = stretch.end;
    var search = Search(0u, 0u, is_by_count, 0u, vec2<u32>(), vec2<u32>());
    for (var bit = LARGEST_WEIGHT; bit > 0u; bit >>= 1u) {
        search.bit = bit;
        search.packed = 4u * stretch.begin;
        search.sum = vec2<u32>();
        for (var i = stretch.begin; i < end; i += 2u) {
            let one = ranged[i];
            let other = ranged[i + 1u];
            look_at(one.x, &search);
            look_at(one.y, &search);
            look_at(one.z, &search);
            look_at(one.w, &search);
            look_at(other.x, &search);
            look_at(other.y, &search);
            look_at(other.z, &search);
            look_at(other.w, &search);
        }
        end = (search.packed + 7u) / 8u * 2u;
        for (var at = search.packed; at < 4u * end; at++) {
            ranged[at / 4u][at % 4u] = 0u;
        }
        let digits = reduce_sum_words(vec4<u32>(wide_digits(search.sum), 0u), lane);
        let sum = wide_add(search.above, wide_of_digits(digits.xyz));
        if wide_less(bound, sum) {
            search.level |= bit;
        }
        else {
            search.above = sum;
        }
    }
    return search;
}

fn quotient(a: vec2<u32>, b: u32) -> u32 {
    var quotient = 0u;
    for (var bit = LARGEST_WEIGHT; bit > 0u; bit >>= 1u) {
        if !wide_less(a, wide_product(quotient | bit, b)) {
            quotient |= bit;
        }
    }
    return quotient;
}

fn kept_of(total: vec2<u32>, by: Rules, stretch: Stretch, lane: ReduceLane) -> Kept {
    var kept = Kept(0u, 0u);
    var sum = total;
    if by.top_k != 0u {
        let search = level_of(vec2<u32>(by.top_k - 1u, 0u), true, stretch, lane);
        kept = Kept(search.level, by.top_k - search.above.x);
        let larger = sum_above(kept.level, stretch, lane);
        sum = wide_add(larger, wide_product(kept.ties, kept.level));
    }
    if by.top_p != ALL {
        let bound = wide_part(sum, by.top_p);
        let search = level_of(bound, false, stretch, lane);
        let ties = quotient(wide_sub(bound, search.above), max(search.level, 1u)) + 1u;
        let is_shared = by.top_k != 0u && search.level == kept.level;
        kept = Kept(search.level, select(ties, min(ties, kept.ties), is_shared));
    }
    if by.least > kept.level {
        kept = Kept(by.least - 1u, 0u);
    }
    return kept;
}

fn least_weight(by: Rules) -> u32 {
    if by.top_p == ALL {
        return by.least;
    }
    if by.top_k != 0u {
        return 1u;
    }
    return max(by.least, (ALL - by.top_p) / (2u * args.columns));
}

@compute @workgroup_size(WORKGROUP)
fn sample(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: ReduceLane) {
    let row = group.y * groups.x + group.x;
    if row >= args.rows {
        return;
    }
    let step_row = step_logit_row(row);
    let by = rules[step_sequence(step_row)];
    let words = (args.columns + 3u) / 4u;
    let first_word = row * args.stride;
    var largest_key = 0u;
    for (var word = lane.index; word < words; word += WORKGROUP) {
        let bits = logits[first_word + word];
        for (var i = 0u; i < 4u; i++) {
            let key = select(0u, order_key(bits[i]), 4u * word + i < args.columns);
            largest_key = max(largest_key, key);
        }
    }
    largest_key = reduce_max_word(largest_key, lane);
    let largest = order_bits(largest_key);
    let words_each = (words + 2u * WORKGROUP - 1u) / (2u * WORKGROUP) * 2u;
    let begin_word = lane.index * words_each;
    let end_word = min(begin_word + words_each, words);
    let least = least_weight(by);
    let first_id = 4u * (first_word + begin_word);
    var packed = 0u;
    var sum = vec2<u32>();
    for (var word = begin_word; word < end_word; word++) {
        let bits = logits[first_word + word];
        for (var i = 0u; i < 4u; i++) {
            let id = 4u * word + i;
            if id < args.columns {
                let weight = weight_of(bits[i], largest, by);
                sum = wide_add(sum, vec2<u32>(weight, 0u));
                if weight >= least {
                    let at = first_id + packed;
                    weights[at / 4u][at % 4u] = weight;
                    ids[at] = id;
                    packed += 1u;
                }
            }
        }
    }
    let begin = first_word + begin_word;
    let stretch = Stretch(begin, begin + (packed + 7u) / 8u * 2u);
    for (var at = first_id + packed; at < 4u * stretch.end; at++) {
        weights[at / 4u][at % 4u] = 0u;
    }
    let total = reduce_sum_words(vec4<u32>(wide_digits(sum), 0u), lane);
    let kept = kept_of(wide_of_digits(total.xyz), by, stretch, lane);
    var tie_counts = vec4<u32>();
    for (var i = stretch.begin; i < stretch.end; i++) {
        tie_counts += vec4<u32>(weights[i] == vec4<u32>(kept.level));
    }
    var ties = tie_counts.x + tie_counts.y + tie_counts.z + tie_counts.w;
    ties = reduce_before_words(vec4<u32>(ties, 0u, 0u, 0u), lane).x;
    sum = vec2<u32>();
    for (var i = stretch.begin; i < stretch.end; i++) {
        var weight = weights[i];
        for (var j = 0u; j < 4u; j++) {
            let is_tie = weight[j] == kept.level;
            let stays = weight[j] > kept.level || (is_tie && ties < kept.ties);
            ties += u32(is_tie);
            weight[j] = select(0u, weight[j], stays);
            sum = wide_add(sum, vec2<u32>(weight[j], 0u));
        }
        weights[i] = weight;
    }
    let digits = vec4<u32>(wide_digits(sum), 0u);
    let before = wide_of_digits(reduce_before_words(digits, lane).xyz);
    let sum_of_all = wide_of_digits(reduce_sum_words(digits, lane).xyz);
    let place = wide_place(sum_of_all, step_draw(step_row));
    if !order_is_number(largest_key) {
        if lane.index == 0u {
            chosen[row] = NO_TOKEN;
        }
        return;
    }
    if wide_less(place, before) || !wide_less(place, wide_add(before, sum)) {
        return;
    }
    var up_to = before;
    for (var at = 4u * stretch.begin; at < 4u * stretch.end; at++) {
        up_to = wide_add(up_to, vec2<u32>(weights[at / 4u][at % 4u], 0u));
        if wide_less(place, up_to) {
            chosen[row] = ids[at];
            break;
        }
    }
}

const WORKGROUP: u32 = 256u;

struct ReduceLane {
    @builtin(local_invocation_index)
    index: u32
}

var<workgroup> reduce_words: array<u32, WORKGROUP>;

var<workgroup> reduce_counts: array<vec4<u32>, WORKGROUP>;

fn reduce_max_word(value: u32, lane: ReduceLane) -> u32 {
    workgroupBarrier();
    reduce_words[lane.index] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.index < half {
            reduce_words[lane.index] = max(reduce_words[lane.index], reduce_words[lane.index + half]);
        }
    }
    workgroupBarrier();
    return reduce_words[0];
}

fn reduce_sum_words(value: vec4<u32>, lane: ReduceLane) -> vec4<u32> {
    workgroupBarrier();
    reduce_counts[lane.index] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane.index < half {
            reduce_counts[lane.index] += reduce_counts[lane.index + half];
        }
    }
    workgroupBarrier();
    return reduce_counts[0];
}

fn reduce_before_words(value: vec4<u32>, lane: ReduceLane) -> vec4<u32> {
    workgroupBarrier();
    reduce_counts[lane.index] = value;
    workgroupBarrier();
    var sum = vec4<u32>();
    for (var i = 0u; i < lane.index; i++) {
        sum += reduce_counts[i];
    }
    return sum;
}

@group(0) @binding(20)
var<storage, read> step: array<u32>;

fn step_record(row: u32) -> u32 {
    return step[2] + row * step[3];
}

fn step_sequence(row: u32) -> u32 {
    return step[step_record(row) + 2u];
}

fn step_logit_row(index: u32) -> u32 {
    return step[step_record(index) + 3u];
}

fn step_draw(row: u32) -> vec2<u32> {
    let end = step_record(row) + step[3];
    return vec2<u32>(step[end - 2u], step[end - 1u]);
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

fn order_bits(key: u32) -> u32 {
    return select(~key, key & 2147483647u, (key & 2147483648u) != 0u);
}

fn order_is_number(key: u32) -> bool {
    return key > ORDER_LOWEST && key < ORDER_HIGHEST;
}

fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < b.x));
}

fn wide_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn wide_less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn wide_high(a: u32, b: u32) -> u32 {
    let low = (a & 65535u) * (b & 65535u);
    let one = (a >> 16u) * (b & 65535u);
    let other = (a & 65535u) * (b >> 16u);
    let middle = (low >> 16u) + (one & 65535u) + (other & 65535u);
    return (a >> 16u) * (b >> 16u) + (one >> 16u) + (other >> 16u) + (middle >> 16u);
}

fn wide_product(a: u32, b: u32) -> vec2<u32> {
    return vec2<u32>(a * b, wide_high(a, b));
}

fn wide_part(a: vec2<u32>, b: u32) -> vec2<u32> {
    return wide_add(wide_product(a.y, b), vec2<u32>(wide_high(a.x, b), 0u));
}

fn wide_place(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let rest = wide_add(wide_product(a.y, b.x), vec2<u32>(wide_high(a.x, b.x), 0u));
    let carry = wide_add(rest, vec2<u32>(a.x * b.y, 0u));
    return wide_add(wide_part(a, b.y), vec2<u32>(carry.y, 0u));
}

fn wide_digits(a: vec2<u32>) -> vec3<u32> {
    return vec3<u32>(a.x & 16777215u, (a.x >> 24u) | ((a.y & 65535u) << 8u), a.y >> 16u);
}

fn wide_of_digits(digits: vec3<u32>) -> vec2<u32> {
    let upper = vec2<u32>(digits.y << 24u, (digits.y >> 8u) + (digits.z << 16u));
    return wide_add(vec2<u32>(digits.x, 0u), upper);
}
