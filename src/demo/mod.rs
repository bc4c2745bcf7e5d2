//! wip
pub fn run(_: &crate::cli::DemoArgs) -> Result<(), std::io::Error> {
    Ok(())
}
