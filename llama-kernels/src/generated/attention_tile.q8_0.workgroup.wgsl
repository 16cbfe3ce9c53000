// attention_tile.q8_0.workgroup: written by `cargo xtask codegen` from attention_tile.wesl with slot/flash.workgroup.wesl, slot/kv.q8_0.wesl.

@compute @workgroup_size(WORKGROUP)
fn attention_tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, lane: FlashLane) {
    let unit = group.y * groups.x + group.x;
    let tile = queries_tile(unit / flash_parts());
    if tile.first_row >= tile.end_row {
        return;
    }
    flash(tile, unit % flash_parts(), AttendedSplit(group.z, groups.z), lane);
}

const TILE_QUERIES: u32 = 16u;

const WORKGROUP: u32 = 128u;

struct FlashLane {
    @builtin(local_invocation_index)
    index: u32
}

const FLASH_WORDS: u32 = 8u;

const FLASH_QUERIES: u32 = 4u;

const FLASH_GROUPS: u32 = TILE_QUERIES / FLASH_QUERIES;

const FLASH_SHARE: u32 = WORKGROUP / TILE_QUERIES;

const FLASH_POSITIONS: u32 = ATTENDED_CHUNK / FLASH_SHARE;

var<workgroup> flash_keys: array<array<vec4<f32>, ATTENDED_CHUNK>, FLASH_WORDS>;

var<workgroup> flash_queries: array<array<vec4<f32>, TILE_QUERIES>, FLASH_WORDS>;

var<workgroup> flash_weights: array<array<f32, TILE_QUERIES>, ATTENDED_CHUNK>;

var<workgroup> flash_rows: array<u32, ATTENDED_CHUNK>;

var<workgroup> flash_ends: array<u32, TILE_QUERIES>;

var<workgroup> flash_highest: array<array<f32, FLASH_SHARE>, TILE_QUERIES>;

var<workgroup> flash_shrinks: array<f32, TILE_QUERIES>;

var<workgroup> flash_totals: array<array<f32, FLASH_SHARE>, TILE_QUERIES>;

var<workgroup> flash_largest: array<f32, TILE_QUERIES>;

var<workgroup> flash_sums: array<mat2x4<f32>, WORKGROUP>;

fn flash_parts() -> u32 {
    return 1u;
}

fn flash(tile: QueryTile, part: u32, split: AttendedSplit, lane: FlashLane) {
    let octets = heads.words / 2u;
    let staged = lane.index / 4u;
    let staged_octet = lane.index % 4u;
    let scored_queries = lane.index / 16u * 2u;
    let scored_position = lane.index % 16u;
    let weighed = lane.index / FLASH_SHARE;
    let weighed_share = lane.index % FLASH_SHARE;
    var largest = ATTENDED_NONE;
    var total = 0.0;
    let octet = lane.index % octets;
    let group = lane.index / octets % FLASH_GROUPS;
    let party = lane.index / octets / FLASH_GROUPS;
    let parties = WORKGROUP / octets / FLASH_GROUPS;
    var sum_a = mat2x4<f32>();
    var sum_b = mat2x4<f32>();
    var sum_c = mat2x4<f32>();
    var sum_d = mat2x4<f32>();
    var run = tile.first_row;
    while (run < tile.end_row) {
        let run_end = queries_run_end(tile, run);
        var longest = 0u;
        for (var row = run; row < run_end; row++) {
            longest = max(longest, step_position(row) + 1u);
        }
        let pages = attended_pages(step_sequence(run), tile.kv_head);
        let span = attended_span(longest, split);
        workgroupBarrier();
        if lane.index < TILE_QUERIES {
            let row = queries_row(tile, lane.index);
            var end = 0u;
            if row >= run && row < run_end && queries_exists(tile, lane.index) {
                end = min(step_position(row) + 1u, span.y);
            }
            flash_ends[lane.index] = end;
        }
        for (var first = span.x; first < span.y; first += ATTENDED_CHUNK) {
            let row = attended_row(pages, min(first + staged, span.y - 1u));
            var scores = vec4<f32>();
            for (var stage = 0u; stage < octets; stage += 4u) {
                workgroupBarrier();
                let own = stage + staged_octet;
                var key = mat2x4<f32>();
                if own < octets {
                    key = kv_key(row, own);
                }
                flash_keys[staged_octet * 2u][staged] = key[0];
                flash_keys[staged_octet * 2u + 1u][staged] = key[1];
                if staged_octet == 0u {
                    flash_rows[staged] = row;
                }
                if staged < TILE_QUERIES {
                    var low = vec4<f32>();
                    var high = vec4<f32>();
                    if own < octets && queries_exists(tile, staged) {
                        low = attended_query(queries_row(tile, staged), queries_head(tile, staged), own * 2u);
                        high = attended_query(queries_row(tile, staged), queries_head(tile, staged), own * 2u + 1u);
                    }
                    flash_queries[staged_octet * 2u][staged] = low;
                    flash_queries[staged_octet * 2u + 1u][staged] = high;
                }
                workgroupBarrier();
                for (var word = 0u; word < FLASH_WORDS; word++) {
                    let a = flash_queries[word][scored_queries];
                    let b = flash_queries[word][scored_queries + 1u];
                    let near = flash_keys[word][scored_position];
                    let far = flash_keys[word][scored_position + 16u];
                    scores += vec4<f32>(dot(a, near), dot(a, far), dot(b, near), dot(b, far));
                }
            }
            flash_weights[scored_position][scored_queries] = scores.x;
            flash_weights[scored_position + 16u][scored_queries] = scores.y;
            flash_weights[scored_position][scored_queries + 1u] = scores.z;
            flash_weights[scored_position + 16u][scored_queries + 1u] = scores.w;
            workgroupBarrier();
            let end = flash_ends[weighed];
            var highest = ATTENDED_NONE;
            for (var i = 0u; i < FLASH_POSITIONS; i++) {
                let place = weighed_share + i * FLASH_SHARE;
                if first + place < end {
                    highest = max(highest, flash_weights[place][weighed]);
                }
            }
            flash_highest[weighed][weighed_share] = highest;
            workgroupBarrier();
            highest = largest;
            for (var i = 0u; i < FLASH_SHARE; i++) {
                highest = max(highest, flash_highest[weighed][i]);
            }
            let shrink = exp(largest - highest);
            largest = highest;
            total *= shrink;
            for (var i = 0u; i < FLASH_POSITIONS; i++) {
                let place = weighed_share + i * FLASH_SHARE;
                var weight = 0.0;
                if first + place < end {
                    weight = exp(flash_weights[place][weighed] - highest);
                }
                total += weight;
                flash_weights[place][weighed] = weight;
            }
            if weighed_share == 0u {
                flash_shrinks[weighed] = shrink;
            }
            workgroupBarrier();
            let of_group = group * FLASH_QUERIES;
            sum_a *= flash_shrinks[of_group];
            sum_b *= flash_shrinks[of_group + 1u];
            sum_c *= flash_shrinks[of_group + 2u];
            sum_d *= flash_shrinks[of_group + 3u];
            if party < parties {
                for (var place = party; place < min(ATTENDED_CHUNK, span.y - first); place += parties) {
                    let value = kv_value(flash_rows[place], octet);
                    sum_a += value * flash_weights[place][of_group];
                    sum_b += value * flash_weights[place][of_group + 1u];
                    sum_c += value * flash_weights[place][of_group + 2u];
                    sum_d += value * flash_weights[place][of_group + 3u];
                }
            }
        }
        run = run_end;
    }
    flash_totals[weighed][weighed_share] = total;
    if weighed_share == 0u {
        flash_largest[weighed] = largest;
    }
    for (var i = 0u; i < FLASH_QUERIES; i++) {
        workgroupBarrier();
        var sum = sum_a;
        if i == 1u {
            sum = sum_b;
        }
        else if i == 2u {
            sum = sum_c;
        }
        else if i == 3u {
            sum = sum_d;
        }
        flash_sums[lane.index] = sum;
        workgroupBarrier();
        let query = group * FLASH_QUERIES + i;
        if party == 0u && queries_exists(tile, query) {
            for (var other = 1u; other < parties; other++) {
                sum += flash_sums[lane.index + other * octets * FLASH_GROUPS];
            }
            var of_all = 0.0;
            for (var share = 0u; share < FLASH_SHARE; share++) {
                of_all += flash_totals[query][share];
            }
            let row = queries_row(tile, query);
            attended_write(row, queries_head(tile, query), split, octet, sum, flash_largest[query], of_all);
        }
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
var<storage, read> kv_k: array<u32>;

@group(0) @binding(16)
var<storage, read> kv_v: array<u32>;

fn kv_blocks() -> u32 {
    return (heads.words + 7u) / 8u;
}

fn kv_row_words() -> u32 {
    return kv_blocks() * 8u + (kv_blocks() + 1u) / 2u;
}

fn kv_bytes(word: u32) -> vec4<f32> {
    let moved = (vec4<u32>(word ^ 2155905152u) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
    return bitcast<vec4<f32>>(moved | vec4<u32>(1258291200u)) - vec4<f32>(8388736.0);
}

fn kv_octet_scale(scales: u32, octet: u32) -> f32 {
    let pair = unpack2x16float(scales);
    return select(pair.x, pair.y, (octet & 4u) != 0u);
}

fn kv_key(row: u32, octet: u32) -> mat2x4<f32> {
    let first = row * kv_row_words();
    let at = first + octet * 2u;
    let scale = kv_octet_scale(kv_k[first + kv_blocks() * 8u + octet / 8u], octet);
    return mat2x4<f32>(kv_bytes(kv_k[at]) * scale, kv_bytes(kv_k[at + 1u]) * scale);
}

fn kv_value(row: u32, octet: u32) -> mat2x4<f32> {
    let first = row * kv_row_words();
    let at = first + octet * 2u;
    let scale = kv_octet_scale(kv_v[first + kv_blocks() * 8u + octet / 8u], octet);
    return mat2x4<f32>(kv_bytes(kv_v[at]) * scale, kv_bytes(kv_v[at + 1u]) * scale);
}

fn partial_at(query: u32, split: u32, splits: u32, words: u32) -> u32 {
    return (query * splits + split) * (words + 1u);
}
