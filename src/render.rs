//! Views: pure functions from values to text.

pub mod html;
pub mod prometheus;
pub mod text;
