// Wants protoc, of the package protobuf-compiler.
fn main() -> std::io::Result<()> {
    let protos = ["diptych/v1/gateway.proto", "diptych/v1/inference.proto"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");
    tonic_prost_build::configure()
        .build_server(false)
        .compile_protos(&protos.map(|proto| format!("{folder}/{proto}")), &[folder.into()])
}
