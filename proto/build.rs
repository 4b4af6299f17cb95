//! Compiles the protocol without `protoc`: protox is a compiler in Rust.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=sandan/v1/sandan.proto");
    let descriptors = protox::compile(["sandan/v1/sandan.proto"], ["."])?;
    tonic_prost_build::configure()
        .bytes(".sandan.v1.Sealed.payload")
        .bytes(".sandan.v1.Births.content")
        .compile_fds(descriptors)?;
    Ok(())
}
