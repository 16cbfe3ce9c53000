// multiply_peak.scalar: written by `cargo xtask codegen` from multiply_peak.wesl with slot/peak.scalar.wesl.

struct Args {
    loops: u32,
    factor: f32,
    addend: f32,
    pad: u32
}

@group(0) @binding(0)
var<uniform> args: Args;

@group(0) @binding(1)
var<storage, read_write> out: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn multiply_peak(@builtin(global_invocation_id) id: vec3<u32>) {
    var chains = peak_begin(f32(id.x % 16u));
    for (var i = 0u; i < args.loops; i++) {
        chains = peak_step(chains, args.factor, args.addend);
    }
    out[id.x] = peak_sum(chains);
}

const WORKGROUP: u32 = 64u;

struct PeakChains {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>
}

fn peak_begin(first: f32) -> PeakChains {
    let a = vec4<f32>(first) + vec4<f32>(0.0, 1.0, 2.0, 3.0);
    return PeakChains(a, a + vec4<f32>(4.0), a + vec4<f32>(8.0));
}

fn peak_once(v: PeakChains, factor: vec4<f32>, addend: vec4<f32>) -> PeakChains {
    return PeakChains(fma(v.a, factor, addend), fma(v.b, factor, addend), fma(v.c, factor, addend));
}

fn peak_step(chains: PeakChains, factor: f32, addend: f32) -> PeakChains {
    let f = vec4<f32>(factor);
    let g = vec4<f32>(addend);
    var v = peak_once(chains, f, g);
    v = peak_once(v, f, g);
    v = peak_once(v, f, g);
    v = peak_once(v, f, g);
    v = peak_once(v, f, g);
    v = peak_once(v, f, g);
    v = peak_once(v, f, g);
    return peak_once(v, f, g);
}

fn peak_sum(chains: PeakChains) -> f32 {
    let sum = chains.a + chains.b + chains.c;
    return sum.x + sum.y + sum.z + sum.w;
}
