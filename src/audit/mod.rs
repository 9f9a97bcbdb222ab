//! What an auditor does with packages. Nothing here writes into one, or needs the modules that make one.

pub mod coverage;
pub mod pack;
pub mod sample;
pub mod verify;
