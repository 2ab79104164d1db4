//! Compiles src/libtorch/csrc against the headers that torch-sys found, and gives binaries and tests an rpath to libtorch.

fn main() {
    #[cfg(feature = "torch")]
    libtorch();
}

#[cfg(feature = "torch")]
fn libtorch() {
    use std::path::PathBuf;
    println!("cargo:rerun-if-changed=src/libtorch/csrc");
    let Some(library_dir) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo:warning=torch-sys named no libtorch; run scripts/setup-libtorch");
        return;
    };
    let include_dir = library_dir.with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .opt_level(3)
        .include(&include_dir)
        .files(["src/libtorch/csrc/optimizer.cpp"])
        .compile("bitnet_csrc");
    let library_dir = library_dir.display();
    println!("cargo:rustc-link-arg=-Wl,-rpath,{library_dir}");
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-env=BITNET_LIBTORCH_LIB={library_dir}");
}
