//! How fast packed matrices are multiplied: the share of the memory's bandwidth that one token reaches, and the operations a second of a
//! prompt, by kernel and by number of threads, on the shapes of BitNet 2B-4T.

use bitnet::ternary::bandwidth;
use bitnet::ternary::bytes::SharedBytes;
use bitnet::ternary::int8_rows::Int8Rows;
use bitnet::ternary::kernels::Kernel;
use bitnet::ternary::matrix::PackedMatrix;
use bitnet::ternary::multiply::multiply_with;
use bitnet::ternary::threads::Threads;
use bitnet::{Error, Result};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EXPLANATION: &str = "\
Weights of one token come from memory: each product takes the next matrix of a working set as large as a model. Bandwidth is that of \
reading the same bytes, two streams a thread. Of the repetitions of a product, and of the reading of a piece, the fastest counts, which \
other programs disturbed least.";

/// How fast packed matrices are multiplied
#[derive(Debug, Parser)]
#[command(name = "kernels", disable_help_subcommand = true, after_help = EXPLANATION)]
struct Arguments {
    /// Kernels to measure [default: all that this processor can run]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Numbers of threads
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "512")]
    tokens: Vec<usize>,
    /// Layers of the working set
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    layers: u64,
    /// How long a figure is measured for
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5)]
    seconds: f64,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// (rows, columns) of what one input is multiplied with: q, k, v; o; gate, up; down.
const LAYER: [&[(usize, usize)]; 4] =
    [&[(2560, 2560), (640, 2560), (640, 2560)], &[(2560, 2560)], &[(6912, 2560), (6912, 2560)], &[(2560, 6912)]];

fn main() -> ExitCode {
    match Bench::new(Arguments::parse()).and_then(|bench| bench.measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

struct Bench {
    arguments: Arguments,
    kernels: Vec<Kernel>,
    pools: Vec<Threads>,
    /// The weights of all layers.
    region: Arc<Vec<u8>>,
}

impl Bench {
    fn new(arguments: Arguments) -> Result<Self> {
        let named = arguments.kernels.iter().map(|name| name.parse()).collect::<Result<Vec<Kernel>>>()?;
        let kernels = if named.is_empty() { Kernel::usable().collect() } else { named };
        let pools = arguments.threads.iter().map(|&threads| Threads::new(threads)).collect::<Result<_>>()?;
        let region = Arc::new(weights(arguments.layers as usize * bytes_of(&LAYER.concat())?));
        Ok(Self { arguments, kernels, pools, region })
    }

    fn measure(&self) -> Result<()> {
        let mut out = stdout();
        let size = self.region.len() as f64 / 1e6;
        writeln!(out, "one token, working set of {size:.0} MB: GB/s, and share of the bandwidth of reading\n")?;
        self.row("threads", |threads| Ok(threads.num_threads().to_string()))?;
        let bandwidths: Vec<f64> = self.pools.iter().map(|threads| self.bandwidth(threads)).collect();
        let bandwidth = |threads: &Threads| bandwidths[self.pools.iter().position(|pool| std::ptr::eq(pool, threads)).unwrap_or(0)];
        self.row("reading", |threads| Ok(format!("{:.1}", bandwidth(threads))))?;
        for &kernel in &self.kernels {
            let shared = |speed: f64, threads: &Threads| format!("{speed:.1} ({:.0} %)", 100.0 * speed / bandwidth(threads));
            for shape in [(2560, 2560), (6912, 2560), (2560, 6912)] {
                let products = self.working_set(&[&[shape]])?;
                let name = format!("{kernel} {} x {}", shape.0, shape.1);
                self.row(&name, |threads| Ok(shared(self.one_token(kernel, &products, threads)?, threads)))?;
            }
            let products = self.working_set(&LAYER)?;
            self.row(&format!("{kernel} all layers"), |threads| Ok(shared(self.one_token(kernel, &products, threads)?, threads)))?;
        }
        for &tokens in &self.arguments.tokens {
            writeln!(out, "\n{tokens} tokens: 10^9 operations a second\n")?;
            self.row("threads", |threads| Ok(threads.num_threads().to_string()))?;
            for &kernel in &self.kernels {
                for shape in [(2560, 2560), (6912, 2560), (2560, 6912)] {
                    let name = format!("{kernel} {} x {}", shape.0, shape.1);
                    self.row(&name, |threads| Ok(format!("{:.0}", self.prompt(kernel, shape, tokens, threads)?)))?;
                }
                let name = format!("{kernel} quantizing 2560, GB/s read");
                self.row(&name, |threads| Ok(format!("{:.1}", self.quantizing(kernel, tokens, threads)?)))?;
            }
        }
        Ok(())
    }

    /// One line of a table: `cell` for each number of threads.
    fn row(&self, name: &str, cell: impl Fn(&Threads) -> Result<String>) -> Result<()> {
        let cells = self.pools.iter().map(cell).collect::<Result<Vec<_>>>()?;
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>14}")).collect();
        Ok(writeln!(stdout(), "{name:<36}{}", cells.join(""))?)
    }

    /// GB/s of adding up the working set.
    fn bandwidth(&self, threads: &Threads) -> f64 {
        bandwidth::measure(&self.region, threads, Duration::from_secs_f64(self.arguments.seconds))
    }

    /// GB/s of packed weights for one token, each product with the next matrices of the working set.
    fn one_token(&self, kernel: Kernel, products: &[Vec<PackedMatrix>], threads: &Threads) -> Result<f64> {
        let (narrow, wide) = (quantized(kernel, 1, 2560)?, quantized(kernel, 1, 6912)?);
        let mut outs = vec![vec![0.0; 6912]; 3];
        let bytes: usize = products.iter().flatten().map(|matrix| matrix.bytes().len()).sum();
        let seconds = self.fastest(products.len(), |product| {
            let matrices = &products[product];
            let activations = if matrices[0].columns() == 2560 { &narrow } else { &wide };
            let outs = outs.iter_mut().zip(matrices).map(|(out, matrix)| &mut out[..matrix.rows()]);
            multiply_with(kernel, &matrices.iter().collect::<Vec<_>>(), activations, &mut outs.collect::<Vec<_>>(), threads)
        })?;
        Ok(bytes as f64 / seconds / 1e9)
    }

    /// 10^9 operations a second, two for each weight and token.
    fn prompt(&self, kernel: Kernel, (rows, columns): (usize, usize), tokens: usize, threads: &Threads) -> Result<f64> {
        let matrix = self.matrix(rows, columns, 0)?;
        let activations = quantized(kernel, tokens, columns)?;
        let mut out = vec![0.0; tokens * rows];
        let seconds = self.fastest(1, |_| multiply_with(kernel, &[&matrix], &activations, &mut [&mut out], threads))?;
        Ok(2.0 * (rows * columns * tokens) as f64 / seconds / 1e9)
    }

    fn quantizing(&self, kernel: Kernel, tokens: usize, threads: &Threads) -> Result<f64> {
        let rows = floats(tokens * 2560);
        let mut activations = Int8Rows::new();
        let seconds = self.fastest(1, |_| activations.quantize_with(kernel, &rows, 2560, Some(threads)))?;
        Ok(4.0 * rows.len() as f64 / seconds / 1e9)
    }

    /// As many repetitions of `products` as the region has room for, each with weights of its own.
    fn working_set(&self, products: &[&[(usize, usize)]]) -> Result<Vec<Vec<PackedMatrix>>> {
        let repetitions = self.region.len() / bytes_of(&products.concat())?;
        let mut start = 0;
        let mut matrix = |&(rows, columns): &(usize, usize)| {
            let matrix = self.matrix(rows, columns, start)?;
            start += matrix.bytes().len();
            Ok(matrix)
        };
        (0..repetitions).flat_map(|_| products).map(|shapes| shapes.iter().map(&mut matrix).collect()).collect()
    }

    fn matrix(&self, rows: usize, columns: usize, start: usize) -> Result<PackedMatrix> {
        let bytes = SharedBytes::of(Arc::clone(&self.region) as _, start..start + PackedMatrix::num_bytes(rows, columns)?)?;
        PackedMatrix::from_blocks(bytes, rows, columns, 0.01)
    }

    /// Does `work` on one item after another, again and again as the time allows, three times at least; gives the sum of each item's
    /// fewest seconds.
    fn fastest(&self, num_items: usize, mut work: impl FnMut(usize) -> Result<()>) -> Result<f64> {
        let (start, mut fewest) = (Instant::now(), vec![Duration::MAX; num_items]);
        let mut repetitions = 0;
        while repetitions < 3 || start.elapsed().as_secs_f64() < self.arguments.seconds {
            for (item, fewest) in fewest.iter_mut().enumerate() {
                let start = Instant::now();
                work(item)?;
                *fewest = start.elapsed().min(*fewest);
            }
            repetitions += 1;
        }
        Ok(fewest.iter().sum::<Duration>().as_secs_f64())
    }
}

fn bytes_of(shapes: &[(usize, usize)]) -> Result<usize> {
    shapes.iter().map(|&(rows, columns)| PackedMatrix::num_bytes(rows, columns)).sum()
}

/// Packed codes, none of them 3.
fn weights(length: usize) -> Vec<u8> {
    (0..length).map(|index| [0b00_01_10_01, 0b10_10_00_01, 0b01_00_01_10, 0b00_10_10_00, 0b01_01_00_10][index % 5]).collect()
}

fn floats(length: usize) -> Vec<f32> {
    (0..length).map(|index| (index * 7919 % 1000) as f32 / 500.0 - 1.0).collect()
}

fn quantized(kernel: Kernel, tokens: usize, columns: usize) -> Result<Int8Rows> {
    let mut activations = Int8Rows::new();
    activations.quantize_with(kernel, &floats(tokens * columns), columns, None)?;
    if activations.tokens() == tokens { Ok(activations) } else { Err(Error::ours("tokens are missing")) }
}
