// matmul_combine.plain: written by `cargo xtask codegen` from matmul_combine.wesl.

struct Combined {
    words: u32,
    parts: u32,
    part_rows: u32,
    stride: u32,
    out_stride: u32,
    bias: u32,
    accumulate: u32,
    last: u32
}

@group(0) @binding(0)
var<uniform> args: Combined;

@group(0) @binding(1)
var<storage, read> partials: array<vec4<f32>>;

@group(0) @binding(2)
var<storage, read> bias: array<vec4<f32>>;

@group(0) @binding(3)
var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn matmul_combine(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= args.words {
        return;
    }
    let at = id.y * args.out_stride + id.x;
    var sum = vec4<f32>();
    for (var part = 0u; part < args.parts; part++) {
        sum += partials[(part * args.part_rows + id.y) * args.stride + id.x];
    }
    if args.bias != 0u {
        sum += bias[id.x];
    }
    if args.accumulate != 0u {
        sum += out[at];
    }
    if id.x + 1u == args.words {
        sum = select(vec4<f32>(), sum, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(args.last));
    }
    out[at] = sum;
}

const WORKGROUP: u32 = 64u;
