//! One product of a quantized matrix and a vector on the GPU, beside the same on the CPU.
//!
//!     cargo run --example matvec

use llama_kernels::{Error, Gpu, GpuOptions, WeightFormat, WeightMatrix, ops, reference};

const ROWS: usize = 4;
const COLUMNS: usize = 64;

fn main() -> Result<(), Error> {
    let gpu = match Gpu::new(&GpuOptions::default()) {
        Ok(gpu) => gpu,
        Err(error @ Error::NoAdapter { .. }) => {
            println!("Nothing to run on: {error}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    println!("adapter: {}", gpu.adapter().name);

    // Q8_0 rows as a GGUF file holds them: blocks of an f16 scale (0x3400 is 0.25) and 32 signed bytes.
    let block = |row: usize| {
        let scale = 0x3400u16.to_le_bytes();
        scale
            .into_iter()
            .chain((0..32).map(move |i| (i * row) as u8))
    };
    let file: Vec<u8> = (0..ROWS)
        .flat_map(|row| (0..COLUMNS / 32).flat_map(move |_| block(row)))
        .collect();
    let x: Vec<f32> = (0..COLUMNS).map(|i| (i as f32 / 10.0).sin()).collect();

    let weight = WeightMatrix::new(&gpu, "weight", WeightFormat::Q8_0, ROWS, COLUMNS)?;
    weight.write_rows(&gpu, 0, &file)?;
    let input = gpu.tensor("input", 1, COLUMNS)?;
    gpu.write_f32(&input, 0, &x)?;
    let output = gpu.tensor("output", 1, ROWS)?;

    let matvec = ops::Matvec::new(&gpu, &weight, &input, &output, Default::default())?;
    let mut recorder = gpu.recorder();
    matvec.record(&mut recorder, 1);
    gpu.submit(recorder)?;
    let on_gpu = gpu.read_f32(&output, 0..1)?;

    let mut dense = Vec::new();
    reference::decode_rows(WeightFormat::Q8_0, COLUMNS, &file, &mut dense);
    let mut on_cpu = vec![0.0; 32];
    reference::matvec(&dense, COLUMNS, &x, Default::default(), ROWS, &mut on_cpu);
    for (row, (gpu, cpu)) in on_gpu.iter().zip(&on_cpu).enumerate() {
        println!("row {row}: {gpu:>10.5} on the GPU, {cpu:>10.5} by reference");
    }
    Ok(())
}
