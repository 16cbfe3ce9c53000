// attention_tile.f16.broadcast: written by `cargo xtask codegen` from attention_tile.wesl with slot/flash.broadcast.wesl, slot/kv.f16.wesl.

@compute @workgroup_size(WORKGROUP)
fn attention_tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: FlashLane) {
    let unit = group.y * groups.x + group.x;
    let tile = queries_tile(unit / flash_parts());
    if tile.first_row >= tile.end_row {
        return;
    }
    flash(tile, unit % flash_parts(), AttendedSplit(group.z, groups.z), lane);
}

const TILE_QUERIES: u32 = 8u;

const WORKGROUP: u32 = 8u;

struct FlashLane {
    @builtin(subgroup_invocation_id)
    place: u32
}

fn flash_parts() -> u32 {
    return (heads.words + 15u) / 16u;
}

fn flash_spread(value: f32) -> array<f32, 8> {
    return array<f32, 8>(subgroupBroadcast(value, 0u), subgroupBroadcast(value, 1u), subgroupBroadcast(value, 2u), subgroupBroadcast(value, 3u), subgroupBroadcast(value, 4u), subgroupBroadcast(value, 5u), subgroupBroadcast(value, 6u), subgroupBroadcast(value, 7u));
}

fn flash_own(values: array<f32, 8>, place: u32) -> f32 {
    var own = values[0];
    own = select(own, values[1], place == 1u);
    own = select(own, values[2], place == 2u);
    own = select(own, values[3], place == 3u);
    own = select(own, values[4], place == 4u);
    own = select(own, values[5], place == 5u);
    own = select(own, values[6], place == 6u);
    return select(own, values[7], place == 7u);
}

fn flash_highest(scores: vec4<f32>) -> f32 {
    return subgroupMax(max(max(scores.x, scores.y), max(scores.z, scores.w)));
}

fn flash_masked(scores: vec4<f32>, positions: vec4<u32>, end: u32) -> vec4<f32> {
    return select(vec4<f32>(ATTENDED_NONE), scores, positions < vec4<u32>(end));
}

fn flash_weights(scores: vec4<f32>, highest: f32) -> vec4<f32> {
    return select(vec4<f32>(), exp(scores - vec4<f32>(highest)), scores > vec4<f32>(ATTENDED_NONE));
}

fn flash_sum(values: array<mat2x4<f32>, 8>, weight: f32) -> mat2x4<f32> {
    let weights = flash_spread(weight);
    return values[0] * weights[0] + values[1] * weights[1] + values[2] * weights[2] + values[3] * weights[3] + values[4] * weights[4] + values[5] * weights[5] + values[6] * weights[6] + values[7] * weights[7];
}

fn flash_write(tile: QueryTile, query: u32, split: AttendedSplit, octet: u32, sums: mat2x4<f32>, largest: f32, total: f32) {
    if queries_exists(tile, query) {
        attended_write(queries_row(tile, query), queries_head(tile, query), split, octet, sums, largest, total);
    }
}

fn flash(tile: QueryTile, part: u32, split: AttendedSplit, lane: FlashLane) {
    let place = lane.place;
    let octets = heads.words / 2u;
    let octet_of_values = part * 8u + place;
    let exists = queries_exists(tile, place);
    let row = min(queries_row(tile, place), tile.end_row - 1u);
    let head = min(queries_head(tile, place), tile.end_head - 1u);
    var largest = ATTENDED_NONE;
    var total = 0.0;
    var sums: array<mat2x4<f32>, 8>;
    sums[0] = mat2x4<f32>();
    sums[1] = mat2x4<f32>();
    sums[2] = mat2x4<f32>();
    sums[3] = mat2x4<f32>();
    sums[4] = mat2x4<f32>();
    sums[5] = mat2x4<f32>();
    sums[6] = mat2x4<f32>();
    sums[7] = mat2x4<f32>();
    var run = tile.first_row;
    while (run < tile.end_row) {
        let run_end = queries_run_end(tile, run);
        let length = select(0u, step_position(row) + 1u, exists && row >= run && row < run_end);
        let pages = attended_pages(step_sequence(run), tile.kv_head);
        let span = attended_span(subgroupMax(length), split);
        let end = min(length, span.y);
        for (var first = span.x; first < span.y; first += ATTENDED_CHUNK) {
            let left = span.y - first;
            let eights = vec4<u32>(0u, 8u, 16u, 24u);
            let starts = min(eights, vec4<u32>(left - 1u) / 8u * 8u);
            let bases = vec4<u32>(attended_row(pages, first + starts.x), attended_row(pages, first + starts.y), attended_row(pages, first + starts.z), attended_row(pages, first + starts.w));
            let rows = bases + min(vec4<u32>(place), vec4<u32>(left - 1u) - starts);
            var s: array<vec4<f32>, 8>;
            s[0] = vec4<f32>();
            s[1] = vec4<f32>();
            s[2] = vec4<f32>();
            s[3] = vec4<f32>();
            s[4] = vec4<f32>();
            s[5] = vec4<f32>();
            s[6] = vec4<f32>();
            s[7] = vec4<f32>();
            for (var octet = 0u; octet < octets; octet++) {
                let low = attended_query(row, head, octet * 2u);
                let high = attended_query(row, head, octet * 2u + 1u);
                let a = kv_key(rows.x, octet);
                let b = kv_key(rows.y, octet);
                let c = kv_key(rows.z, octet);
                let d = kv_key(rows.w, octet);
                let lows = mat4x4<f32>(a[0], b[0], c[0], d[0]);
                let highs = mat4x4<f32>(a[1], b[1], c[1], d[1]);
                s[0] += subgroupBroadcast(low, 0u) * lows + subgroupBroadcast(high, 0u) * highs;
                s[1] += subgroupBroadcast(low, 1u) * lows + subgroupBroadcast(high, 1u) * highs;
                s[2] += subgroupBroadcast(low, 2u) * lows + subgroupBroadcast(high, 2u) * highs;
                s[3] += subgroupBroadcast(low, 3u) * lows + subgroupBroadcast(high, 3u) * highs;
                s[4] += subgroupBroadcast(low, 4u) * lows + subgroupBroadcast(high, 4u) * highs;
                s[5] += subgroupBroadcast(low, 5u) * lows + subgroupBroadcast(high, 5u) * highs;
                s[6] += subgroupBroadcast(low, 6u) * lows + subgroupBroadcast(high, 6u) * highs;
                s[7] += subgroupBroadcast(low, 7u) * lows + subgroupBroadcast(high, 7u) * highs;
            }
            let positions = vec4<u32>(first + place) + eights;
            s[0] = flash_masked(s[0], positions, subgroupBroadcast(end, 0u));
            s[1] = flash_masked(s[1], positions, subgroupBroadcast(end, 1u));
            s[2] = flash_masked(s[2], positions, subgroupBroadcast(end, 2u));
            s[3] = flash_masked(s[3], positions, subgroupBroadcast(end, 3u));
            s[4] = flash_masked(s[4], positions, subgroupBroadcast(end, 4u));
            s[5] = flash_masked(s[5], positions, subgroupBroadcast(end, 5u));
            s[6] = flash_masked(s[6], positions, subgroupBroadcast(end, 6u));
            s[7] = flash_masked(s[7], positions, subgroupBroadcast(end, 7u));
            let highest = max(largest, flash_own(array<f32, 8>(flash_highest(s[0]), flash_highest(s[1]), flash_highest(s[2]), flash_highest(s[3]), flash_highest(s[4]), flash_highest(s[5]), flash_highest(s[6]), flash_highest(s[7])), place));
            let shrinks = flash_spread(exp(largest - highest));
            largest = highest;
            let highests = flash_spread(highest);
            s[0] = flash_weights(s[0], highests[0]);
            s[1] = flash_weights(s[1], highests[1]);
            s[2] = flash_weights(s[2], highests[2]);
            s[3] = flash_weights(s[3], highests[3]);
            s[4] = flash_weights(s[4], highests[4]);
            s[5] = flash_weights(s[5], highests[5]);
            s[6] = flash_weights(s[6], highests[6]);
            s[7] = flash_weights(s[7], highests[7]);
            let ones = vec4<f32>(1.0);
            total = total * flash_own(shrinks, place) + flash_own(array<f32, 8>(subgroupAdd(dot(s[0], ones)), subgroupAdd(dot(s[1], ones)), subgroupAdd(dot(s[2], ones)), subgroupAdd(dot(s[3], ones)), subgroupAdd(dot(s[4], ones)), subgroupAdd(dot(s[5], ones)), subgroupAdd(dot(s[6], ones)), subgroupAdd(dot(s[7], ones))), place);
            sums[0] *= shrinks[0];
            sums[1] *= shrinks[1];
            sums[2] *= shrinks[2];
            sums[3] *= shrinks[3];
            sums[4] *= shrinks[4];
            sums[5] *= shrinks[5];
            sums[6] *= shrinks[6];
            sums[7] *= shrinks[7];
            let octet = min(octet_of_values, octets - 1u);
            for (var eight = 0u; eight * 8u < min(left, ATTENDED_CHUNK); eight++) {
                let base = bases[eight];
                let last = min(7u, left - 1u - eight * 8u);
                let values = array<mat2x4<f32>, 8>(kv_value(base, octet), kv_value(base + min(1u, last), octet), kv_value(base + min(2u, last), octet), kv_value(base + min(3u, last), octet), kv_value(base + min(4u, last), octet), kv_value(base + min(5u, last), octet), kv_value(base + min(6u, last), octet), kv_value(base + last, octet));
                sums[0] += flash_sum(values, s[0][eight]);
                sums[1] += flash_sum(values, s[1][eight]);
                sums[2] += flash_sum(values, s[2][eight]);
                sums[3] += flash_sum(values, s[3][eight]);
                sums[4] += flash_sum(values, s[4][eight]);
                sums[5] += flash_sum(values, s[5][eight]);
                sums[6] += flash_sum(values, s[6][eight]);
                sums[7] += flash_sum(values, s[7][eight]);
            }
        }
        run = run_end;
    }
    let largests = flash_spread(largest);
    let totals = flash_spread(total);
    if octet_of_values < octets {
        flash_write(tile, 0u, split, octet_of_values, sums[0], largests[0], totals[0]);
        flash_write(tile, 1u, split, octet_of_values, sums[1], largests[1], totals[1]);
        flash_write(tile, 2u, split, octet_of_values, sums[2], largests[2], totals[2]);
        flash_write(tile, 3u, split, octet_of_values, sums[3], largests[3], totals[3]);
        flash_write(tile, 4u, split, octet_of_values, sums[4], largests[4], totals[4]);
        flash_write(tile, 5u, split, octet_of_values, sums[5], largests[5], totals[5]);
        flash_write(tile, 6u, split, octet_of_values, sums[6], largests[6], totals[6]);
        flash_write(tile, 7u, split, octet_of_values, sums[7], largests[7], totals[7]);
    }
}

struct QueryTile {
    kv_head: u32,
    first_head: u32,
    end_head: u32,
    heads: u32,
    first_row: u32,
    end_row: u32
}

fn queries_tile(unit: u32) -> QueryTile {
    let sharing = heads.n_heads / heads.n_kv_heads;
    let together = min(sharing, TILE_QUERIES);
    let parts = (sharing + together - 1u) / together;
    let rows = TILE_QUERIES / together;
    let kv_head = unit % heads.n_kv_heads;
    let first_head = kv_head * sharing + unit / heads.n_kv_heads % parts * together;
    let first_row = unit / heads.n_kv_heads / parts * rows;
    return QueryTile(kv_head, first_head, min(first_head + together, (kv_head + 1u) * sharing), together, first_row, min(first_row + rows, step_rows()));
}

fn queries_row(tile: QueryTile, query: u32) -> u32 {
    return tile.first_row + query / tile.heads;
}

fn queries_head(tile: QueryTile, query: u32) -> u32 {
    return tile.first_head + query % tile.heads;
}

fn queries_exists(tile: QueryTile, query: u32) -> bool {
    return queries_row(tile, query) < tile.end_row && queries_head(tile, query) < tile.end_head;
}

fn queries_run_end(tile: QueryTile, row: u32) -> u32 {
    let sequence = step_sequence(row);
    var end = row + 1u;
    while (end < tile.end_row && step_sequence(end) == sequence) {
        end++;
    }
    return end;
}

struct Heads {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    words: u32,
    qkv_stride: u32,
    out_stride: u32,
    scale: f32,
    pages: u32
}

@group(0) @binding(9)
var<uniform> heads: Heads;

@group(0) @binding(20)
var<storage, read> step: array<u32>;

const STEP_HEADER: u32 = 8u;

fn step_rows() -> u32 {
    return step[0];
}

fn step_record(row: u32) -> u32 {
    return step[2] + row * step[3];
}

fn step_position(row: u32) -> u32 {
    return step[step_record(row) + 1u];
}

fn step_sequence(row: u32) -> u32 {
    return step[step_record(row) + 2u];
}

@group(0) @binding(1)
var<storage, read> qkv: array<f32>;

@group(0) @binding(2)
var<storage, read_write> out: array<f32>;

@group(0) @binding(3)
var<storage, read_write> partials: array<vec4<f32>>;

const ATTENDED_NONE: f32 = -3e38;

const ATTENDED_CHUNK: u32 = 32u;

struct AttendedSplit {
    index: u32,
    count: u32
}

fn attended_span(length: u32, split: AttendedSplit) -> vec2<u32> {
    let chunks = (length + ATTENDED_CHUNK - 1u) / ATTENDED_CHUNK;
    let share = (chunks + split.count - 1u) / split.count * ATTENDED_CHUNK;
    return min(vec2<u32>(split.index, split.index + 1u) * share, vec2<u32>(length));
}

struct AttendedPages {
    table: u32,
    shift: u32,
    kv_head: u32
}

fn attended_pages(sequence: u32, kv_head: u32) -> AttendedPages {
    return AttendedPages(STEP_HEADER + sequence * step[4], step[5], kv_head);
}

fn attended_row(pages: AttendedPages, position: u32) -> u32 {
    let page = min(step[pages.table + (position >> pages.shift)], heads.pages - 1u);
    let place = position & ((1u << pages.shift) - 1u);
    return ((page * heads.n_kv_heads + pages.kv_head) << pages.shift) + place;
}

fn attended_query_value(row: u32, head: u32, i: u32) -> f32 {
    let at = row * heads.qkv_stride + head * heads.head_dim;
    let value = qkv[at + min(i, heads.head_dim - 1u)];
    return select(0.0, value * heads.scale, i < heads.head_dim);
}

fn attended_query(row: u32, head: u32, word: u32) -> vec4<f32> {
    return vec4<f32>(attended_query_value(row, head, word * 4u), attended_query_value(row, head, word * 4u + 1u), attended_query_value(row, head, word * 4u + 2u), attended_query_value(row, head, word * 4u + 3u));
}

fn attended_write(row: u32, head: u32, split: AttendedSplit, octet: u32, sums: mat2x4<f32>, largest: f32, total: f32) {
    if split.count > 1u {
        let at = partial_at(row * heads.n_heads + head, split.index, split.count, heads.words);
        if octet == 0u {
            partials[at] = vec4<f32>(largest, total, 0.0, 0.0);
        }
        partials[at + 1u + octet * 2u] = sums[0];
        partials[at + 2u + octet * 2u] = sums[1];
        return;
    }
    let at = row * heads.out_stride + head * heads.head_dim;
    let first = octet * 8u;
    for (var i = 0u; i < min(8u, heads.head_dim - min(first, heads.head_dim)); i++) {
        out[at + first + i] = sums[i / 4u][i % 4u] / total;
    }
}

@group(0) @binding(15)
var<storage, read> kv_k: array<vec2<u64>>;

@group(0) @binding(16)
var<storage, read> kv_v: array<vec2<u64>>;

fn kv_halves(words: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

fn kv_octet(halves: vec2<u64>) -> mat2x4<f32> {
    return mat2x4<f32>(kv_halves(vec2<u32>(u32(halves.x), u32(halves.x >> 32u))), kv_halves(vec2<u32>(u32(halves.y), u32(halves.y >> 32u))));
}

fn kv_key(row: u32, octet: u32) -> mat2x4<f32> {
    return kv_octet(kv_k[row * (heads.words / 2u) + octet]);
}

fn kv_value(row: u32, octet: u32) -> mat2x4<f32> {
    return kv_octet(kv_v[row * (heads.words / 2u) + octet]);
}

fn partial_at(query: u32, split: u32, splits: u32, words: u32) -> u32 {
    return (query * splits + split) * (words + 1u);
}
