//! Compiles src/libtorch/csrc against the headers that torch-sys found, and gives binaries and tests an rpath to libtorch.
//! Which libtorch that is, `LIBTORCH` says (.cargo/config.toml); scripts/setup-libtorch puts it there.

fn main() {
    // Without a line of this kind cargo watches the whole tree, and builds the library again for a picture that somebody drew into it.
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "torch")]
    libtorch();
}

#[cfg(feature = "torch")]
fn libtorch() {
    use std::path::PathBuf;
    let Some(library_dir) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo::error=torch-sys named no libtorch: run scripts/setup-libtorch, or build with --no-default-features");
        return;
    };
    let include_dir = library_dir.with_file_name("include");
    if !include_dir.join("ATen/ATen.h").is_file() {
        println!("cargo::error={} has no libtorch headers: run scripts/setup-libtorch", include_dir.display());
        return;
    }
    compile_csrc(&include_dir);
    let library_dir = library_dir.display();
    // The same form serves the linkers of Linux and macOS.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{library_dir}");
    println!("cargo::rustc-link-lib=torch_cpu");
    println!("cargo::rustc-link-lib=c10");
    println!("cargo::rustc-env=BITNET_LIBTORCH_LIB={library_dir}");
}

/// Files that include libtorch's headers, which take seconds to read and turn into templates: compiled together as few units, one a core of a
/// small machine. The other files of the folder are small, and units of their own.
#[cfg(feature = "torch")]
const UNITS: [&[&str]; 2] = [
    &["attention", "checkpoint", "fused", "random"],
    &["bit_linear", "bit_linear_rows", "cross_entropy", "optimizer", "panels", "profile"],
];

#[cfg(feature = "torch")]
fn compile_csrc(include_dir: &std::path::Path) {
    const CSRC: &str = "src/libtorch/csrc";
    println!("cargo::rerun-if-changed={CSRC}");
    let sources = match units(std::path::Path::new(CSRC)) {
        Ok(sources) => sources,
        Err(error) => return println!("cargo::error=cannot make compilation units of {CSRC}: {error}"),
    };
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        // What vectorizing needs; NaN and infinity keep their meaning.
        .flags(["-fno-math-errno", "-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros"])
        .opt_level(3)
        // Where the loops are compiled for AVX-512, with its whole width.
        .flag_if_supported("-mprefer-vector-width=512")
        // libtorch's own threads, for its parallel_for; without OpenMP the loops run on one core.
        .flag_if_supported("-fopenmp")
        .include(CSRC)
        .include(include_dir)
        .include(include_dir.join("torch/csrc/api/include"))
        .files(sources)
        .compile("bitnet_csrc");
}

/// What is compiled: a file a unit, written to the build's own directory, then the sources that are in none.
#[cfg(feature = "torch")]
fn units(csrc: &std::path::Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let out_dir = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let mut sources = Vec::new();
    for (index, names) in UNITS.iter().enumerate() {
        let includes: String = names.iter().map(|name| format!("#include \"{name}.cpp\"\n")).collect();
        let unit = out_dir.join(format!("unit_{index}.cpp"));
        std::fs::write(&unit, includes)?;
        sources.push(unit);
    }
    for entry in std::fs::read_dir(csrc)? {
        let path = entry?.path();
        let is_alone = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| !UNITS.concat().contains(&stem));
        if is_alone && path.extension().is_some_and(|ending| ending == "cpp") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}
